#!/bin/sh
# A server of a Consul cluster of NODES. The multiplier is what Consul's documentation advises for production: a leader is missed
# after a second, not after five.
set -eu
. /nodes/member.sh
for name in $(echo "$NODES" | tr ',' ' '); do
	set -- "$@" "-retry-join=$name"
done
exec docker-entrypoint.sh agent -server -node="$self" -bind="$address" -client=0.0.0.0 -bootstrap-expect="$count" \
	-retry-interval=1s -disable-host-node-id -hcl 'performance { raft_multiplier = 1 }' "$@"
