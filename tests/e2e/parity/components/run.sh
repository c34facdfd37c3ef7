#!/bin/sh
# Starts the components of the parity test. HOLDFAST_TEST_PYTHON: an interpreter that has viam-sdk.
exec "${HOLDFAST_TEST_PYTHON:-python3}" "$(dirname "$0")/main.py" "$@"
