package netfault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// nodeCarrier is a carrier whose every call is made inside a namespace.
type nodeCarrier struct {
	*space
	c netfault.Carrier
}

func carry(t *testing.T, s *space, maker func() (netfault.Carrier, error)) nodeCarrier {
	t.Helper()
	n := nodeCarrier{space: s}
	s.do(func() (err error) {
		n.c, err = maker()
		return err
	})
	t.Cleanup(func() { _ = s.try(n.c.Close) })
	return n
}

func (n nodeCarrier) set(p parts) {
	n.t.Helper()
	if err := n.try(func() error { return n.c.Set(context.Background(), p) }); err != nil {
		if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, os.ErrNotExist) {
			n.t.Skipf("this kernel cannot: %v", err)
		}
		n.t.Fatal(err)
	}
}

func (n nodeCarrier) read() (r map[string]rule.Report) {
	n.t.Helper()
	n.do(func() (err error) {
		r, err = n.c.Read(context.Background())
		return err
	})
	return r
}

// How a request can end, in the words of a death signature.
const (
	fine    = "fine"
	timeout = "timeout"
	refused = "refused"
	reset   = "reset"
	eof     = "EOF"
)

func signature(err error) string {
	var n net.Error
	switch {
	case err == nil:
		return fine
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ECONNRESET):
		return reset
	case errors.Is(err, io.EOF):
		return eof
	case errors.As(err, &n) && n.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return timeout
	}
	return err.Error()
}

// slow is for how long the node thinks about /slow: long enough for a fault to begin meanwhile.
const slow = 500 * time.Millisecond

// serve answers HTTP inside a namespace until the test ends.
func (s *space) serve(port int) {
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(slow)
		_, _ = io.WriteString(w, "ok")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	server, l := &http.Server{Handler: mux}, s.listen(port)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	s.t.Cleanup(func() { _ = server.Close(); <-done })
}

// browser returns a client that keeps its connections.
func (s *space) browser() *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return s.dial(ctx, to) }}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 1200 * time.Millisecond}
}

func get(c *http.Client, url string) string {
	r, err := c.Get(url)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return signature(err)
}

// echo sends n datagrams, and the sender is not told what becomes of them.
func (s *space) echo(to string, n int) {
	s.t.Helper()
	var c net.Conn
	s.do(func() (err error) {
		c, err = net.Dial("udp", to)
		return err
	})
	defer c.Close()
	for range n {
		if _, err := c.Write([]byte("hello")); err != nil {
			s.t.Fatalf("the sender is told: %v", err)
		}
		time.Sleep(50 * time.Microsecond) // so that the other's buffer holds them
	}
	time.Sleep(100 * time.Millisecond)
}

// echoes sends back what comes to a port until the test ends.
func (s *space) echoes(port int) {
	s.t.Helper()
	var c net.PacketConn
	s.do(func() (err error) {
		c, err = net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	s.t.Cleanup(func() { _ = c.Close(); <-done })
}

// What a client sees of each kind of death, by a request in flight, on a kept connection, and on a new one.
func TestDeath(t *testing.T) {
	for _, test := range []struct {
		name   string
		rule   rule.Rule
		flying string
		kept   []string
		fresh  string
	}{
		{"drop", rule.Rule{Act: rule.Drop}, fine, []string{timeout}, timeout},
		{"refuse", rule.Rule{Act: rule.Refuse}, fine, []string{reset, refused}, refused},
		{"reset", rule.Rule{Act: rule.Reset}, reset, []string{reset, eof, refused}, refused},
		{"drop out", rule.Rule{Act: rule.Drop, Direction: rule.Out}, timeout, []string{timeout}, timeout},
		{"lose all", rule.Rule{Act: rule.Lose, Share: 1}, fine, []string{timeout}, timeout},
	} {
		for family, host := range map[string]string{"IPv4": "10.77.1.1", "IPv6": "[fd77:1::1]"} {
			if family == "IPv6" && test.rule.Act == rule.Lose {
				continue // dropped as Drop does
			}
			t.Run(test.name+" "+family, func(t *testing.T) {
				t.Parallel()
				node, client := pair(t)
				node.serve(8080)
				c := carry(t, node, netfault.NewNFT)
				url := "http://" + host + ":8080/"
				keeper, flyer := client.browser(), client.browser()
				if got := get(keeper, url); got != fine {
					t.Fatalf("before: %s", got)
				}
				flying := make(chan string)
				go func() { flying <- get(flyer, url+"slow") }()
				time.Sleep(slow / 3)
				test.rule.Way = rule.WayNFT
				c.set(parts{"f": {test.rule}})
				fresh, newcomer := make(chan string), client.browser()
				go func() { fresh <- get(newcomer, url) }()
				if got := get(keeper, url); !contains(test.kept, got) {
					t.Errorf("kept connection: want one of %v, got %s", test.kept, got)
				}
				if got := <-fresh; got != test.fresh {
					t.Errorf("new connection: want %s, got %s", test.fresh, got)
				}
				if got := <-flying; got != test.flying {
					t.Errorf("in flight: want %s, got %s", test.flying, got)
				}
				own := node.browser()
				if got := get(own, "http://127.0.0.1:8080/"); got != fine {
					t.Errorf("the node to itself: %s", got)
				}
				d := c.read()["f"][0]
				if d.Hit == 0 || d.Packets != d.Hit || d.Bytes == 0 {
					t.Errorf("nothing is counted: %+v", d)
				}
				if resets := test.rule.Act == rule.Reset || test.rule.Act == rule.Refuse; (d.Resets > 0) != resets {
					t.Errorf("resets: %+v", d)
				}
				c.set(parts{})
				if got := get(client.browser(), url); got != fine {
					t.Errorf("after: %s", got)
				}
			})
		}
	}
}

func contains(all []string, one string) bool {
	for _, a := range all {
		if a == one {
			return true
		}
	}
	return false
}

// Two faults on one node begin and end one by one, and each counts what is its own.
func TestCompose(t *testing.T) {
	t.Parallel()
	node, client := pair(t)
	node.serve(8080)
	node.serve(8081)
	c := carry(t, node, netfault.NewNFT)
	url := func(port int) string { return fmt.Sprintf("http://10.77.1.1:%d/", port) }
	expect := func(when string, a, b string) {
		t.Helper()
		if got := get(client.browser(), url(8080)); got != a {
			t.Errorf("%s: first port: want %s, got %s", when, a, got)
		}
		if got := get(client.browser(), url(8081)); got != b {
			t.Errorf("%s: second port: want %s, got %s", when, b, got)
		}
	}
	one := rule.Part{{Act: rule.Refuse, Way: rule.WayNFT, Ports: []uint16{8080}, Peers: addresses("10.77.1.2", "fd77:1::2")}}
	two := rule.Part{{Act: rule.Refuse, Way: rule.WayNFT, Ports: []uint16{8081, 8082}}}
	expect("before", fine, fine)
	c.set(parts{"one": one})
	expect("one", refused, fine)
	c.set(parts{"one": one, "two": two})
	expect("both", refused, refused)
	if r := c.read(); r["one"][0].Hit != 2 || r["two"][0].Hit != 1 {
		t.Errorf("want 2 and 1 connections refused, got %+v", r)
	}
	c.set(parts{"two": two})
	expect("two", fine, refused)
	r := c.read()
	if len(r["one"]) != 1 || r["one"][0].Hit != 2 || r["two"][0].Hit != 2 {
		t.Errorf("want 2 of one, which is over, and 2 of two, got %+v", r)
	}
	if _, again := c.read()["one"]; again {
		t.Error("what is over is told twice")
	}
	c.set(parts{})
	expect("after", fine, fine)
	// The chains at the hooks stay, empty: see Carrier.
	if rules := node.run("nft", "list", "ruleset"); strings.Contains(rules, "counter") || strings.Contains(rules, "jump") {
		t.Errorf("left in the table: %s", rules)
	}
}

// Peers that a rule does not name are not touched, and no other table is.
func TestPeers(t *testing.T) {
	t.Parallel()
	node, client := pair(t)
	other := newSpace(t)
	node.link("eth1", other, "eth0", 2)
	node.serve(8080)
	theirs := "add table inet theirs; add chain inet theirs c { type filter hook input priority 0; }; add rule inet theirs c counter"
	node.run("nft", theirs)
	c := carry(t, node, netfault.NewNFT)
	c.set(parts{"f": {{Act: rule.Refuse, Way: rule.WayNFT, Peers: addresses("10.77.2.2")}}})
	if got := get(client.browser(), "http://10.77.1.1:8080/"); got != fine {
		t.Errorf("who is not named: %s", got)
	}
	if got := get(other.browser(), "http://10.77.2.1:8080/"); got != refused {
		t.Errorf("who is named: %s", got)
	}
	node.do(c.c.Close)
	if left := node.run("nft", "list", "tables"); strings.TrimSpace(left) != "table inet theirs" {
		t.Errorf("want the other's table alone, got %q", left)
	}
}

// A share is lost, in both directions, and the sender is not told.
func TestLose(t *testing.T) {
	t.Parallel()
	for _, direction := range []rule.Direction{rule.In, rule.Out} {
		t.Run(string(direction), func(t *testing.T) {
			t.Parallel()
			node, client := pair(t)
			node.echoes(7)
			c := carry(t, node, netfault.NewNFT)
			c.set(parts{"f": {{Act: rule.Lose, Way: rule.WayNFT, Share: 0.5, Direction: direction}}})
			const n = 600
			client.echo("10.77.1.1:7", n)
			d := c.read()["f"][0]
			if d.Packets < n {
				t.Errorf("%d were sent, but %+v", n, d)
			}
			// Of such draws 99.99 % are within 4 standard deviations, which are √(n/4).
			if off := math.Abs(float64(d.Hit) - float64(d.Packets)/2); off > 4*math.Sqrt(float64(d.Packets)/4) {
				t.Errorf("lost: %+v", d)
			}
		})
	}
}

// What cannot be done is refused and changes nothing.
func TestRefused(t *testing.T) {
	t.Parallel()
	node, client := pair(t)
	node.serve(8080)
	c := carry(t, node, netfault.NewNFT)
	good := rule.Part{{Act: rule.Refuse, Way: rule.WayNFT}}
	c.set(parts{"good": good})
	for _, bad := range []rule.Rule{
		{Act: rule.Delay, Way: rule.WayNFT},
		{Act: rule.Refuse, Way: rule.WayNFT, Direction: rule.Out},
	} {
		if err := node.try(func() error { return c.c.Set(t.Context(), parts{"bad": {bad}}) }); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
		if err := node.try(func() error { return c.c.(netfault.Preparer).Prepare(t.Context(), rule.Part{bad}) }); err == nil {
			t.Errorf("%+v was prepared", bad)
		}
	}
	if got := get(client.browser(), "http://10.77.1.1:8080/"); got != refused {
		t.Errorf("what was in force: %s", got)
	}
	if r := c.read(); r["good"][0].Hit != 1 {
		t.Errorf("want one connection refused, got %+v", r)
	}
}

// Prepared, nothing is in force.
func TestPrepare(t *testing.T) {
	t.Parallel()
	node, client := pair(t)
	node.serve(8080)
	c := carry(t, node, netfault.NewNFT)
	for _, r := range []rule.Rule{
		{Act: rule.Drop, Peers: addresses("10.77.1.2", "fd77:1::2"), Ports: []uint16{8080, 8080}},
		{Act: rule.Drop, Direction: rule.Both},
		{Act: rule.Refuse},
		{Act: rule.Lose, Share: 0.5},
	} {
		node.do(func() error { return c.c.(netfault.Preparer).Prepare(t.Context(), rule.Part{r}) })
	}
	if got := get(client.browser(), "http://10.77.1.1:8080/"); got != fine {
		t.Errorf("prepared alone: %s", got)
	}
	// The chains at the hooks stay, empty: see Carrier.
	if rules := node.run("nft", "list", "ruleset"); strings.Contains(rules, "counter") || strings.Contains(rules, "jump") {
		t.Errorf("left in the table: %s", rules)
	}
}

// asHelper is set in the environment of the process that TestKilled kills.
const asHelper = "TUTTI_TEST_HELPER"

// The kernel ends what a helper kept up when it is killed.
func TestKilled(t *testing.T) {
	if os.Getenv(asHelper) != "" {
		c, err := netfault.NewNFT()
		if err == nil {
			err = c.Set(t.Context(), parts{"f": {{Act: rule.Refuse, Way: rule.WayNFT}, {Act: rule.Drop, Way: rule.WayNFT, Direction: rule.Out}}})
		}
		if err != nil {
			t.Skip(err)
		}
		_, _ = os.Stdout.WriteString("!")
		select {}
	}
	node, client := pair(t)
	node.serve(8080)
	helper := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	helper.Env = append(os.Environ(), asHelper+"=1")
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	node.start(helper)
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if got := get(client.browser(), "http://10.77.1.1:8080/"); got == fine {
		t.Error("it kept nothing up")
	}
	_ = helper.Process.Kill()
	_ = helper.Wait()
	for range 50 {
		if get(client.browser(), "http://10.77.1.1:8080/") == fine {
			if left := node.run("nft", "list", "tables"); strings.TrimSpace(left) != "" {
				t.Errorf("left: %s", left)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("what it kept up outlived it")
}
