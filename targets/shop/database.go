package shop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// databaseLimit is the limit on one question to PostgreSQL.
const databaseLimit = 500 * time.Millisecond

// Errors of the database's answers.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("this key has another order")
)

// A Product is what the shop sells.
type Product struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Cents int64  `json:"cents"`
}

// An Order is what somebody bought.
type Order struct {
	ID       int64     `json:"id"`
	Product  int       `json:"product"`
	Quantity int       `json:"quantity"`
	Cents    int64     `json:"cents"` // for all of it
	Node     string    `json:"node"`  // that took it
	Created  time.Time `json:"created"`
}

// Database is the shop's PostgreSQL. Its methods are safe for concurrent use.
type Database struct {
	pool    *pgxpool.Pool
	breaker *breaker
}

// OpenDatabase returns the database at a PostgreSQL URL. It does not wait for it. Close it.
func OpenDatabase(ctx context.Context, url string) (*Database, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 8
	cfg.MaxConnLifetime = 5 * time.Minute
	cfg.HealthCheckPeriod = 5 * time.Second
	cfg.ConnConfig.ConnectTimeout = databaseLimit
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Database{pool: pool, breaker: newBreaker("database", databaseLimit)}, nil
}

// Close closes its connections.
func (d *Database) Close() { d.pool.Close() }

// Ping asks whether it is there.
func (d *Database) Ping(ctx context.Context) error { return d.pool.Ping(ctx) }

// schemaLock is the number of the lock under which nodes that start together make the schema one after the other.
const schemaLock = 20261123

const schema = `
CREATE TABLE IF NOT EXISTS products (
	id int PRIMARY KEY, name text NOT NULL, cents bigint NOT NULL CHECK (cents > 0));
CREATE TABLE IF NOT EXISTS orders (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	key text UNIQUE, product int NOT NULL REFERENCES products, quantity int NOT NULL CHECK (quantity > 0),
	cents bigint NOT NULL, node text NOT NULL, created timestamptz NOT NULL DEFAULT now());
INSERT INTO products SELECT n, 'Article no. ' || n, 99 + 250 * n FROM generate_series(1, 60) n ON CONFLICT DO NOTHING`

// Prepare makes the schema and the products, if they are not there.
func (d *Database) Prepare(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, schemaLock); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the schema: %w", err)
	}
	return nil
}

// Products returns all products, by number.
func (d *Database) Products(ctx context.Context) ([]Product, error) {
	return call(ctx, d.breaker, databaseFault, func(ctx context.Context) ([]Product, error) {
		rows, err := d.pool.Query(ctx, `SELECT id, name, cents FROM products ORDER BY id LIMIT 1000`)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowToStructByPos[Product])
	})
}

// possible reports whether the database could have a product of that number: its column holds no more, and asking for what it cannot hold
// would look like a database that is gone.
func possible(id int) bool { return id >= 1 && id <= math.MaxInt32 }

// Product returns one product; ErrNotFound if there is none.
func (d *Database) Product(ctx context.Context, id int) (*Product, error) {
	if !possible(id) {
		return nil, ErrNotFound
	}
	return call(ctx, d.breaker, databaseFault, func(ctx context.Context) (*Product, error) {
		return one[Product](ctx, d.pool, `SELECT id, name, cents FROM products WHERE id = $1`, id)
	})
}

// Order takes an order. One with a key that was taken before is not taken again: the first comes back, or ErrConflict if
// it was for something else. ErrNotFound means that there is no such product.
func (d *Database) Order(ctx context.Context, o Order, key string) (*Order, error) {
	if !possible(o.Product) {
		return nil, ErrNotFound
	}
	got, err := call(ctx, d.breaker, databaseFault, func(ctx context.Context) (*Order, error) {
		return one[Order](ctx, d.pool, `
			INSERT INTO orders (key, product, quantity, cents, node)
			SELECT nullif($1, ''), id, $3::int, $3::int * cents, $4 FROM products WHERE id = $2
			ON CONFLICT (key) DO UPDATE SET key = excluded.key
			RETURNING id, product, quantity, cents, node, created`, key, o.Product, o.Quantity, o.Node)
	})
	if err == nil && (got.Product != o.Product || got.Quantity != o.Quantity) {
		return nil, ErrConflict
	}
	return got, err
}

// FindOrder returns an order by its number; ErrNotFound if there is none.
func (d *Database) FindOrder(ctx context.Context, id int64) (*Order, error) {
	return call(ctx, d.breaker, databaseFault, func(ctx context.Context) (*Order, error) {
		return one[Order](ctx, d.pool, `SELECT id, product, quantity, cents, node, created FROM orders WHERE id = $1`, id)
	})
}

func one[T any](ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) (*T, error) {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	return v, err
}

// databaseFault reports whether an error is one of the database, rather than an answer. Classes 08, 53, 57 and 58 are
// connections, resources, shutdown and the system.
func databaseFault(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code[:min(2, len(pg.Code))] {
		case "08", "53", "57", "58":
			return true
		}
		return false
	}
	return !errors.Is(err, ErrNotFound)
}
