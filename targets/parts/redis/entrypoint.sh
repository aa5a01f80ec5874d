#!/bin/sh
# Like the official image: flags, or a file's name, are redis-server's; root is given up for the user redis, and
# protected mode is off, since clients come from other containers.
set -eu
case "${1:-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$(id -u)" = 0 ]; then
	case "${1:-}" in
	redis-server | redis-sentinel)
		find . \! -user redis -exec chown redis:redis '{}' +
		exec setpriv --reuid redis --regid redis --init-groups "$0" "$@"
		;;
	esac
fi
if [ "${1:-}" = redis-server ]; then
	case " $* " in
	*" --protected-mode "* | *" --sentinel "*) ;;
	*) set -- "$@" --protected-mode no ;;
	esac
fi
exec "$@"
