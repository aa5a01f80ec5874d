#!/bin/sh
# A member of an etcd cluster of NODES.
set -eu
. /nodes/member.sh
cluster=
for name in $(echo "$NODES" | tr ',' ' '); do
	cluster="$cluster,$name=http://$name:2380"
done
exec docker-entrypoint.sh etcd --name "$self" \
	--listen-client-urls http://0.0.0.0:2379 --advertise-client-urls "http://$self:2379" \
	--listen-peer-urls http://0.0.0.0:2380 --initial-advertise-peer-urls "http://$self:2380" \
	--initial-cluster "${cluster#,}" --initial-cluster-state new "$@"
