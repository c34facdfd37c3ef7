#!/bin/sh
# Installs what build.sh needs beside python3, where it is missing and there is apt-get: venv, Python's shared library
# and binutils. Viam's cloud build runs it before build.sh.
set -eu

complete() {
    command -v objcopy >/dev/null && command -v objdump >/dev/null && "${PYTHON:-python3}" - 2>/dev/null <<'END'
import ctypes, ensurepip, sysconfig, venv
ctypes.CDLL(sysconfig.get_config_var("INSTSONAME"))
END
}

complete && exit 0
if ! command -v apt-get >/dev/null; then
    echo "holdfast: install Python's venv, its shared library (libpython3) and binutils" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends python3 python3-venv libpython3-dev binutils
