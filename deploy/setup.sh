#!/bin/sh
# Sets Sluis up in a virtual environment: setup.sh VENV LOCKFILE. Installs python3-venv and libmagic from Debian where they are missing.
set -eu
venv=$1
lock=$2
python=${PYTHON:-python3}
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sluis needs Python 3.11 or later; set PYTHON=..." >&2; exit 1; }
missing=""
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
"$python" -c 'import ctypes.util as u, sys; sys.exit(u.find_library("magic") is None)' || missing="$missing libmagic1"
if [ -n "$missing" ]; then
    echo "installing from Debian:$missing"
    # shellcheck disable=SC2086 # a list of names
    root apt-get -qq update && root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing \
        || { echo "install these packages as root, then try again:$missing" >&2; exit 1; }
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
install() { "$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation "$@" || { echo "$1 $2 could not be installed: see above" >&2; exit 1; }; }
install --require-hashes -r requirements-build.lock
install --require-hashes -r "$lock"
install --no-deps --editable .
