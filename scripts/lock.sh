#!/bin/sh
# Writes the lock files: one for every Python from 3.9 on, every platform, hashes of all files.
set -eu
cd "$(dirname "$0")/.."

# Settings of the machine (other indexes, wheel folders) must not leak into the locks.
for name in $(env | sed -n 's/^\(UV_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done

lock() {
    echo "$2"
    # pyzmq asks for cffi on PyPy only, for which msgpack has no wheels.
    .cache/venv/bin/uv --no-config pip compile --quiet --upgrade --universal --python-version 3.9 \
        --generate-hashes --no-emit-index-url --no-emit-package cffi --no-emit-package pycparser \
        --custom-compile-command "make lock" --output-file "$2" "$1"
}

lock priv/programs/requirements.in priv/programs/requirements.lock
lock requirements/dev.in requirements/dev.lock
lock requirements/docs.in requirements/docs.lock
lock requirements/uvloop.in requirements/uvloop.lock
lock requirements/libraries.in requirements/libraries.lock
