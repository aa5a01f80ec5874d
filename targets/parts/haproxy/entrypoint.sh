#!/bin/sh
# Like the official image: haproxy as master and worker (-W), in the foreground (-db).
set -eu
case "${1:-}" in
-*) set -- haproxy "$@" ;;
esac
if [ "${1:-}" = haproxy ]; then
	shift
	set -- haproxy -W -db "$@"
fi
exec "$@"
