#!/bin/sh
# Starts the module, as viam-server does: run.sh <socket> [options]. `run.sh config …` is `holdfast config …`, for a
# person, whose answer goes to stdout.
# In an archive of build.sh the program lies beside it, with a Python of its own. In a checkout it runs from the
# sources, with a Python environment in .venv that is made at the first start and again when requirements.txt changes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -x "$root/holdfast/holdfast" ]; then exec "$root/holdfast/holdfast" "$@"; fi
case ${1-} in
*[/:]*) "$root/module/environment.sh" requirements.txt ;;
*) "$root/module/environment.sh" requirements.txt >&2 ;;
esac
PYTHONPATH="$root/src:$root" exec "$root/.venv/bin/python" -m module.main "$@"
