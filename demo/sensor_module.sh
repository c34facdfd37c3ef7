#!/bin/sh
# viam-server starts this as the executable of a local module, which serves the demo's host sensor.
set -eu
cd "$(dirname "$0")/.."
exec "${HOLDFAST_PYTHON:-$PWD/.venv/bin/python}" -m demo.sensor_module "$@"
