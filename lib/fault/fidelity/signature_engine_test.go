package fidelity_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// patience is how long a client waits before it calls a silence a timeout.
const patience = 2 * time.Second

// A wire is a connection that has carried a request.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func open(t *testing.T, n target.Node) *wire {
	t.Helper()
	c, err := net.DialTimeout("tcp", n.Address+":8080", patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{c, bufio.NewReader(c)}
}

// ask sends a request and reads its whole answer.
func (w *wire) ask(path string, timeout time.Duration) error {
	if err := w.send(path, timeout); err != nil {
		return err
	}
	return w.read()
}

func (w *wire) send(path string, timeout time.Duration) error {
	_ = w.SetDeadline(time.Now().Add(timeout))
	_, err := fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: meter\r\n\r\n", path)
	return err
}

func (w *wire) read() error {
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// The ways in which a node dies are told apart by their clients: research of this project and of others found that they change
// measured availability by orders of magnitude. In flight is a response of 2 s that had begun 0.7 s before.
func TestSignatures(t *testing.T) {
	b := newBench(t, 3)
	silent := []string{"timeout", "no route"} // a bridge may find out that nobody answers its ARP
	for i, c := range []struct {
		verb                    string
		params                  fault.Params
		inFlight, reused, fresh []string
	}{
		{"pause", nil, []string{"timeout"}, []string{"timeout"}, []string{"connected, then timeout"}},
		{"partition", fault.Params{}, []string{"answer"}, []string{"timeout"}, []string{"timeout"}},
		{"blackhole", fault.Params{"port": 8080}, []string{"answer"}, []string{"timeout"}, []string{"timeout"}},
		{"refuse", fault.Params{}, []string{"answer", "reset"}, []string{"reset"}, []string{"refused"}},
		{"reset", fault.Params{}, []string{"reset", "EOF", "answer"}, []string{"reset"}, []string{"refused"}},
		{"crash", nil, []string{"EOF", "reset"}, []string{"EOF", "reset"}, append(silent, "refused")}, // for as long as its namespace lives on
		{"kill", nil, []string{"EOF", "reset"}, []string{"EOF", "reset"}, silent},
	} {
		t.Run(c.verb, func(t *testing.T) {
			n := b.cluster.Nodes()[i%3]
			long, idle := open(t, n), open(t, n)
			if err := idle.ask("/", patience); err != nil {
				t.Fatal(err)
			}
			if err := long.send("/slow?for=2s", 2*time.Second+patience); err != nil {
				t.Fatal(err)
			}
			time.Sleep(700 * time.Millisecond)
			in, err := b.inject(c.verb, c.params, n)
			if lacking := new(fault.LackError); errors.As(err, &lacking) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() { answered <- long.read() }()
			reused := outcome(idle.ask("/", patience))
			fresh := dial(n)
			inFlight := outcome(<-answered)
			t.Logf("%-10s in flight: %-8s reused: %-8s new: %s", c.verb, inFlight, reused, fresh)
			for what, x := range map[string]struct {
				got  string
				want []string
			}{"in flight": {inFlight, c.inFlight}, "a reused connection": {reused, c.reused}, "a new connection": {fresh, c.fresh}} {
				if !slices.Contains(x.want, x.got) {
					t.Errorf("%s: %s, want %v", what, x.got, x.want)
				}
			}
			for _, e := range in.end() {
				t.Logf("%s: %s %s", e.Node.Name, e.Asked, e.Delivered)
			}
			b.answers(n)
		})
	}
}

// dial connects anew and asks.
func dial(n target.Node) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", n.Address+":8080")
	if err != nil {
		return outcome(err)
	}
	defer c.Close()
	w := &wire{c, bufio.NewReader(c)}
	if err := w.ask("/", patience); err != nil {
		return "connected, then " + outcome(err)
	}
	return "answer"
}
