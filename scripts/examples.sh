#!/bin/sh
# Runs the examples: all, or those that are named (scripts/examples.sh demo erlang); --list names them.
# An example is a script examples/NAME.exs, or a folder examples/NAME with an executable `run`, which is started in the
# root of the repository. The library is compiled already, for MIX_ENV. One that fails ends with another status than 0.
set -eu
cd "$(dirname "$0")/.."

# The development environment, if `make` has made it: it has NumPy, and what the workers need.
if [ -d .cache/venv ]; then
    PATH=$PWD/.cache/venv/bin:$PATH
    export PATH
fi

list() {
    for path in examples/*.exs examples/*/run; do
        name=${path#examples/}
        name=${name%.exs}
        echo "${name%/run}"
    done
}

run() {
    if [ -x "examples/$1/run" ]; then
        "examples/$1/run"
    else
        mix run --no-compile "examples/$1.exs"
    fi
}

if [ "${1:-}" = --list ]; then
    list
    exit
fi

# shellcheck disable=SC2046
[ $# != 0 ] || set -- $(list)

failed=
for name in "$@"; do
    printf '\n---- %s\n\n' "$name"
    run "$name" || failed="$failed $name"
done

if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
