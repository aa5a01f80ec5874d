#!/bin/sh
# A server of a ZooKeeper ensemble of NODES; one alone is an ensemble, too, so that it says that it leads.
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
export ZOO_MY_ID="$number" ZOO_SERVERS="${servers# }" ZOO_STANDALONE_ENABLED=false
exec docker-entrypoint.sh zkServer.sh start-foreground
