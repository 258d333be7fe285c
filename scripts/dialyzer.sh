#!/bin/sh
# Dialyzer over the compiled code. The PLT (what it knows of OTP and Elixir) is made once per
# version of both and kept in .cache.
set -eu
cd "$(dirname "$0")/.."

elixir_lib=$(elixir -e 'IO.write(Path.dirname(:code.lib_dir(:elixir)))')
versions=$(elixir -e '
  otp = Path.join([:code.root_dir(), "releases", System.otp_release(), "OTP_VERSION"])
  IO.write("otp-#{otp |> File.read!() |> String.trim()}-elixir-#{System.version()}")')
plt=.cache/plt/$versions.plt

# Debug information of Elixir's modules is read by Elixir's own code.
export ERL_LIBS="$elixir_lib:${ERL_LIBS:-}"

if [ ! -f "$plt" ]; then
    echo "Making $plt (once, a minute or two)"
    mkdir -p .cache/plt
    # Exit status 2: warnings about OTP's and Elixir's own code, which are not ours to judge.
    dialyzer --quiet --build_plt --output_plt "$plt.$$" \
        --apps erts kernel stdlib compiler crypto eunit \
        -r "$elixir_lib"/elixir/ebin "$elixir_lib"/logger/ebin "$elixir_lib"/mix/ebin \
        "$elixir_lib"/eex/ebin >.cache/plt/build.log 2>&1 || [ $? = 2 ] || {
        tail -n 5 .cache/plt/build.log >&2
        exit 1
    }
    mv "$plt.$$" "$plt"
fi

# Protocols as they run: consolidated, without calls of implementations that may never exist.
app=_build/dev/lib/erlang_python
modules=
for beam in "$app"/ebin/*.beam; do
    consolidated=$app/consolidated/${beam##*/}
    [ -f "$consolidated" ] && modules="$modules $consolidated" || modules="$modules $beam"
done

# Code as users write it, in both languages, must pass too.
callers=.cache/dialyzer
rm -rf "$callers"
mkdir -p "$callers"
erlc +debug_info -o "$callers" test/dialyzer/*.erl examples/erlang/*.erl
elixirc --ignore-module-conflict -pa "$app/ebin" -o "$callers" test/dialyzer/*.ex >/dev/null

# shellcheck disable=SC2086
exec dialyzer --no_check_plt --plt "$plt" --fullpath $modules "$callers"/*.beam
