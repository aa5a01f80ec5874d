#!/bin/sh
# A server of a ZooKeeper ensemble of NODES.
set -eu
. /nodes/member.sh
servers=
n=0
for name in $(echo "$NODES" | tr ',' ' '); do
	n=$((n + 1))
	host=$name
	[ "$name" != "$self" ] || host=0.0.0.0
	servers="$servers server.$n=$host:2888:3888;2181"
done
export ZOO_MY_ID="$number" ZOO_SERVERS="${servers# }"
exec docker-entrypoint.sh zkServer.sh start-foreground
