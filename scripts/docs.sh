#!/bin/sh
# Builds doc/ from README, docs, CHANGELOG and the compiled modules' documentation.
# The sources keep the repository's layout, so that their relative links stay right.
set -eu
cd "$(dirname "$0")/.."
source=.cache/docs

rm -rf "$source"
mkdir -p "$source"
for path in README.md CHANGELOG.md LICENSE docs examples bench; do
    [ ! -e "$path" ] || cp -R "$path" "$source"
done
mix run --no-start scripts/api_pages.exs "$source/api"
.cache/docs-venv/bin/python -m mkdocs build --quiet --strict --clean
echo "doc/index.html"
