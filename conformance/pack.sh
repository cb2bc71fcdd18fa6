#!/usr/bin/env bash
# Packs the kit as idempotency-conformance-<version>.tgz, without any dependency. The tarball is written to the current folder, or to the folder
# that the first argument names.
set -euo pipefail
target=$(realpath "${1:-.}")
cd "$(dirname "$0")/.."

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
npx swc conformance harness/options.ts --ignore 'conformance/field/**' -d "$stage" -C sourceMaps=false --quiet
mkdir "$stage/docs"
cp LICENSE conformance/package.json "$stage"
# In the package the README is at the root.
sed 's#](\.\./docs/#](docs/#g' conformance/README.md > "$stage/README.md"
sed 's#](\.\./conformance/README#](../README#g' docs/conformance.md > "$stage/docs/conformance.md"
npm pack "$stage" --silent --pack-destination "$target"
