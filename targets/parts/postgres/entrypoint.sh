#!/bin/sh
# Like the official image: the first start makes a cluster from POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB,
# POSTGRES_INITDB_ARGS and POSTGRES_HOST_AUTH_METHOD, and runs the scripts in /docker-entrypoint-initdb.d. Root is given
# up for the user postgres.
set -eu
case "${1:-}" in
-*) set -- postgres "$@" ;;
esac
if [ "${1:-}" != postgres ]; then
	exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA"
	chown -R postgres:postgres "$PGDATA"
	chmod 0700 "$PGDATA"
	exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	user=${POSTGRES_USER:-postgres}
	db=${POSTGRES_DB:-$user}
	method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
	if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
		echo 'set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to let everyone in' >&2
		exit 1
	fi
	secret=$(mktemp)
	printf '%s\n' "${POSTGRES_PASSWORD:-unused}" >"$secret"
	# Word splitting is wanted of the arguments.
	initdb --username "$user" --pwfile "$secret" ${POSTGRES_INITDB_ARGS:-}
	rm "$secret"
	printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
	# listen_addresses is what initdb comments out: nobody but us comes in while scripts run.
	pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start >&2
	if [ "$db" != postgres ]; then
		psql -v ON_ERROR_STOP=1 -v db="$db" --no-psqlrc --quiet -U "$user" -d postgres <<-'SQL'
			CREATE DATABASE :"db";
		SQL
	fi
	for file in /docker-entrypoint-initdb.d/*; do
		case "$file" in
		*.sh) . "$file" ;;
		*.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet -U "$user" -d "$db" -f "$file" ;;
		esac
	done
	pg_ctl -D "$PGDATA" -m fast -w stop >&2
fi
case " $* " in
*listen_addresses*) exec "$@" ;;
esac
shift
exec postgres -c listen_addresses='*' "$@"
