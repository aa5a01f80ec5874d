#!/bin/sh
# A PostgreSQL of NODES under Patroni. At the first start the others wait for the first of them, so that it is the one that leads
# when load begins, and faults can name it.
set -eu
. /nodes/member.sh
if [ "$self" != "$first" ] && [ ! -e "$PATRONI_POSTGRESQL_DATA_DIR/PG_VERSION" ]; then
	tries=0
	until python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=1)' "http://$first:8008/leader" 2>/dev/null; do
		tries=$((tries + 1))
		if [ "$tries" -ge 120 ]; then
			echo "$first does not lead" >&2
			exit 1
		fi
		sleep 0.5
	done
fi
export PATRONI_NAME="$self"
exec docker-entrypoint.sh patroni
