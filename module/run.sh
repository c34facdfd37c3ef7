#!/bin/sh
# Starts the module, as viam-server does: run.sh <socket> [options]. For users, `run.sh config …` is
# `holdfast config …`, whose output goes to stdout.
# In an archive of build.sh the program is in a folder beside this one, with a Python of its own. In a checkout it
# runs from the sources, with a Python environment in .venv, which is created at the first start and updated when
# the requirements change.
# Names are UTF-8 on the disk and in Viam's messages, whatever the locale says: -X utf8, which the archive has built in.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -x "$root/holdfast/holdfast" ]; then exec "$root/holdfast/holdfast" "$@"; fi
case ${1-} in
*[/:]*) "$root/module/environment.sh" requirements.txt ;;
*) "$root/module/environment.sh" requirements.txt >&2 ;;
esac
PYTHONPATH="$root/src:$root" exec "$root/.venv/bin/python" -X utf8 -m module.main "$@"
