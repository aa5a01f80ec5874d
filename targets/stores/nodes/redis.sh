#!/bin/sh
# A Redis of NODES. At its first start the first of them is the master and the others replicate it; after that its file says what
# it is, which Sentinel has rewritten. MIN_REPLICAS is how many replicas must have been heard of within two seconds for
# the master to take writes.
set -eu
. /nodes/member.sh
if [ ! -e /data/node.conf ]; then
	{
		echo 'dir /data'
		echo 'protected-mode no'
		echo 'appendonly yes'
		echo 'save ""'
		echo 'repl-diskless-sync-delay 0'
		echo "replica-announce-ip $address"
		echo "min-replicas-to-write ${MIN_REPLICAS:-0}"
		echo 'min-replicas-max-lag 2'
		[ "$self" = "$first" ] || echo "replicaof $(address "$first") 6379"
	} >/data/node.conf
fi
chmod 0666 /data/node.conf
exec docker-entrypoint.sh redis-server /data/node.conf
