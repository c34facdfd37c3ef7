#!/bin/sh
# Starts the module with a watch over its event loop: watched_module.sh <socket> [options]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
PYTHONPATH="$root/src:$root" exec "$root/.venv/bin/python" -X utf8 -m bench.hostile.watched_module "$@"
