#!/bin/sh
# Started by viam-server as a local module's executable: serves the demo's host sensor.
set -eu
cd "$(dirname "$0")/.."
exec "${HOLDFAST_PYTHON:-$PWD/.venv/bin/python}" -m demo.sensor_module "$@"
