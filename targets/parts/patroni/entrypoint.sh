#!/bin/sh
# Patroni reads PATRONI_* itself. What it can only read from a file is written here: who may connect, and what the
# first leader puts into the store (PATRONI_DCS_*). Root is given up for the user postgres.
set -eu
if [ "${1:-}" != patroni ]; then
	exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PATRONI_POSTGRESQL_DATA_DIR"
	chown -R postgres:postgres /var/lib/postgresql/data "$PATRONI_POSTGRESQL_DATA_DIR"
	chmod 0700 "$PATRONI_POSTGRESQL_DATA_DIR"
	exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
address=$(hostname -i | cut -d ' ' -f 1)
export PATRONI_SCOPE="${PATRONI_SCOPE:-tutti}"
export PATRONI_NAME="${PATRONI_NAME:-$(hostname)}"
export PATRONI_RESTAPI_LISTEN="${PATRONI_RESTAPI_LISTEN:-0.0.0.0:8008}"
export PATRONI_RESTAPI_CONNECT_ADDRESS="${PATRONI_RESTAPI_CONNECT_ADDRESS:-$address:8008}"
export PATRONI_POSTGRESQL_LISTEN="${PATRONI_POSTGRESQL_LISTEN:-0.0.0.0:5432}"
export PATRONI_POSTGRESQL_CONNECT_ADDRESS="${PATRONI_POSTGRESQL_CONNECT_ADDRESS:-$address:5432}"
export PATRONI_POSTGRESQL_BIN_DIR="${PATRONI_POSTGRESQL_BIN_DIR:-/usr/lib/postgresql/17/bin}"
export PATRONI_POSTGRESQL_PGPASS="${PATRONI_POSTGRESQL_PGPASS:-/tmp/pgpass}"
export PATRONI_SUPERUSER_USERNAME="${PATRONI_SUPERUSER_USERNAME:-postgres}"
export PATRONI_SUPERUSER_PASSWORD="${PATRONI_SUPERUSER_PASSWORD:-postgres}"
export PATRONI_REPLICATION_USERNAME="${PATRONI_REPLICATION_USERNAME:-replicator}"
export PATRONI_REPLICATION_PASSWORD="${PATRONI_REPLICATION_PASSWORD:-replicator}"
cat >/etc/patroni/tutti.yml <<YAML
bootstrap:
  dcs:
    ttl: ${PATRONI_DCS_TTL:-30}
    loop_wait: ${PATRONI_DCS_LOOP_WAIT:-10}
    retry_timeout: ${PATRONI_DCS_RETRY_TIMEOUT:-10}
    maximum_lag_on_failover: ${PATRONI_DCS_MAXIMUM_LAG_ON_FAILOVER:-1048576}
    synchronous_mode: ${PATRONI_DCS_SYNCHRONOUS_MODE:-false}
    synchronous_mode_strict: ${PATRONI_DCS_SYNCHRONOUS_MODE_STRICT:-false}
    failsafe_mode: ${PATRONI_DCS_FAILSAFE_MODE:-false}
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: ${PATRONI_DCS_MAX_CONNECTIONS:-100}
  initdb:
    - encoding: UTF8
    - data-checksums
postgresql:
  pg_hba:
    - local all all trust
    - host replication ${PATRONI_REPLICATION_USERNAME} all scram-sha-256
    - host all all all scram-sha-256
YAML
shift
unset PGDATA # of the image that this one is made from; Patroni has its own
exec patroni /etc/patroni/tutti.yml "$@"
