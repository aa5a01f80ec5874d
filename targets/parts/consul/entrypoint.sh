#!/bin/sh
# Like the official image: the arguments are consul's, CONSUL_BIND_INTERFACE and CONSUL_CLIENT_INTERFACE name
# interfaces, CONSUL_LOCAL_CONFIG is a configuration in JSON. Root is given up for the user consul.
set -eu
# The first IPv4 address of an interface.
address() {
	a=$(ip -o -4 addr list "$1" | head -n 1 | awk '{print $4}' | cut -d / -f 1)
	if [ -z "$a" ]; then
		echo "could not find an IPv4 address of the interface $1" >&2
		exit 1
	fi
	echo "$a"
}
bind= client=
if [ -n "${CONSUL_BIND_INTERFACE:-}" ]; then
	a=$(address "$CONSUL_BIND_INTERFACE")
	bind="-bind=$a"
fi
if [ -n "${CONSUL_CLIENT_INTERFACE:-}" ]; then
	a=$(address "$CONSUL_CLIENT_INTERFACE")
	client="-client=$a"
fi
if [ -n "${CONSUL_LOCAL_CONFIG:-}" ]; then
	printf '%s\n' "$CONSUL_LOCAL_CONFIG" >/consul/config/local.json
fi
case "${1:-}" in
-*) set -- consul "$@" ;;
agent)
	shift
	set -- consul agent -data-dir=/consul/data -config-dir=/consul/config $bind $client "$@"
	;;
consul) ;;
*)
	# Every other command of consul's has a help text.
	if consul --help 2>&1 | grep -q "^    $1 "; then
		set -- consul "$@"
	fi
	;;
esac
if [ "${1:-}" = consul ] && [ "$(id -u)" = 0 ]; then
	chown -R consul:consul /consul
	exec setpriv --reuid consul --regid consul --init-groups "$@"
fi
exec "$@"
