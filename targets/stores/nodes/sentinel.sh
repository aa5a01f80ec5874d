#!/bin/sh
# A Sentinel that watches the first of NODES, called main, and whoever replicates it. QUORUM of them must agree that it is down.
set -eu
master=$(getent hosts "${NODES%%,*}" | awk '{print $1; exit}')
if [ ! -e /data/sentinel.conf ]; then
	{
		echo 'dir /data'
		echo 'port 26379'
		echo 'protected-mode no'
		echo "sentinel announce-ip $(hostname -i | cut -d ' ' -f 1)"
		echo "sentinel monitor main ${master:?"${NODES%%,*} has no address"} 6379 ${QUORUM:-2}"
		echo "sentinel down-after-milliseconds main ${DOWN_AFTER:-2000}"
		echo 'sentinel failover-timeout main 6000'
		echo 'sentinel parallel-syncs main 2'
	} >/data/sentinel.conf
fi
chmod 0666 /data/sentinel.conf
exec docker-entrypoint.sh redis-sentinel /data/sentinel.conf
