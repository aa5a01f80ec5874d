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
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/targets/shop"
	"github.com/tutti-bench/tutti/targets/shop/discovery"
	"github.com/tutti-bench/tutti/targets/web"
)

// errUsage is wrapped by errors about the command line.
var errUsage = errors.New("command line")

func misused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...)
}

// settings are the node's flags that need a second look.
type settings struct {
	service                                           string
	database, redis, sessions, cache, needs, register string
	slowReplica                                       int
	slowDelay                                         time.Duration
}

func runNode(ctx context.Context, args []string, stderr io.Writer) error {
	n := &shop.Node{Log: logger(stderr)}
	var s settings
	fs := flags("node", stderr)
	fs.StringVar(&n.Listen, "listen", ":8080", "`address` to listen on")
	fs.StringVar(&s.service, "service", "", "`name` of the service that the node is a replica of: it calls itself by the NAME-1, NAME-2 … that has its address; empty is by its host")
	fs.StringVar(&s.database, "database", "", "`URL` of PostgreSQL, postgres://USER:PASSWORD@HOST/NAME; required")
	fs.StringVar(&s.redis, "redis", "", "`HOST:PORT` of Redis; empty is none")
	fs.StringVar(&s.sessions, "sessions", "redis", "where sessions are: redis or memory")
	fs.StringVar(&s.cache, "cache", "optional", "products come by way of Redis: none, optional (else from the database) or required (else not at all)")
	fs.StringVar(&s.needs, "needs", "", "dependencies without which /readyz says no: database, redis, or both with a comma")
	fs.StringVar(&s.register, "register", os.Getenv("SHOP_REGISTER"), "`URL` of a discovery service to register in, etcd://HOST:PORT,…, consul://… or zookeeper://…; by default what SHOP_REGISTER says")
	fs.DurationVar(&n.Delay, "delay", 0, "pause before each answer")
	fs.IntVar(&s.slowReplica, "slow-replica", 0, "the `replica` (1, 2, …) that is slow; 0 is none")
	fs.DurationVar(&s.slowDelay, "slow-delay", 100*time.Millisecond, "what the slow replica adds to -delay")
	fs.DurationVar(&n.LameDuck, "lame-duck", 2*time.Second, "how long it serves on after SIGTERM while /readyz says no")
	fs.DurationVar(&n.Drain, "drain", 8*time.Second, "limit on all that comes after SIGTERM")
	if err := parse(fs, args); err != nil {
		return err
	}
	var err error
	if n.Name, err = nodeName(ctx, s.service); err != nil {
		return err
	}
	if err := s.apply(ctx, n); err != nil {
		return err
	}
	return n.Run(ctx)
}

// apply opens what the node depends on. The node closes it.
func (s settings) apply(ctx context.Context, n *shop.Node) error {
	for need := range strings.SplitSeq(s.needs, ",") {
		if !slices.Contains([]string{"", "database", "redis"}, need) {
			return misused("-needs %q: there are database and redis", need)
		}
		if need != "" {
			n.Needs = append(n.Needs, need)
		}
	}
	if n.Drain <= 0 {
		return misused("-drain must be above 0")
	}
	if s.slowReplica > 0 && strings.HasSuffix(n.Name, "-"+strconv.Itoa(s.slowReplica)) {
		n.Delay += s.slowDelay
	}
	switch s.cache {
	case "none", "optional", "required":
		n.Cache, n.CacheRequired = s.cache != "none", s.cache == "required"
	default:
		return misused("-cache %q: want none, optional or required", s.cache)
	}
	if s.sessions != "redis" && s.sessions != "memory" {
		return misused("-sessions %q: want redis or memory", s.sessions)
	}
	if s.redis == "" && (n.Cache || s.sessions == "redis" || slices.Contains(n.Needs, "redis")) {
		return misused("-redis is missing: -sessions, -cache or -needs wants it")
	}
	if s.database == "" {
		return misused("-database is missing")
	}
	var err error
	if n.Register, err = registrar(s.register, n); err != nil {
		return err
	}
	if n.Database, err = shop.OpenDatabase(ctx, s.database); err != nil {
		return misused("-database: %w", err)
	}
	n.Sessions = new(shop.MemorySessions)
	if s.redis != "" {
		n.Redis = shop.OpenRedis(s.redis)
		if s.sessions == "redis" {
			n.Sessions = n.Redis.Sessions()
		}
	}
	return nil
}

// registrar registers the node at its own address.
func registrar(url string, n *shop.Node) (shop.Registrar, error) {
	if url == "" {
		return nil, nil
	}
	service, err := discovery.Open(url)
	if err != nil {
		return nil, misused("-register: %w", err)
	}
	_, port, err := net.SplitHostPort(n.Listen)
	if err != nil {
		return nil, misused("-listen: %w", err)
	}
	host, err := ownAddress()
	if err != nil {
		return nil, err
	}
	node := discovery.Node{Name: n.Name, Address: net.JoinHostPort(host, port)}
	return func(ctx context.Context) { discovery.Keep(ctx, service, node, n.Log) }, nil
}

// ownAddress is the first IPv4 address by which others reach this host.
func ownAddress() (string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find the own address: %w", err)
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr().String(), nil
		}
	}
	return "", errors.New("find the own address: there is none but loopback")
}

func runBalancer(ctx context.Context, args []string, stderr io.Writer) error {
	b := &web.Balancer{Log: logger(stderr), Passes: 1, Resolve: 500 * time.Millisecond}
	var from, policy string
	fs := flags("balancer", stderr)
	fs.StringVar(&from, "from", "", "`URL` of the discovery service that knows the nodes, etcd://HOST:PORT,…, consul://… or zookeeper://…; required")
	fs.StringVar(&b.Listen, "listen", ":8080", "`address` to listen on")
	fs.StringVar(&policy, "policy", string(web.RoundRobin), "how to choose: "+string(web.RoundRobin)+" or "+string(web.LeastConn))
	fs.StringVar(&b.Check, "check", "/readyz", "`path` of the health check; empty is none")
	fs.DurationVar(&b.Interval, "interval", 500*time.Millisecond, "between health checks of a node")
	fs.DurationVar(&b.CheckTimeout, "check-timeout", 250*time.Millisecond, "limit on a health check")
	fs.IntVar(&b.Fails, "fails", 2, "failed checks in a row that take a node out")
	fs.IntVar(&b.Retries, "retries", 1, "further nodes to try for a request that failed")
	fs.DurationVar(&b.ConnectTimeout, "connect-timeout", 250*time.Millisecond, "limit on connecting to a node")
	fs.DurationVar(&b.ResponseTimeout, "response-timeout", time.Second, "limit on waiting for a node's response headers")
	fs.DurationVar(&b.Drain, "drain", 8*time.Second, "limit on finishing open requests after SIGTERM")
	if err := parse(fs, args); err != nil {
		return err
	}
	source, err := discovery.Open(from)
	if err != nil {
		return misused("-from: %w", err)
	}
	b.Source, b.Policy = source, web.Policy(policy)
	return b.Run(ctx)
}

// runCheck asks a URL of this host once: a healthcheck for an image that has no shell.
func runCheck(ctx context.Context, args []string, stderr io.Writer) error {
	return ask(ctx, "check", http.MethodGet, "http://127.0.0.1:8080/readyz", args, stderr)
}

// runBug asks the node of this host to make its mistake.
func runBug(ctx context.Context, args []string, stderr io.Writer) error {
	return ask(ctx, "bug", http.MethodPost, "http://127.0.0.1:8080/debug/bug", args, stderr)
}

func ask(ctx context.Context, name, method, url string, args []string, stderr io.Writer) error {
	var limit time.Duration
	fs := flags(name, stderr)
	fs.StringVar(&url, "url", url, "what to ask")
	fs.DurationVar(&limit, "timeout", time.Second, "limit on the answer")
	if err := parse(fs, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return misused("-url: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s answered %d", url, resp.StatusCode)
	}
	return nil
}

func flags(name string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("shop "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	return fs
}

func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return misused("%w", err)
	}
	if fs.NArg() > 0 {
		return misused("%q is no flag", fs.Arg(0))
	}
	return nil
}

func logger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// maxReplicas is how many names a node tries for itself.
const maxReplicas = 32

// nodeName is the replica's name: the one that the environment gives, or that has the node's own address. Without a service it is
// the host's.
func nodeName(ctx context.Context, service string) (string, error) {
	if n := os.Getenv(target.EnvNode); n != "" {
		return n, nil
	}
	if service == "" {
		return os.Hostname()
	}
	own, err := ownAddress()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i := 1; i <= maxReplicas && ctx.Err() == nil; i++ {
		name := service + "-" + strconv.Itoa(i)
		// A name that is unknown is one of a replica that is not there.
		if found, err := net.DefaultResolver.LookupHost(ctx, name); err == nil && slices.Contains(found, own) {
			return name, nil
		}
	}
	return "", fmt.Errorf("find the own name: none of %s-1 to %s-%d is %s", service, service, maxReplicas, own)
}
