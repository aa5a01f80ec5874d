#!/bin/sh
# Makes the image localhost/tutti/shop:parts from the program in this folder, unless the engine has it made of the same bytes.
set -eu
cd "$(dirname "$0")"
image=localhost/tutti/shop:parts
arch=$(docker version --format '{{.Server.Arch}}')
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CGO_ENABLED=0 GOOS=linux GOARCH="$arch" "${GO:-go}" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$build/shop" ./cmd/shop
cp Dockerfile "$build/"
hash=$(cd "$build" && sha256sum shop Dockerfile | sha256sum | cut -d ' ' -f 1)
if [ "$(docker image inspect --format '{{index .Config.Labels "tutti.parts"}}' "$image" 2>/dev/null || true)" = "$hash" ]; then
	echo "$image is up to date"
	exit 0
fi
old=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
if ! said=$(docker build --quiet --force-rm --label tutti.parts="$hash" --label tutti.version=shop --tag "$image" "$build" 2>&1); then
	echo "$said" >&2
	exit 1
fi
if [ -n "$old" ]; then
	docker image rm "$old" >/dev/null 2>&1 || true # it may still be in use
fi
echo "$image is made"
