#!/bin/sh
# Installs the toolchain by the system's package manager where it is missing:
# Elixir 1.14, OTP 25, Python 3.9 or newer. Says nothing when everything is there.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache
log=.cache/toolchain.log

die() {
    echo "error: $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Applications out of the arguments that this Erlang lacks; all of them without Erlang.
missing_applications() {
    if ! has erl; then
        echo "$@"
        return
    fi
    ERL_LIBS="$PWD/.cache/erlang:${ERL_LIBS:-}" erl -noshell -eval '
        [io:format("~s ", [A]) || A <- init:get_plain_arguments(),
            is_tuple(code:lib_dir(list_to_atom(A)))], halt().' -extra "$@"
}

python_has() { "$PYTHON" -c "import $1" >/dev/null 2>&1; }

debian_erlang() {
    ! has erl || dpkg -S "$(readlink -f "$(command -v erl)")" >/dev/null 2>&1
}

debian_packages() {
    packages=""
    has elixir || packages="elixir"
    # Debian's elixir package leaves out the headers, eunit and dialyzer.
    for application in $(missing_applications crypto dialyzer eunit parsetools proper tools); do
        packages="$packages erlang-$application"
    done
    has erl || packages="$packages erlang-dev"
    # The tests look at processes; minimal images have no ps.
    has ps || packages="$packages procps"
    # An interpreter that the user named is not ours to install.
    if [ "$PYTHON" = python3 ]; then
        has python3 || packages="$packages python3"
        python_has venv && python_has ensurepip || packages="$packages python3-venv"
    fi
    echo $packages
}

install_debian() {
    packages=$(debian_packages)
    if ! debian_erlang; then
        unpack_proper
        packages=$(echo "$packages" | tr ' ' '\n' | grep -v -e '^elixir' -e '^erlang' || true)
    fi
    [ -n "$packages" ] || return 0
    by_hand="apt-get update && apt-get install $packages"
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        has sudo || die "packages are missing, and this is not root and has no sudo; run as root: $by_hand"
        sudo="sudo"
    fi
    echo "Installing" $packages
    # shellcheck disable=SC2086
    {
        $sudo apt-get update &&
            $sudo env DEBIAN_FRONTEND=noninteractive \
                apt-get install --yes --no-install-recommends $packages
    } >"$log" 2>&1 || {
        tail -n 2 "$log" >&2
        die "cannot install (all output: $log); run as root: $by_hand"
    }
}

# An Erlang that was not installed by apt: Debian's packages would bring a second Erlang,
# but PropEr is plain BEAM files that any newer OTP loads.
unpack_proper() {
    [ -n "$(missing_applications proper)" ] || return 0
    mkdir -p .cache/erlang .cache/deb
    if (cd .cache/deb && apt-get download erlang-proper) >"$log" 2>&1 &&
        dpkg-deb -x .cache/deb/erlang-proper_*.deb .cache/deb; then
        mv .cache/deb/usr/lib/erlang/lib/proper-* .cache/erlang/
    else
        echo "note: no PropEr for this Erlang: property tests are left out" >&2
    fi
    rm -rf .cache/deb
}

install_macos() {
    packages=""
    has elixir && has erl || packages="elixir"
    has "$PYTHON" || [ "$PYTHON" != python3 ] || packages="$packages python3"
    [ -n "$packages" ] || return 0
    has brew || die "Homebrew is missing: install it (https://brew.sh), then run: brew install" $packages
    echo "Installing" $packages
    # shellcheck disable=SC2086
    brew install $packages >"$log" 2>&1 || {
        tail -n 2 "$log" >&2
        die "cannot install (all output: $log); run: brew install" $packages
    }
}

check_versions() {
    has elixir && has erl || die "Elixir is missing: install Elixir 1.14 and Erlang/OTP 25 or newer"
    elixir -e 'System.version() |> Version.match?(">= 1.14.0-0") || System.halt(1)
               System.otp_release() |> String.to_integer() >= 25 || System.halt(1)' ||
        die "too old: $(elixir --short-version 2>/dev/null || echo Elixir); needs Elixir 1.14 and Erlang/OTP 25 or newer (https://elixir-lang.org/install.html)"
    has "$PYTHON" || die "$PYTHON is missing: install Python 3.9 or newer, or name one: make PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
        die "$("$PYTHON" --version 2>&1) is too old: needs 3.9 or newer; name one: make PYTHON=/path/to/python3"
    python_has ensurepip || die "$PYTHON has no ensurepip: install its venv package (Debian: apt-get install python3-venv)"
}

: "${PYTHON:=python3}"
if has apt-get; then
    install_debian
elif [ "$(uname)" = Darwin ]; then
    install_macos
fi
check_versions
