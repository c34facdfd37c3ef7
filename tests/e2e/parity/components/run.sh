#!/bin/sh
# Starts the components of the parity test. HOLDFAST_TEST_PYTHON: an interpreter that has viam-sdk.
set -eu
cd "$(dirname "$0")/../../../.."
exec "${HOLDFAST_TEST_PYTHON:-python3}" -m tests.e2e.parity.components.main "$@"
