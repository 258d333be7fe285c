#!/bin/sh
# Builds doc/ from README, docs, CHANGELOG and the compiled modules' documentation.
# The sources keep the repository's layout, so that their relative links stay right.
set -eu
cd "$(dirname "$0")/.."
source=.cache/docs

rm -rf "$source"
mkdir -p "$source"
# Pages, and the files that they link to.
for path in README.md CHANGELOG.md LICENSE docs test/erlang_python python_tests; do
    mkdir -p "$source/$(dirname "$path")"
    cp -R "$path" "$source/$(dirname "$path")"
done
mix run --no-start scripts/api_pages.exs "$source"
# Not --quiet: that would hide warnings from --strict too.
log=.cache/docs.log
.cache/docs-venv/bin/python -m mkdocs build --strict --clean >"$log" 2>&1 || {
    grep -v "^INFO" "$log" >&2
    exit 1
}
echo "doc/index.html"
