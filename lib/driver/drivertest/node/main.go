// Command node is what the conformance suite of drivers runs as a target's
// nodes, and asks them with. It is built static, so that it can be an image's only file.
//
//	node serve [--deaf] [--sick]   answer on port 8080; --deaf ignores SIGTERM, --sick fails its check
//	node check                     exit 0 if the node beside it answers
//	node crash                     say why and exit with 3
//	node once                      exit with 0
//	node ask                       for every URL on standard input, print a line of JSON
//	node echo                      copy standard input to standard output
//	node where                     print a line of JSON on where it runs, then wait for the end of standard input
//	node burn DURATION             use a core for so long
//	node write PATH BYTES          write a file of so many bytes
//	node flood BYTES               write so many bytes to standard output and error each
//	node flap TIMES                end with 3 a moment after each of the first so many starts, then serve
//	node helper signal             be the helper that ends a container's first process
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/target/hosts"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(3)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("nothing to do: %q", args)
	}
	switch args[0] {
	case "serve":
		return serve(slices.Contains(args, "--deaf"), slices.Contains(args, "--sick"))
	case "check":
		a := ask(context.Background(), "http://localhost:8080/healthz")
		if a.Status != http.StatusOK {
			return fmt.Errorf("it is not well: %d %s", a.Status, a.Error)
		}
		return nil
	case "crash":
		return fmt.Errorf("the reactor is \x1b[31mout of coolant")
	case "once":
		return nil
	case "ask":
		in := bufio.NewScanner(os.Stdin)
		out := json.NewEncoder(os.Stdout)
		for in.Scan() {
			if err := out.Encode(ask(context.Background(), in.Text())); err != nil {
				return err
			}
		}
		return in.Err()
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "where":
		if err := json.NewEncoder(os.Stdout).Encode(look()); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "helper":
		return agent.Help(context.Background(), os.Stdin, os.Stdout, &killer{}, time.Minute)
	}
	return measured(args)
}

// measured are the modes that take a number.
func measured(args []string) error {
	switch {
	case args[0] == "burn" && len(args) == 2:
		d, err := time.ParseDuration(args[1])
		for end := time.Now().Add(d); err == nil && time.Now().Before(end); {
		}
		return err
	case args[0] == "flap" && len(args) == 2:
		times, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return flap(times)
	case args[0] == "write" && len(args) == 3:
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return os.WriteFile(args[1], make([]byte, n), 0o600)
	case args[0] == "flood" && len(args) == 2:
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		text := strings.Repeat("x", n)
		_, out := io.WriteString(os.Stdout, text)
		_, bad := io.WriteString(os.Stderr, text)
		return errors.Join(out, bad)
	}
	return fmt.Errorf("unknown: %q", args)
}

// flap counts its starts in a file that lasts as long as the node.
func flap(times int) error {
	const file = "/tmp/starts"
	starts, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(starts) >= times {
		return serve(false, false)
	}
	if err := os.WriteFile(file, append(starts, '.'), 0o600); err != nil {
		return err
	}
	<-time.After(300 * time.Millisecond) // it has to be seen alive
	return fmt.Errorf("start %d fails", len(starts)+1)
}

func serve(deaf, sick bool) error {
	ctx := context.Background()
	if deaf {
		signal.Ignore(syscall.SIGTERM)
	} else {
		var done context.CancelFunc
		ctx, done = signal.NotifyContext(ctx, syscall.SIGTERM)
		defer done()
	}
	address := os.Getenv(target.EnvListen)
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "8080")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Getenv(target.EnvNode))
	})
	mux.HandleFunc("/env/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, os.Getenv(r.PathValue("name")))
	})
	mux.HandleFunc("/where", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(look())
	})
	mux.HandleFunc("/file/{path...}", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile("/" + r.PathValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(b)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})
	fmt.Fprintln(os.Stdout, "listening on", address)
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// An answer is what came of one request.
type answer struct {
	Status int
	Body   string
	Error  string
}

// ask gets a URL over a connection of its own.
func ask(ctx context.Context, url string) answer {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil, DialContext: dial}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{Error: err.Error()}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Status: resp.StatusCode, Body: string(body)}
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	found, err := hosts.Lookup(ctx, host, port)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, found[0])
}
