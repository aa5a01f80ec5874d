// Command stores is an HTTP gateway to a store: etcd, Consul, ZooKeeper, Redis or PostgreSQL. See package gateway for what it answers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tutti-bench/tutti/targets/stores/consul"
	"github.com/tutti-bench/tutti/targets/stores/etcd"
	"github.com/tutti-bench/tutti/targets/stores/gateway"
	"github.com/tutti-bench/tutti/targets/stores/postgres"
	"github.com/tutti-bench/tutti/targets/stores/redis"
	"github.com/tutti-bench/tutti/targets/stores/zookeeper"
)

const drain = 3 * time.Second // for open requests, after SIGTERM

var errUsage = errors.New("command line")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "stores:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	listen, store, master string
	nodes, sentinels      []string
	limit                 time.Duration
	synchronous           int
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var nodes, sentinels string
	fs := flag.NewFlagSet("stores", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.listen, "listen", ":8080", "`address` to listen on")
	fs.StringVar(&o.store, "store", "", "`kind` of store: etcd, consul, zookeeper, redis or postgres")
	fs.StringVar(&nodes, "nodes", "", "the store's `nodes`, HOST or HOST:PORT, between commas")
	fs.StringVar(&sentinels, "sentinels", "", "the `sentinels` of redis, likewise; empty is a single node")
	fs.StringVar(&o.master, "master", "main", "what the sentinels call the master")
	fs.IntVar(&o.synchronous, "synchronous", 0, "`replicas` of postgres that must be synchronous before it is ready")
	fs.DurationVar(&o.limit, "limit", time.Second, "longest time for one request to the store")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	port, known := map[string]string{"etcd": "2379", "consul": "8500", "zookeeper": "2181", "redis": "6379", "postgres": "5432"}[o.store]
	o.nodes, o.sentinels = hosts(nodes, port), hosts(sentinels, "26379")
	var wrong string
	switch {
	case !known:
		wrong = fmt.Sprintf("-store is %q, and must be etcd, consul, zookeeper, redis or postgres", o.store)
	case len(o.nodes) == 0:
		wrong = "-nodes names no node"
	case o.limit <= 0:
		wrong = "-limit must be above 0"
	case fs.NArg() > 0:
		wrong = fmt.Sprintf("%q is no flag", fs.Arg(0))
	default:
		return o, nil
	}
	fmt.Fprintln(stderr, wrong)
	fs.Usage()
	return o, fmt.Errorf("%w: %s", errUsage, wrong)
}

// hosts splits a list, and adds the port where there is none.
func hosts(list, port string) []string {
	var out []string
	for _, h := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(h, port)
		}
		out = append(out, h)
	}
	return out
}

func open(ctx context.Context, o options, log *slog.Logger) (gateway.Store, error) {
	switch o.store {
	case "etcd":
		return etcd.Open(ctx, o.nodes)
	case "consul":
		return consul.Open(ctx, o.nodes)
	case "zookeeper":
		return zookeeper.Open(ctx, o.nodes, log)
	case "redis":
		return redis.Open(redis.Config{Nodes: o.nodes, Sentinels: o.sentinels, Master: o.master, Limit: o.limit})
	}
	return postgres.Open(ctx, o.nodes, o.synchronous)
}

// run serves until ctx ends, then finishes what is open.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	store, err := open(ctx, o, log)
	if err != nil {
		return err
	}
	defer store.Close()
	server := &http.Server{
		Addr: o.listen, Handler: gateway.Handler(store, o.limit, log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10*time.Second + o.limit, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	log.Info("serving", "listen", o.listen, "store", o.store, "nodes", o.nodes)
	select {
	case err := <-ended:
		return fmt.Errorf("serve at %s: %w", o.listen, err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("finish open requests: %w", err)
	}
	return nil
}
