#!/bin/sh
# Starts the module, as viam-server does: run.sh <socket> [options]. `run.sh config …` is `holdfast config …`, for a
# person.
# In an archive of build.sh the program lies beside it, with a Python of its own. In a checkout it runs from the
# sources, with a Python environment in .venv that is made at the first start and again when requirements.txt changes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -x "$root/holdfast/holdfast" ]; then exec "$root/holdfast/holdfast" "$@"; fi
case ${1-} in
config) "$root/module/environment.sh" requirements.txt >&2 ;; # its answer goes to stdout
*) "$root/module/environment.sh" requirements.txt ;;
esac
PYTHONPATH="$root/src:$root" exec "$root/.venv/bin/python" -m module.main "$@"
