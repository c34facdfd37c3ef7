#!/bin/sh
# environment.sh <requirements file> [folder]: installs what that file of the checkout lists, into .venv or into
# that folder of the checkout. Does nothing when it is installed already. PYTHON names the interpreter that creates
# the environment; the default is python3.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
requirements=$1
venv=$root/${2:-.venv}
stamp=$venv/.$requirements
wanted=$(cat "$root"/requirements*.txt | cksum)

is_ready() { [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; }
fail() {
    echo "holdfast: $*" >&2
    exit 1
}

is_ready && exit 0

[ -w "$root" ] || fail "the Python environment can't be made in $root, which is read-only for this user; start" \
    "module/run.sh once as a user who may write there, or use the archive, which brings its own Python"

# One process at a time installs: viam-server may start a second one while the first is still installing.
exec 9>"$root/.environment.lock"
if command -v flock >/dev/null; then flock 9; fi
is_ready && exit 0

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "Python 3.10 or newer is needed, and '$python' is not one; install it, or name it: PYTHON=/path/to/python3"
if ! [ -x "$venv/bin/python" ]; then
    echo "holdfast: creating the Python environment in $venv"
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        fail "'$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv"
    fi
fi
echo "holdfast: installing $requirements; this takes a minute the first time"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/$requirements" ||
    fail "pip could not install what $requirements names; is there a network?"
echo "$wanted" >"$stamp"
