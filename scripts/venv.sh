#!/bin/sh
# venv.sh LOCK FOLDER: a virtual environment with exactly what the lock file names.
set -eu
cd "$(dirname "$0")/.."
lock=$1
folder=$2
log=$folder.log
: "${PYTHON:=python3}"

fail() {
    grep . "$log" | tail -n 1 >&2
    echo "error: cannot make $folder (all output: $log); run: $*" >&2
    exit 1
}

echo "Installing the Python packages of $lock into $folder"
rm -rf "$folder"
"$PYTHON" -m venv "$folder" >"$log" 2>&1 || fail "$PYTHON -m venv $folder"
set -- "$folder/bin/python" -m pip install --disable-pip-version-check --no-input \
    --require-hashes --only-binary :all: --requirement "$lock"
"$@" >"$log" 2>&1 || fail "$@"
