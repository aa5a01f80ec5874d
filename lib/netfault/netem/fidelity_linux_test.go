package netem_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/netem"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestMain is also the first process of a machine that qemu.sh starts: then it makes what a system would have, runs the tests and
// turns the machine off.
func TestMain(m *testing.M) {
	if os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	if err := boot(); err != nil {
		fmt.Println("boot:", err)
	} else {
		fmt.Println("exit code", m.Run())
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// boot mounts what the tests read and loads the modules that /modules names, in its order.
func boot() error {
	for at, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/tmp": "tmpfs"} {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(kind, at, kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", at, err)
		}
	}
	list, err := os.Open("/modules")
	if err != nil {
		return err
	}
	defer list.Close()
	for lines := bufio.NewScanner(list); lines.Scan(); {
		f, err := os.Open(lines.Text())
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", lines.Text(), err)
		}
	}
	return nil
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// wire makes a namespace for the test's thread and another one with the peer, and returns a socket in each: the node's, and
// the peer's, that is connected to it. It skips where there is no emulator.
func wire(t *testing.T) (node, peer *net.UDPConn) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	var spaces [2]int
	for i := range spaces {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Skipf("no network namespace of our own: %v", err)
		}
		var err error
		spaces[i], err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(spaces[i]) })
	}
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(spaces[0])}))
	up(t, "10.77.0.2/24")
	node, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 77, 0, 2), Port: 7000})
	must(t, err)
	t.Cleanup(func() { node.Close() })
	must(t, node.SetReadBuffer(1<<20))
	must(t, unix.Setns(spaces[0], unix.CLONE_NEWNET))
	up(t, "10.77.0.1/24")
	peer, err = net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 77, 0, 1), Port: 7001}, &net.UDPAddr{IP: net.IPv4(10, 77, 0, 2), Port: 7000})
	must(t, err)
	t.Cleanup(func() { peer.Close() })
	must(t, unix.Setns(spaces[1], unix.CLONE_NEWNET))
	link, err := netlink.LinkByName("eth0")
	must(t, err)
	try := netlink.NewNetem(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: 1 << 16}, netlink.NetemQdiscAttrs{})
	if err := netlink.QdiscAdd(try); err != nil {
		t.Skipf("the kernel has no emulator: %v", err)
	}
	must(t, netlink.QdiscDel(try))
	return node, peer
}

func up(t *testing.T, addr string) {
	t.Helper()
	for _, name := range []string{"lo", "eth0"} {
		link, err := netlink.LinkByName(name)
		must(t, err)
		if name == "eth0" {
			a, err := netlink.ParseAddr(addr)
			must(t, err)
			must(t, netlink.AddrAdd(link, a))
		}
		must(t, netlink.LinkSetUp(link))
	}
}

type got struct {
	n    uint64
	took time.Duration
}

var clock = time.Now()

// pour sends packets to the node and returns what arrives until nothing has for wait.
func pour(t *testing.T, from, to *net.UDPConn, count int, rate float64, wait time.Duration) (all []got) {
	t.Helper()
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
	b := make([]byte, 2048)
	for done := false; ; {
		must(t, to.SetReadDeadline(time.Now().Add(wait)))
		n, err := to.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if done {
				return all
			}
			select {
			case err := <-sent:
				must(t, err)
				done = true
			default:
			}
			continue
		}
		must(t, err)
		if n == 64 {
			all = append(all, got{binary.BigEndian.Uint64(b), time.Since(clock) - time.Duration(binary.BigEndian.Uint64(b[8:]))})
		}
	}
}

func quantile(all []got, q float64) time.Duration {
	took := make([]time.Duration, len(all))
	for i, g := range all {
		took[i] = g.took
	}
	if slices.Sort(took); len(took) == 0 {
		return 0
	}
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

// late counts the packets that others have overtaken.
func late(all []got) (n int) {
	most := uint64(0)
	for _, g := range all {
		if g.n < most {
			n++
		}
		most = max(most, g.n)
	}
	return n
}

func open(t *testing.T) *netem.Netem {
	t.Helper()
	n, err := netem.New()
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

func in(r rule.Rule) rule.Rule {
	r.Way, r.Direction = rule.WayNetem, rule.In
	return r
}

// What is asked is what happens, rules compose, what is not meant is spared, and it ends.
func TestEmulator(t *testing.T) {
	node, peer := wire(t)
	n := open(t)
	slow := in(rule.Rule{Act: rule.Delay, Delay: 50 * time.Millisecond})
	slower := in(rule.Rule{Act: rule.Delay, Delay: 40 * time.Millisecond, Peers: []netip.Addr{netip.MustParseAddr("10.77.0.1")}})
	others := in(rule.Rule{Act: rule.Delay, Delay: time.Second, Peers: []netip.Addr{netip.MustParseAddr("10.77.0.9"), netip.MustParseAddr("fd00::9")}})
	must(t, n.Prepare(t.Context(), rule.Part{slow, slower}))
	for _, c := range []struct {
		parts map[string]rule.Part
		least time.Duration
	}{
		{nil, 0},
		{map[string]rule.Part{"a": {slow}}, 50 * time.Millisecond},
		{map[string]rule.Part{"a": {slow}, "b": {slow}}, 100 * time.Millisecond},
		{map[string]rule.Part{"a": {slow}, "b": {slower, others}}, 90 * time.Millisecond},
		{map[string]rule.Part{"b": {others}}, 0},
		{nil, 0},
	} {
		must(t, n.Set(t.Context(), c.parts))
		all := pour(t, peer, node, 50, 1000, 500*time.Millisecond)
		if fastest := quantile(all, 0); len(all) != 50 || fastest < c.least || fastest > c.least+500*time.Millisecond {
			t.Errorf("%v: %d packets, the fastest in %v", c.parts, len(all), fastest)
		}
		reports, err := n.Read(t.Context())
		must(t, err)
		for name, p := range c.parts {
			for i, r := range p {
				if d := reports[name][i]; (d.Packets >= 50) != (len(r.Peers) != 2) || d.Hit != d.Packets {
					t.Errorf("%s %d: %+v", name, i, d)
				}
			}
		}
	}
	if links, err := netlink.LinkList(); err != nil || len(links) != 2 {
		t.Errorf("%d devices are left: %v", len(links), err)
	}
}

// What an earlier one has left is removed.
func TestLeft(t *testing.T) {
	node, peer := wire(t)
	one, err := netem.New()
	must(t, err)
	must(t, one.Set(t.Context(), map[string]rule.Part{"a": {{Act: rule.Delay, Delay: 100 * time.Millisecond, Direction: rule.Both}}}))
	open(t)
	if all := pour(t, peer, node, 20, 1000, 300*time.Millisecond); len(all) != 20 || quantile(all, 0) > 90*time.Millisecond {
		t.Errorf("%d packets, median %v", len(all), quantile(all, 0.5))
	}
}

// Asked against delivered, as the receiver of the packets sees it: printed, and judged by nobody.
func TestFidelity(t *testing.T) {
	if os.Getenv("TUTTI_FIDELITY") == "" {
		t.Skip("TUTTI_FIDELITY is not set")
	}
	node, peer := wire(t)
	n := open(t)
	var kernel unix.Utsname
	must(t, unix.Uname(&kernel))
	fmt.Printf("kernel %s, %d processors, incoming packets over veth and ifb\n\n", unix.ByteSliceToString(kernel.Release[:]), runtime.NumCPU())
	fmt.Println("| asked | sent | arrived | overtaken | p50 | p99 | mean | SD |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	ms := time.Millisecond
	for _, c := range []struct {
		name  string
		rules rule.Part
		count int
		rate  float64
	}{
		{"nothing", nil, 1000, 1000},
		{"delay 10ms", rule.Part{{Act: rule.Delay, Delay: 10 * ms}}, 1000, 1000},
		{"delay 100ms", rule.Part{{Act: rule.Delay, Delay: 100 * ms}}, 1000, 1000},
		{"delay 300ms", rule.Part{{Act: rule.Delay, Delay: 300 * ms}}, 1000, 1000},
		{"delay 100ms ± 20ms", rule.Part{{Act: rule.Delay, Delay: 100 * ms, Jitter: 20 * ms, Seed: 7}}, 4000, 1000},
		{"delay 50ms, 10,000/s", rule.Part{{Act: rule.Delay, Delay: 50 * ms}}, 10_000, 10_000},
		{"loss 1 %", rule.Part{{Act: rule.Lose, Share: 0.01}}, 10_000, 5000},
		{"loss 10 %", rule.Part{{Act: rule.Lose, Share: 0.1}}, 10_000, 5000},
		{"loss 50 %", rule.Part{{Act: rule.Lose, Share: 0.5}}, 10_000, 5000},
		{"duplicate 10 %", rule.Part{{Act: rule.Duplicate, Share: 0.1}}, 10_000, 5000},
		{"corrupt 10 %", rule.Part{{Act: rule.Corrupt, Share: 0.1}}, 10_000, 5000},
		{"reorder 10 % by 10ms", rule.Part{{Act: rule.Reorder, Share: 0.1, Delay: 10 * ms}}, 10_000, 5000},
	} {
		parts := map[string]rule.Part{}
		for _, r := range c.rules {
			parts["x"] = append(parts["x"], in(r))
		}
		must(t, n.Set(t.Context(), parts))
		all := pour(t, peer, node, c.count, c.rate, 700*ms)
		mean, sd := spread(all)
		fmt.Printf("| %s | %d | %d | %d | %v | %v | %v | %v |\n", c.name, c.count, len(all), late(all),
			quantile(all, 0.5).Round(time.Microsecond), quantile(all, 0.99).Round(time.Microsecond), mean.Round(time.Microsecond), sd.Round(time.Microsecond))
	}
}
