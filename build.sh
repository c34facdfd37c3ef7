#!/bin/sh
# Makes dist/archive.tar.gz for `viam module upload`: the sources; run.sh makes the environment on the machine.
set -eu
cd "$(dirname "$0")"
mkdir -p dist
tar --exclude='__pycache__' -czf dist/archive.tar.gz LICENSE README.md holdfast_data-manager_durable.md meta.json requirements.txt module src
echo "dist/archive.tar.gz"
