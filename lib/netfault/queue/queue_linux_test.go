package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/queue"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// asHelper is set in the environment of the process that TestKilled kills.
const asHelper = "TUTTI_TEST_HELPER"

// A pair is two network namespaces with a wire between them. The test's thread is in the node's.
type pair struct {
	node, peer *net.UDPConn // the peer's is connected to the node's
	peer6      *net.UDPConn
	node6      *net.UDPConn
	addr       netip.Addr // the peer's
	addr6      netip.Addr
}

// wire makes a pair. Both namespaces go with the test: nothing but its sockets and its thread holds them.
func wire(tb testing.TB) *pair {
	tb.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Skipf("no network namespace of our own: %v", err)
	}
	far, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(far)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Fatal(err)
	}
	near, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(near) })
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(far)}
	must(tb, netlink.LinkAdd(link))
	up(tb, "10.77.0.2/24", "fd77::2/64")
	// The strictest filter by source there is: copies of in-coming packets must pass it.
	must(tb, os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("1"), 0))
	p := &pair{addr: netip.MustParseAddr("10.77.0.1"), addr6: netip.MustParseAddr("fd77::1")}
	p.node = listen(tb, "10.77.0.2:7000")
	p.node6 = listen(tb, "[fd77::2]:7000")
	must(tb, unix.Setns(far, unix.CLONE_NEWNET))
	up(tb, "10.77.0.1/24", "fd77::1/64")
	p.peer = dial(tb, "10.77.0.1:7001", "10.77.0.2:7000")
	p.peer6 = dial(tb, "[fd77::1]:7001", "[fd77::2]:7000")
	must(tb, unix.Setns(near, unix.CLONE_NEWNET))
	return p
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func up(tb testing.TB, addrs ...string) {
	tb.Helper()
	for _, name := range []string{"lo", "eth0"} {
		link, err := netlink.LinkByName(name)
		must(tb, err)
		if name == "eth0" {
			for _, a := range addrs {
				addr, err := netlink.ParseAddr(a)
				must(tb, err)
				addr.Flags = unix.IFA_F_NODAD
				must(tb, netlink.AddrAdd(link, addr))
			}
		}
		must(tb, netlink.LinkSetUp(link))
	}
}

func listen(tb testing.TB, at string) *net.UDPConn {
	tb.Helper()
	a := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))
	c, err := net.ListenUDP("udp", a)
	must(tb, err)
	must(tb, force(c))
	tb.Cleanup(func() { c.Close() })
	return c
}

func dial(tb testing.TB, from, to string) *net.UDPConn {
	tb.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	must(tb, err)
	tb.Cleanup(func() { c.Close() })
	return c
}

func open(tb testing.TB) *queue.Queue {
	tb.Helper()
	q, err := queue.New()
	if err != nil {
		tb.Skip(err)
	}
	tb.Cleanup(func() { must(tb, q.Close()) })
	return q
}

func set(tb testing.TB, q *queue.Queue, parts map[string]rule.Part) {
	tb.Helper()
	must(tb, q.Set(tb.Context(), parts))
}

// A got is a packet that has arrived: its number and how long it took.
type got struct {
	n    uint64
	took time.Duration
}

var clock = time.Now()

// pour sends packets at a rate and returns what arrives, until nothing has for wait.
func pour(tb testing.TB, from, to *net.UDPConn, count int, rate float64, wait time.Duration) []got {
	tb.Helper()
	sent := make(chan error, 1)
	go func() {
		b := make([]byte, 64)
		begin := time.Now()
		var failed error
		for i := range count {
			time.Sleep(time.Until(begin.Add(time.Duration(float64(i) / rate * 1e9))))
			binary.BigEndian.PutUint64(b, uint64(i))
			binary.BigEndian.PutUint64(b[8:], uint64(time.Since(clock)))
			if _, err := from.Write(b); err != nil {
				failed = err
			}
		}
		sent <- failed
	}()
	var all []got
	done := false
	b := make([]byte, 2048)
	for {
		must(tb, to.SetReadDeadline(time.Now().Add(wait)))
		n, err := to.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if done {
				return all
			}
			select {
			case err := <-sent:
				must(tb, err)
				done = true
			default:
			}
			continue
		}
		must(tb, err)
		if n == 64 {
			now := time.Since(clock)
			all = append(all, got{binary.BigEndian.Uint64(b), now - time.Duration(binary.BigEndian.Uint64(b[8:]))})
		}
	}
}

func quantile(all []got, q float64) time.Duration {
	took := make([]time.Duration, len(all))
	for i, g := range all {
		took[i] = g.took
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

func spread(all []got) (mean, sd time.Duration) {
	var m, s float64
	for i, g := range all {
		d := float64(g.took) - m
		m += d / float64(i+1)
		s += d * (float64(g.took) - m)
	}
	return time.Duration(m), time.Duration(math.Sqrt(s / float64(max(len(all)-1, 1))))
}

func ordered(all []got) bool {
	return slices.IsSortedFunc(all, func(a, b got) int { return int(a.n) - int(b.n) })
}

func reports(tb testing.TB, q *queue.Queue) map[string]rule.Report {
	tb.Helper()
	r, err := q.Read(tb.Context())
	must(tb, err)
	return r
}

func delay(d time.Duration, from ...netip.Addr) rule.Rule {
	return rule.Rule{Act: rule.Delay, Way: rule.WayNFQueue, Delay: d, Peers: from}
}

func TestDelay(t *testing.T) {
	p := wire(t)
	q := open(t)
	set(t, q, map[string]rule.Part{"slow": {delay(50 * time.Millisecond)}})
	all := pour(t, p.peer, p.node, 200, 1000, 300*time.Millisecond)
	if len(all) != 200 || !ordered(all) {
		t.Fatalf("%d of 200 packets arrived, in order: %t", len(all), ordered(all))
	}
	if m := quantile(all, 0); m < 50*time.Millisecond {
		t.Errorf("one took %v", m)
	}
	r := reports(t, q)["slow"][0]
	if r.Packets < 200 || r.Hit != r.Packets || r.Bytes < 200*(20+8+64) || r.Delay == nil || r.Delay.Count < 200 || r.Delay.Min < 50*time.Millisecond {
		t.Errorf("it says %+v, %+v", r, r.Delay)
	}
	set(t, q, nil)
	if all := pour(t, p.peer, p.node, 20, 1000, 100*time.Millisecond); len(all) != 20 || quantile(all, 0) > 40*time.Millisecond {
		t.Errorf("after it: %d packets, the fastest in %v", len(all), quantile(all, 0))
	}
	ended := reports(t, q)["slow"]
	if len(ended) != 1 || ended[0].Packets < 200 {
		t.Errorf("in the end it says %+v", ended)
	}
	set(t, q, nil)
	if r := reports(t, q); len(r) != 0 {
		t.Errorf("it says it once more: %+v", r)
	}
}

// Delays of several faults add up, each for its peers and direction, and one goes without disturbing the other.
func TestTogether(t *testing.T) {
	p := wire(t)
	q := open(t)
	both := delay(30*time.Millisecond, p.addr)
	other := delay(500*time.Millisecond, netip.MustParseAddr("10.77.0.9"))
	six := delay(20*time.Millisecond, p.addr6)
	port := delay(10 * time.Millisecond)
	port.Ports = []uint16{7000}
	elsewhere := delay(700 * time.Millisecond)
	elsewhere.Ports = []uint16{7002, 80}
	parts := map[string]rule.Part{"a": {delay(40 * time.Millisecond), elsewhere}, "b": {both, other}, "six": {six}, "port": {port}}
	set(t, q, parts)
	four := pour(t, p.peer, p.node, 50, 1000, 400*time.Millisecond)
	if len(four) != 50 || quantile(four, 0) < 80*time.Millisecond || quantile(four, 0.5) > 400*time.Millisecond {
		t.Errorf("over IPv4 %d packets, the fastest in %v, median %v; want 80 ms", len(four), quantile(four, 0), quantile(four, 0.5))
	}
	sixth := pour(t, p.peer6, p.node6, 50, 1000, 400*time.Millisecond)
	if len(sixth) != 50 || quantile(sixth, 0) < 70*time.Millisecond || quantile(sixth, 0.5) > 400*time.Millisecond {
		t.Errorf("over IPv6 %d packets, the fastest in %v, median %v; want 70 ms", len(sixth), quantile(sixth, 0), quantile(sixth, 0.5))
	}
	before := reports(t, q)
	if n := before["b"][1].Packets + before["a"][1].Packets; n != 0 {
		t.Errorf("%d packets of nobody", n)
	}
	if before["b"][0].Packets < 50 || before["six"][0].Packets < 50 || before["port"][0].Packets != 100 {
		t.Errorf("%+v", before)
	}
	delete(parts, "b")
	set(t, q, parts)
	now := reports(t, q)
	if now["a"][0].Packets < before["a"][0].Packets || len(now["b"]) != 2 {
		t.Errorf("counters of what stays begin anew, or what has ended is not told: %+v", now)
	}
	if four = pour(t, p.peer, p.node, 20, 1000, 400*time.Millisecond); quantile(four, 0) < 50*time.Millisecond {
		t.Errorf("what stays is gone: %v", quantile(four, 0))
	}
}

// What a rule holds when it ends is let go at once, and in order.
func TestEnd(t *testing.T) {
	p := wire(t)
	q := open(t)
	set(t, q, map[string]rule.Part{"long": {delay(time.Minute)}})
	for i := range 20 {
		b := make([]byte, 64)
		b[7] = byte(i)
		_, err := p.peer.Write(b)
		must(t, err)
	}
	for i := 0; reports(t, q)["long"][0].Packets < 20; i++ {
		if i == 1000 {
			t.Fatal("they do not come to the queue")
		}
		time.Sleep(time.Millisecond)
	}
	set(t, q, nil)
	if all := pour(t, p.peer, p.node, 0, 1, 100*time.Millisecond); len(all) != 20 || !ordered(all) {
		t.Errorf("%d of 20 were let go: %v", len(all), all)
	}
}

// A jitter is what it says, and cut at 0.
func TestJitter(t *testing.T) {
	p := wire(t)
	q := open(t)
	r := delay(60 * time.Millisecond)
	r.Jitter, r.Seed = 20*time.Millisecond, 7
	set(t, q, map[string]rule.Part{"j": {r}})
	all := pour(t, p.peer, p.node, 1500, 1000, 300*time.Millisecond)
	mean, sd := spread(all)
	if len(all) != 1500 || ordered(all) || mean < 55*time.Millisecond || sd < 15*time.Millisecond {
		t.Errorf("%d packets, %v ± %v, in order: %t", len(all), mean, sd, ordered(all))
	}
	if d := reports(t, q)["j"][0].Delay; d.SD < 15*time.Millisecond {
		t.Errorf("it says %+v", d)
	}
}

func share(a rule.Act, s float64) rule.Rule {
	r := rule.Rule{Act: a, Way: rule.WayNFQueue, Share: s, Seed: 3}
	if a == rule.Reorder {
		r.Delay = 10 * time.Millisecond
	}
	return r
}

func TestShares(t *testing.T) {
	p := wire(t)
	q := open(t)
	for _, to := range []rule.Direction{rule.In, rule.Out} {
		for name, c := range map[string]struct {
			from, to *net.UDPConn
		}{"IPv4": {p.peer, p.node}, "IPv6": {p.peer6, p.node6}} {
			if to == rule.Out {
				back := c.from.LocalAddr().(*net.UDPAddr)
				c.from, c.to = c.to, c.from
				must(t, connect(c.from, back))
			}
			for _, act := range []rule.Act{rule.Lose, rule.Duplicate, rule.Corrupt, rule.Reorder} {
				t.Run(fmt.Sprint(act, " ", to, " ", name), func(t *testing.T) {
					r := share(act, 0.3)
					r.Direction, r.Ports = to, []uint16{7000} // not what the kernel itself says
					if err := q.Set(context.Background(), map[string]rule.Part{"x": {r}}); err != nil {
						t.Fatal(err)
					}
					all := pour(t, c.from, c.to, 400, 4000, 100*time.Millisecond)
					if err := q.Set(context.Background(), nil); err != nil {
						t.Fatal(err)
					}
					after, err := q.Read(context.Background())
					must(t, err)
					d := after["x"][0]
					want, copies := 400, 0
					switch act {
					case rule.Lose, rule.Corrupt:
						want -= int(d.Hit)
					case rule.Duplicate:
						copies = int(d.Hit)
						want += copies
					case rule.Reorder:
					default:
						t.Fatalf("the test does not know what %s comes to", act)
					}
					if len(all) < want { // the processors were busy with something else
						all = append(all, pour(t, c.from, c.to, 0, 1, time.Second)...)
					}
					seen, twice := map[uint64]int{}, 0
					for _, g := range all {
						if seen[g.n]++; seen[g.n] == 2 {
							twice++
						}
					}
					if twice != copies {
						t.Errorf("%d came twice, %d were to", twice, copies)
					}
					if act == rule.Reorder && ordered(all) {
						t.Error("they came in order")
					}
					if d.Packets != 400 || d.Hit < 70 || d.Hit > 170 || len(all) != want {
						t.Errorf("%d arrived, want %d; it says %+v", len(all), want, d)
					}
				})
			}
		}
	}
}

// force makes room for what comes while the test's goroutine has no processor.
func force(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
	return errors.Join(err, failed)
}

// connect makes a socket that listens send to one address.
func connect(c *net.UDPConn, to *net.UDPAddr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Connect(int(fd), sockaddr(to)) })
	return errors.Join(err, failed)
}

func sockaddr(a *net.UDPAddr) unix.Sockaddr {
	if v4 := a.IP.To4(); v4 != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(v4)}
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

// What cannot be done is refused, and what was in force still is.
func TestRefused(t *testing.T) {
	p := wire(t)
	q := open(t)
	good := map[string]rule.Part{"good": {delay(50 * time.Millisecond)}}
	set(t, q, good)
	for _, bad := range []rule.Rule{
		{Act: rule.Drop},
		{Act: rule.Delay},
		{Act: rule.Lose, Share: 1.5},
		{Act: rule.Reorder, Share: 0.5},
		{Act: rule.Delay, Delay: time.Second, Direction: "up"},
		{Act: rule.Delay, Delay: time.Second, Peers: []netip.Addr{{}}},
	} {
		if err := q.Set(t.Context(), map[string]rule.Part{"bad": {delay(time.Second), bad}}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
		if err := q.Prepare(t.Context(), rule.Part{bad}); err == nil {
			t.Errorf("%+v was prepared", bad)
		}
	}
	if err := q.Set(t.Context(), map[string]rule.Part{"none": {}}); err == nil {
		t.Error("a part without rules was taken")
	}
	if all := pour(t, p.peer, p.node, 10, 1000, 200*time.Millisecond); len(all) != 10 || quantile(all, 0) < 50*time.Millisecond || quantile(all, 0.5) > 500*time.Millisecond {
		t.Errorf("what was in force is not as it was: %v", all)
	}
}

// Traffic goes on when the helper is killed.
func TestKilled(t *testing.T) {
	if os.Getenv(asHelper) != "" {
		q, err := queue.New()
		if err == nil {
			err = q.Set(t.Context(), map[string]rule.Part{
				"slow": {delay(100 * time.Millisecond)}, "twice": {share(rule.Duplicate, 0.5)},
			})
		}
		_, _ = fmt.Fprintf(os.Stdout, "%v!", err)
		select {}
	}
	p := wire(t)
	q := open(t) // so that a kernel without queues is skipped
	must(t, q.Close())
	c := exec.Command(os.Args[0], "-test.run=^TestKilled$") // inherits the namespace of this thread
	c.Env = append(os.Environ(), asHelper+"=1")
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	var said strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(said.String(), "!"); {
		if _, err := io.ReadFull(out, b); err != nil {
			t.Fatal(err, said.String())
		}
		said.Write(b)
	}
	if said.String() != "<nil>!" {
		t.Fatal(said.String())
	}
	all := pour(t, p.peer, p.node, 20, 1000, 300*time.Millisecond)
	if len(all) < 20 || quantile(all, 0) < 100*time.Millisecond {
		t.Errorf("while it lives: %d packets, the fastest in %v", len(all), quantile(all, 0))
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	all = pour(t, p.peer, p.node, 20, 1000, 300*time.Millisecond)
	if len(all) != 20 || quantile(all, 0.5) > 90*time.Millisecond {
		t.Errorf("after its end: %d packets, median %v", len(all), quantile(all, 0.5))
	}
}
