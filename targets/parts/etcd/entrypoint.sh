#!/bin/sh
# Flags are etcd's; everything else comes from ETCD_* in the environment. Root is given up for the user etcd.
set -eu
case "${1:-}" in
-*) set -- etcd "$@" ;;
/usr/local/bin/etcd) # where the official image has it
	shift
	set -- etcd "$@"
	;;
esac
if [ "$1" = etcd ] && [ "$(id -u)" = 0 ]; then
	chown -R etcd:etcd "$ETCD_DATA_DIR"
	chmod 0700 "$ETCD_DATA_DIR"
	exec setpriv --reuid etcd --regid etcd --init-groups "$@"
fi
exec "$@"
