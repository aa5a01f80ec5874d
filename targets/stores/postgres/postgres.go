// Package postgres is the gateway's store over PostgreSQL, one or several of which one takes writes, by the client pgx.
//
// A write is one statement, sent once, over a connection to the node that takes writes; connections are made anew to whoever does
// then. It is acknowledged when the node has committed it, which with synchronous replication is after a replica has it. Reads
// are of that node, too.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

const (
	dialLimit = 500 * time.Millisecond // for a connection to one node, its role included
	poolSize  = 32                     // connections to the node that takes writes
)

// Store is a [gateway.Store]. Open makes one, Close ends it.
type Store struct {
	pool        *pgxpool.Pool
	nodes       int
	synchronous int
}

// Open returns a store on these nodes, each HOST:PORT. User, password and database are those of PGUSER, PGPASSWORD and
// PGDATABASE. It does not wait for anybody. It is ready when this many replicas are synchronous.
func Open(ctx context.Context, nodes []string, synchronous int) (*Store, error) {
	u := url.URL{Scheme: "postgres", Host: strings.Join(nodes, ","), Path: "/"}
	u.RawQuery = url.Values{"target_session_attrs": {"read-write"}, "sslmode": {"disable"}}.Encode()
	cfg, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL at %s: %w", u.Host, err)
	}
	cfg.MaxConns = poolSize
	cfg.ConnConfig.ConnectTimeout = dialLimit
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make a pool of connections to PostgreSQL at %s: %w", u.Host, err)
	}
	return &Store{pool: pool, nodes: len(nodes), synchronous: synchronous}, nil
}

// Put implements [gateway.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte) (string, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", gateway.NotDone(err) // nothing is sent without a connection
	}
	defer conn.Release()
	node := peer(conn.Conn())
	_, err = conn.Exec(ctx, `INSERT INTO kv (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
	if err != nil {
		return "", judge(err)
	}
	return node, nil
}

// Get implements [gateway.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, string, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, "", gateway.NotDone(err)
	}
	defer conn.Release()
	node := peer(conn.Conn())
	var value []byte
	err = conn.QueryRow(ctx, `SELECT value FROM kv WHERE key = $1`, key).Scan(&value)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, node, gateway.ErrNotFound
	case err != nil:
		return nil, "", judge(err)
	}
	return value, node, nil
}

// Ready implements [gateway.Store]: there is a table, every other node streams, and enough are synchronous.
func (s *Store) Ready(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS kv (key text PRIMARY KEY, value bytea NOT NULL)`); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	var streaming, synchronous int
	err := s.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum'))
		FROM pg_stat_replication WHERE state = 'streaming'`).Scan(&streaming, &synchronous)
	if err != nil {
		return fmt.Errorf("ask for the replicas: %w", err)
	}
	if streaming < s.nodes-1 {
		return fmt.Errorf("%d of %d replicas stream", streaming, s.nodes-1)
	}
	if synchronous < s.synchronous {
		return fmt.Errorf("%d replicas are synchronous, %d are to be", synchronous, s.synchronous)
	}
	return nil
}

// Close implements [gateway.Store].
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// peer is the address of the node that a connection is to.
func peer(c *pgx.Conn) string {
	host, _, err := net.SplitHostPort(c.PgConn().Conn().RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// judge says what is known of a statement that failed.
func judge(err error) error {
	var said *pgconn.PgError
	switch {
	case errors.As(err, &said):
		// An ERROR rolls the statement back. A FATAL ends the connection, and may come after the commit; 57P03 (it is starting
		// up) comes before anything. 40003 and class 08 say themselves that nobody knows.
		unknown := said.Severity != "ERROR" && said.Code != "57P03" || said.Code == "40003" || strings.HasPrefix(said.Code, "08")
		if !unknown {
			return gateway.NotDone(err)
		}
	case pgconn.SafeToRetry(err):
		return gateway.NotDone(err)
	case pgconn.Timeout(err):
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}
