#!/bin/sh
# Starts the module from a checkout, as viam-server does: run.sh <socket> [options].
# Makes its own Python environment in .venv at the first start, and again when requirements.txt changes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/module/environment.sh" requirements.txt
PYTHONPATH="$root/src:$root" exec "$root/.venv/bin/python" -m module.main "$@"
