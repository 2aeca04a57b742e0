#!/usr/bin/env bash
# Writes the types of the messages and services in this folder to src/containerd/generated.
# With --check it writes nothing, and fails when what is there is not what would be written.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=src/containerd/generated
PATH="$PWD/node_modules/.bin:$PATH"

case "${1-}" in
  "" | --check) ;;
  *)
    echo "usage: proto/generate.sh [--check]" >&2
    exit 2
    ;;
esac

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

# The options say how messages look in a program, so they agree with those that the client loads the definitions with.
proto-loader-gen-types \
  --longs=Number --enums=String --defaults \
  --grpcLib=@grpc/grpc-js --importFileExtension=.ts \
  --includeDirs=proto --outDir="$fresh" \
  containerd.proto

if [[ "${1-}" == --check ]]; then
  if ! diff -r "$out" "$fresh" >&2; then
    echo "generated types are stale: run npm run proto" >&2
    exit 1
  fi
else
  rm -rf "$out"
  mkdir -p "$out"
  cp -R "$fresh/." "$out"
fi
