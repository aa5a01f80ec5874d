package web

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// A Program is one of this package's programs. It ends when ctx does or when it
// gets SIGTERM, and returns its exit code: 0 for an orderly end, 1 for any other, 20 for
// a command line that it does not take.
type Program func(ctx context.Context, args []string, stdout, stderr io.Writer) int

// Programs are the programs, by the names of their subcommands.
func Programs() map[string]Program {
	all := make(map[string]Program)
	for name, run := range map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"node": runNode, "balancer": runBalancer, "check": runCheck,
	} {
		all[name] = func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
			err := run(ctx, args, stdout, stderr)
			switch {
			case err == nil, errors.Is(err, flag.ErrHelp):
				return 0
			case errors.Is(err, errUsage):
				return 20
			}
			fmt.Fprintf(stderr, "tutti target %s: %v\n", name, err)
			return 1
		}
	}
	return all
}

// errUsage is wrapped by errors about the command line. What was wrong, and the
// usage, is on stderr by then.
var errUsage = errors.New("command line")

// runNode runs a [Node] by its command line. Its last line on stdout is its [Truth].
func runNode(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	n := &Node{Name: nodeName(), Log: slog.New(slog.NewTextHandler(stderr, nil))}
	fs := flags("node", "", stderr)
	fs.StringVar(&n.Listen, "listen", ":8080", "`address` to listen on; the host part is "+target.EnvListen+" where that is set")
	fs.DurationVar(&n.Delay, "delay", 5*time.Millisecond, "pause before each answer")
	fs.DurationVar(&n.Jitter, "jitter", 0, "longest addition to -delay, by the request's number")
	fs.IntVar(&n.Work, "work", 0, "`rounds` of SHA-256 for each answer")
	fs.StringVar(&n.Journal, "journal", "", "`file` to which every answer is appended before it is given; empty is none")
	var sessions string
	fs.StringVar(&sessions, "sessions", sessionsWithClient, "where sessions are kept: "+sessionsWithClient+", "+sessionsInMemory+" or a `folder`, which nodes may share")
	fs.DurationVar(&n.Sessions.Late, "acks-early", 0, "how long after the answer a session is stored in the folder of -sessions")
	fs.StringVar(&n.Dependency.URL, "dependency", "", "`URL` that is asked before each answer; empty is none")
	fs.IntVar(&n.Dependency.Limit, "dependency-limit", 8, "requests that ask the dependency at once, one more gets a 503; 0 is no limit")
	fs.DurationVar(&n.Dependency.Timeout, "dependency-timeout", 300*time.Millisecond, "limit on asking the dependency")
	fs.IntVar(&n.AtOnce, "at-once", 0, "`requests` that are worked on at once, even if their clients have gone; 0 is all")
	fs.DurationVar(&n.StartDelay, "start-delay", 0, "how long /healthz says no after the start")
	fs.DurationVar(&n.LameDuck, "lame-duck", 2*time.Second, "how long it serves on after SIGTERM while /healthz says no")
	fs.DurationVar(&n.Drain, "drain", 8*time.Second, "limit on all that comes after SIGTERM")
	fs.IntVar(&n.SlowReplica, "slow-replica", 0, "the `replica` (1, 2, …) that is slow; 0 is none")
	fs.IntVar(&n.SlowShare, "slow-share", 0, "`percent` of its requests that are slow, of every node's without -slow-replica; 0 is all")
	fs.DurationVar(&n.SlowDelay, "slow-delay", 50*time.Millisecond, "what the slow replica adds to -delay")
	fs.IntVar(&n.Leak, "leak", 0, "`bytes` that each request leaves in memory")
	fs.BoolVar(&n.HideDrain, "hide-drain", false, "/healthz goes on saying yes after SIGTERM")
	fs.Uint64Var(&n.FailEvery, "fail-every", 0, "every `n`-th request gets a 500; 0 is none")
	fs.Uint64Var(&n.ResetEvery, "reset-every", 0, "every `n`-th request on a reused connection is reset; 0 is none")
	fs.DurationVar(&n.FreezeAt, "freeze-at", 5*time.Second, "when it freezes, counted from its first request")
	fs.DurationVar(&n.FreezeFor, "freeze-for", 0, "how long it freezes, once; 0 is not at all")
	fs.StringVar(&n.Store, "store", "", "`file` in which /kv/KEY keeps what is PUT there; \"memory\" is none, empty is no such path")
	fs.DurationVar(&n.StoreLate, "store-late", 0, "how long before it is kept a write is acknowledged")
	fs.DurationVar(&n.StoreStale, "store-stale", 0, "how old what is read is")
	fs.Uint64Var(&n.StoreForget, "store-forget", 0, "every `n`-th write is acknowledged and never kept; 0 is none")
	fs.Uint64Var(&n.StoreTwice, "store-twice", 0, "every `n`-th write is kept twice over; 0 is none")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	n.Sessions.set(sessions)
	if n.Sessions.Late != 0 && n.Sessions.Dir == "" {
		return misused(fs, errors.New("-acks-early wants a folder in -sessions"))
	}
	if n.Sessions.Late < 0 || n.AtOnce < 0 || n.Leak < 0 || n.Dependency.Limit < 0 || n.Dependency.Timeout <= 0 {
		return misused(fs, errors.New("-acks-early, -at-once, -leak and -dependency-limit must be at least 0, -dependency-timeout above 0"))
	}
	if n.SlowShare < 0 || n.SlowShare > 100 {
		return misused(fs, errors.New("-slow-share must be 0 to 100"))
	}
	if n.Drain <= 0 {
		return misused(fs, errors.New("-drain must be above 0"))
	}
	n.Listen = listen(n.Listen)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	return errors.Join(n.Run(ctx), json.NewEncoder(stdout).Encode(n.Truth()))
}

// runBalancer runs a [Balancer] by its command line.
func runBalancer(ctx context.Context, args []string, _, stderr io.Writer) error {
	b := &Balancer{Log: slog.New(slog.NewTextHandler(stderr, nil))}
	var to, policy string
	fs := flags("balancer", "-to http://name:port", stderr)
	fs.StringVar(&to, "to", "", "`URL` of the nodes, http://name:port; all addresses of the name are used")
	fs.StringVar(&b.Listen, "listen", ":8080", "`address` to listen on; the host part is "+target.EnvListen+" where that is set")
	fs.StringVar(&policy, "policy", string(RoundRobin), "how to choose: "+string(RoundRobin)+" or "+string(LeastConn))
	fs.StringVar(&b.Check, "check", "/healthz", "`path` of the health check; empty is none")
	fs.StringVar(&b.CheckMode, "check-mode", CheckHTTP, "what a health check wants: "+CheckHTTP+", a good answer, or "+CheckConnect+", a connection alone")
	fs.DurationVar(&b.Interval, "interval", 500*time.Millisecond, "between health checks of a node")
	fs.DurationVar(&b.CheckTimeout, "check-timeout", 250*time.Millisecond, "limit on a health check")
	fs.IntVar(&b.Fails, "fails", 2, "failed checks in a row that take a node out")
	fs.IntVar(&b.Passes, "passes", 1, "passed checks in a row that bring it back")
	fs.IntVar(&b.PassiveFails, "passive-fails", 0, "requests in a row that cannot connect, which take a node out too; 0 is none")
	fs.IntVar(&b.Retries, "retries", 0, "further nodes to try for a request that failed")
	fs.DurationVar(&b.ConnectTimeout, "connect-timeout", 500*time.Millisecond, "limit on connecting to a node; 0 is none")
	fs.DurationVar(&b.ResponseTimeout, "response-timeout", 5*time.Second, "limit on waiting for a node's response headers; 0 is none")
	fs.DurationVar(&b.Resolve, "resolve", time.Second, "how often the name is looked up")
	fs.BoolVar(&b.CacheDNS, "cache-dns", false, "the name is not looked up again once it was found")
	fs.DurationVar(&b.Forget, "forget", 30*time.Second, "how long a node that the name lost must be out before it is dropped")
	fs.DurationVar(&b.Drain, "drain", 8*time.Second, "limit on finishing open requests after SIGTERM")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	u, err := url.Parse(to)
	if err != nil {
		return misused(fs, fmt.Errorf("-to: %w", err))
	}
	b.To, b.Policy, b.Listen = u, Policy(policy), listen(b.Listen)
	if err := b.valid(); err != nil {
		return misused(fs, err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	return b.Run(ctx)
}

// runCheck asks a URL once and returns nil if it answers with a status from 200
// to 399: a healthcheck for images that have no shell.
func runCheck(ctx context.Context, args []string, _, stderr io.Writer) error {
	var timeout time.Duration
	fs := flags("check", "URL", stderr)
	fs.DurationVar(&timeout, "timeout", time.Second, "limit on the answer")
	if err := parse(fs, args, 1); err != nil {
		return err
	}
	u, err := url.Parse(fs.Arg(0))
	if err != nil {
		return misused(fs, err)
	}
	if addr := os.Getenv(target.EnvListen); addr != "" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost") {
		u.Host = withHost(addr, u.Port())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return misused(fs, err)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s answered %d", u, resp.StatusCode)
	}
	return nil
}

func flags(name, operands string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: tutti target %s [flags] %s\n", name, operands)
		fs.PrintDefaults()
	}
	return fs
}

// parse accepts flags on both sides of the operands.
func parse(fs *flag.FlagSet, args []string, operands int) error {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if fs.NArg() == 0 {
			break
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
	if len(rest) != operands {
		return misused(fs, fmt.Errorf("want %d operands, got %q", operands, rest))
	}
	return fs.Parse(append([]string{"--"}, rest...))
}

func misused(fs *flag.FlagSet, err error) error {
	fmt.Fprintln(fs.Output(), err)
	fs.Usage()
	return fmt.Errorf("%w: %w", errUsage, err)
}

// nodeName is the replica's name, or the host's where nobody gave it one.
func nodeName() string {
	if n := os.Getenv(target.EnvNode); n != "" {
		return n
	}
	n, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return n
}

// listen puts the host that the environment asks for into an address to listen on.
func listen(address string) string {
	host := os.Getenv(target.EnvListen)
	_, port, err := net.SplitHostPort(address)
	if host == "" || err != nil {
		return address
	}
	return withHost(host, port)
}

// withHost joins host and port, unless the host has a port of its own.
func withHost(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(host, port)
}
