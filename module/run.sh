#!/bin/sh
# Starts the module from a checkout, as viam-server does: run.sh <socket> [options].
# `run.sh config …` is `holdfast config …`, for a person.
# Makes its own Python environment in .venv at the first start, and again when requirements.txt changes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
case ${1-} in
config) "$root/module/environment.sh" requirements.txt >&2 ;; # its answer goes to stdout
*) "$root/module/environment.sh" requirements.txt ;;
esac
PYTHONPATH="$root/src:$root" exec "$root/.venv/bin/python" -m module.main "$@"
