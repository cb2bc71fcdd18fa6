#!/usr/bin/env bash
# Prints the path of Stripe's stripe-mock, which this script builds once and keeps in node_modules/.cache. It changes nothing on the system.
# stripe-mock needs Go 1.22.1 or later. If the installed Go is older, such as 1.19 of Debian 12, the script gets Go 1.22.12 from the module proxy.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v0.203.0
cache="$PWD/node_modules/.cache/stripe-mock-$version"
if [ -x "$cache/stripe-mock" ]; then echo "$cache/stripe-mock"; exit; fi

go=$(command -v go) || { echo 'test:stripe needs Go to build stripe-mock: apt-get install golang-go' >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
# Modules that can be deleted, and no other toolchain than the one that this script chooses.
export GOPATH="$work/modules" GOCACHE="$work/cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local GOBIN="$work"

if [ "$(printf '%s\n' go1.22.1 "$("$go" env GOVERSION)" | sort --version-sort | head -n 1)" != go1.22.1 ]; then
  toolchain="golang.org/toolchain@v0.0.1-go1.22.12.$("$go" env GOOS)-$("$go" env GOARCH)"
  (cd "$work" && "$go" mod download "$toolchain")
  # The proxy delivers files without the right to execute them.
  chmod -R +x "$GOPATH/pkg/mod/$toolchain"/{bin,pkg/tool}
  go="$GOPATH/pkg/mod/$toolchain/bin/go"
fi
"$go" install "github.com/stripe/stripe-mock@$version" > "$work/log" 2>&1 ||
  { echo 'stripe-mock could not be built:' >&2; tail -n 50 "$work/log" >&2; exit 1; }
mkdir -p "$cache"
mv "$work/stripe-mock" "$cache/stripe-mock"
echo "$cache/stripe-mock"
