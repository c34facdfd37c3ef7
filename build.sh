#!/bin/sh
# Makes dist/archive.tar.gz, for `viam module upload`: the module with a Python of its own, for machines that have this
# one's architecture, and its C library or a newer one.
#
# Needs what setup.sh installs, and a network the first time. PYTHON names another interpreter than python3.
# In the archive: meta.json and the pages that it names, module/run.sh (the entrypoint), and holdfast/, which
# PyInstaller makes. The SDK's Rust library (22 MB) is left out: it dials other machines, which the module never does.
set -eu
cd "$(dirname "$0")"
unset PYTHONPATH PYTHONHOME

module/environment.sh requirements-build.txt .venv-build
rm -rf dist
.venv-build/bin/python -m PyInstaller --onedir --strip --name holdfast --paths . --paths src --python-option "X utf8=1" \
    --noconfirm --log-level ERROR --distpath dist --workpath dist/work --specpath dist/work module/main.py
tar --owner=0 --group=0 -czf dist/archive.tar.gz \
    LICENSE README.md holdfast_data-manager_durable.md meta.json module/run.sh -C dist holdfast
echo "dist/archive.tar.gz: $(du -h dist/archive.tar.gz | cut -f 1), unpacked $(du -sh dist/holdfast | cut -f 1)"
