#!/bin/sh
# image.sh NAME PACKAGE makes the image localhost/tutti/NAME:parts from the program in the module NAME of this folder, and the
# Dockerfile there, unless the engine has it made of the same bytes.
set -eu
name=$1 package=$2
cd "$(dirname "$0")/$name"
image=localhost/tutti/$name:parts
arch=$(docker version --format '{{.Server.Arch}}')
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
CGO_ENABLED=0 GOOS=linux GOARCH="$arch" "${GO:-go}" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$build/$name" "$package"
cp Dockerfile "$build/"
hash=$(cd "$build" && sha256sum "$name" Dockerfile | sha256sum | cut -d ' ' -f 1)
if [ "$(docker image inspect --format '{{index .Config.Labels "tutti.parts"}}' "$image" 2>/dev/null || true)" = "$hash" ]; then
	echo "$image is up to date"
	exit 0
fi
old=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
if ! said=$(DOCKER_BUILDKIT=0 docker build --quiet --force-rm --label tutti.parts="$hash" --label tutti.version="$name" --tag "$image" "$build" 2>&1); then
	echo "$said" >&2
	exit 1
fi
if [ -n "$old" ]; then
	docker image rm "$old" >/dev/null 2>&1 || true # it may still be in use
fi
echo "$image is made"
