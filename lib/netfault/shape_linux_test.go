package netfault_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// stream sends from one space to the other for a while and returns what arrived and how long it took.
func stream(t *testing.T, from, to *space, host string, length time.Duration) (int64, time.Duration) {
	t.Helper()
	l := to.listen(9000)
	defer l.Close()
	c, err := from.dial(t.Context(), host+":9000")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.SetWriteDeadline(time.Now().Add(length))
		b := make([]byte, 32<<10)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	began := time.Now()
	_ = s.SetReadDeadline(began.Add(length))
	n, _ := io.Copy(io.Discard, s)
	took := time.Since(began)
	<-done
	_ = c.Close()
	return n, took
}

func limit(rate int64, d rule.Direction) rule.Rule {
	return rule.Rule{Act: rule.Limit, Way: rule.WayTBF, Rate: rate, Direction: d}
}

// The rate is not exceeded in the direction that is limited, and the report says how much came through. What was there
// before is there again.
func TestLimit(t *testing.T) {
	const rate = 10_000_000
	for _, d := range []rule.Direction{rule.Out, rule.In, rule.Both} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			node, client := pair(t)
			before := node.run("tc", "qdisc", "show") + node.run("ip", "-br", "link")
			c := carry(t, node, netfault.NewShape)
			p := parts{"f": {limit(rate, d)}}
			node.do(func() error { return c.c.(netfault.Preparer).Prepare(t.Context(), p["f"]) })
			if after := node.run("tc", "qdisc", "show") + node.run("ip", "-br", "link"); after != before {
				t.Fatalf("prepared, not the same as before:\n%s\n%s", before, after)
			}
			c.set(p)
			for _, one := range []struct {
				direction rule.Direction
				from, to  *space
				host      string
			}{{rule.Out, node, client, "10.77.1.2"}, {rule.In, client, node, "10.77.1.1"}} {
				n, took := stream(t, one.from, one.to, one.host, 700*time.Millisecond)
				limited := d == one.direction || d == rule.Both
				if got := float64(n) * 8 / took.Seconds(); limited != (got <= rate*1.05) {
					t.Errorf("%s: %.3g bit/s where %s is limited to %g", one.direction, got, d, float64(rate))
				}
			}
			if got := c.read()["f"][0]; got.Packets == 0 || got.Bytes < rate/8/10 || got.Hit == 0 || got.Hit > got.Packets {
				t.Errorf("report: %+v", got)
			}
			c.set(parts{})
			if r := c.read()["f"]; len(r) != 1 || r[0].Bytes == 0 {
				t.Errorf("what has ended says %+v", r)
			}
			if during := node.run("tc", "qdisc", "show"); strings.Contains(during, "tbf") || strings.Contains(during, "ingress") {
				t.Errorf("ended, still there:\n%s", during)
			}
			c.set(p) // counts from 0
			if r := c.read()["f"]; r[0].Bytes > 10_000 {
				t.Errorf("begun again, it has counted %+v", r)
			}
			node.do(c.c.Close)
			if after := node.run("tc", "qdisc", "show") + node.run("ip", "-br", "link"); after != before {
				t.Errorf("not the same as before:\n%s\n%s", before, after)
			}
		})
	}
}

// The lowest of several rates is in force, and one that ends leaves the others.
func TestLowest(t *testing.T) {
	t.Parallel()
	node, _ := pair(t)
	c := carry(t, node, netfault.NewShape)
	a, b := rule.Part{limit(8_000_000, rule.Out)}, rule.Part{limit(2_000_000, rule.Both)}
	expect := func(want ...string) {
		t.Helper()
		have := node.run("tc", "qdisc", "show", "dev", "eth0")
		for _, w := range want {
			if !strings.Contains(have, w) {
				t.Errorf("want %q in %s", w, have)
			}
		}
	}
	c.set(parts{"a": a})
	expect("tbf 7455: root", "rate 8Mbit")
	c.set(parts{"a": a, "b": b})
	expect("rate 2Mbit", "ingress")
	c.set(parts{"a": a})
	expect("rate 8Mbit")
	if have := node.run("tc", "qdisc", "show", "dev", "eth0"); strings.Contains(have, "ingress") {
		t.Errorf("left: %s", have)
	}
}

// What a helper that was killed has left is removed by the next one, though it is asked for nothing.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	node, client := pair(t)
	before := node.run("tc", "qdisc", "show")
	killed := carry(t, node, netfault.NewShape)
	killed.set(parts{"f": {limit(1_000_000, rule.Both)}})
	if during := node.run("tc", "qdisc", "show"); strings.Count(during, "7455:") != 2 {
		t.Fatalf("no buckets: %s", during)
	}
	w := netfault.New(netfault.Makers{rule.WayTBF: netfault.NewShape})
	node.do(func() error {
		_, err := w.Set(t.Context(), nil)
		return err
	})
	if after := node.run("tc", "qdisc", "show"); after != before {
		t.Errorf("left:\n%s", after)
	}
	if n, took := stream(t, node, client, "10.77.1.2", 200*time.Millisecond); float64(n)*8/took.Seconds() < 2_000_000 {
		t.Errorf("%d bytes in %v: still limited", n, took)
	}
}

// What somebody else has put on a device is left alone.
func TestForeign(t *testing.T) {
	t.Parallel()
	node, _ := pair(t)
	node.run("tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "pfifo", "limit", "77")
	before := node.run("tc", "qdisc", "show")
	c := carry(t, node, netfault.NewShape)
	p := parts{"f": {limit(1_000_000, rule.Both)}}
	for range 2 {
		if err := node.try(func() error { return c.c.Set(t.Context(), p) }); err == nil || !strings.Contains(err.Error(), "pfifo") {
			t.Errorf("want a refusal that names it, got %v", err)
		}
	}
	if after := node.run("tc", "qdisc", "show"); after != before {
		t.Errorf("changed:\n%s", after)
	}
}
