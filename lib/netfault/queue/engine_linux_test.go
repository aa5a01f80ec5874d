package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"golang.org/x/sys/unix"
)

// queued is a kernel's message about a packet.
func queued(queue uint16, id, mark uint32, payload []byte, length int) []byte {
	b := begin(nil, typePacket, 0, 0, queue)
	b = attribute(b, attrPacket, append(number(id), 0x08, 0x00, 1)...)
	if mark != 0 {
		b = attribute(b, attrMark, number(mark)...)
	}
	b = attribute(b, attrPayload, payload...)
	if length > len(payload) {
		b = attribute(b, attrCapLen, number(uint32(length))...)
	}
	return end(b, 0)
}

// A said is a verdict as the kernel reads it.
type said struct {
	queue       uint16
	id, verdict uint32
	mark        uint32
	payload     []byte
}

func verdicts(t *testing.T, b []byte) (all []said) {
	t.Helper()
	for len(b) > 0 {
		length := int(binary.NativeEndian.Uint32(b))
		if length < headerLen || length > len(b) || binary.NativeEndian.Uint16(b[4:]) != typeVerdict {
			t.Fatalf("no verdict: %x", b)
		}
		v := said{queue: binary.BigEndian.Uint16(b[18:])}
		for at := headerLen; at < length; {
			n := int(binary.NativeEndian.Uint16(b[at:]))
			value := b[at+4 : at+n]
			switch binary.NativeEndian.Uint16(b[at+2:]) {
			case attrVerdict:
				v.verdict, v.id = binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:])
			case attrMark:
				v.mark = binary.BigEndian.Uint32(value)
			case attrPayload:
				v.payload = bytes.Clone(value)
			}
			at += (n + 3) &^ 3
		}
		all = append(all, v)
		b = b[length:]
	}
	return all
}

func ids(all []said) (ids []uint32) {
	for _, v := range all {
		ids = append(ids, v.id)
	}
	return ids
}

// The engine by itself: what is due leaves by its time, in the order of arrival if that is the same.
func TestOrder(t *testing.T) {
	e := newEngine()
	slow := e.add(1, rule.Rule{Act: rule.Delay, Delay: 30}, 0)
	e.add(2, rule.Rule{Act: rule.Delay, Delay: 10}, 1)
	for i := range uint32(3) {
		e.arrive(packet{queue: 1, id: i + 1, size: 100}, time.Duration(i))
		e.arrive(packet{queue: 2, id: i + 1, size: 100}, 21)
	}
	if due, ok := e.next(); !ok || due != 30 || len(e.out) != 0 {
		t.Fatalf("next %v, %v; %d bytes said", due, ok, len(e.out))
	}
	e.release(29, 100)
	if len(e.out) != 0 {
		t.Fatal("let go before its time")
	}
	e.release(31, 100) // at 31 there are all of the fast ones and the second slow one, which came between them
	e.release(100, 2)
	got := verdicts(t, e.out)
	if want := []uint32{1, 1, 2, 2, 3, 3}; !slices.Equal(ids(got), want) || got[1].queue != 2 || got[2].queue != 1 || got[5].queue != 1 {
		t.Errorf("left as %v", got)
	}
	e.release(100, 100)
	e.sent(100)
	d := slow.report()
	if d.Packets != 3 || d.Hit != 3 || d.Bytes != 300 || d.Passed != 0 || d.Delay.Count != 3 || d.Delay.Max != 100 || d.Delay.Min != 98 {
		t.Errorf("%+v %+v", d, d.Delay)
	}
}

// What the kernel let through is missing in the numbers; what we let through is counted.
func TestPassed(t *testing.T) {
	e := newEngine()
	f := e.add(1, rule.Rule{Act: rule.Delay, Delay: time.Hour}, 0)
	for _, id := range []uint32{1, 2, 6, 7} {
		e.arrive(packet{queue: 1, id: id}, 0)
	}
	if d := f.report(); d.Packets != 7 || d.Passed != 3 || d.Hit != 4 {
		t.Errorf("%+v", d)
	}
	for id := range uint32(most) {
		e.arrive(packet{queue: 1, id: 8 + id}, 0)
	}
	if d := f.report(); d.Passed != 3+4 || len(e.waiting) != most || len(verdicts(t, e.out)) != 4 {
		t.Errorf("%+v, %d wait", d, len(e.waiting))
	}
	f.last = math.MaxUint32
	if e.arrive(packet{queue: 1, id: 0}, 0); f.done.Passed != 3+5 {
		t.Errorf("after the last number: %+v", f.done)
	}
}

func TestEnded(t *testing.T) {
	e := newEngine()
	f := e.add(1, rule.Rule{Act: rule.Delay, Delay: 50, Jitter: 40}, 0)
	e.add(2, rule.Rule{Act: rule.Delay, Delay: 5}, 0)
	for id := range uint32(50) {
		e.arrive(packet{queue: 1, id: id + 1}, 0)
		e.arrive(packet{queue: 2, id: id + 1}, 0)
	}
	e.end(f)
	got := verdicts(t, e.out)
	if len(got) != 50 || !slices.IsSorted(ids(got)) || got[0].queue != 1 || len(e.waiting) != 50 {
		t.Errorf("let go %v, %d wait", got, len(e.waiting))
	}
	e.arrive(packet{queue: 1, id: 51}, 0)
	if got = verdicts(t, e.out); len(got) != 51 || got[50].verdict != verdictAccept {
		t.Error("what comes late to a queue is kept")
	}
}

// The same seed gives the same choices.
func TestSeed(t *testing.T) {
	run := func(seed uint64) []said {
		e := newEngine()
		e.add(1, rule.Rule{Act: rule.Lose, Share: 0.5, Seed: seed}, 1)
		for id := range uint32(100) {
			e.arrive(packet{queue: 1, id: id + 1}, 0)
		}
		return verdicts(t, e.out)
	}
	same := func(a, b said) bool { return a.id == b.id && a.verdict == b.verdict }
	if a := run(1); !slices.EqualFunc(a, run(1), same) || slices.EqualFunc(a, run(2), same) {
		t.Error("chance does not come from the seed")
	}
}

func TestDuplicate(t *testing.T) {
	e := newEngine()
	e.add(1, rule.Rule{Act: rule.Duplicate, Share: 1}, 1)
	e.arrive(packet{queue: 1, id: 1, mark: 5}, 0)
	if got := verdicts(t, e.out); len(got) != 1 || got[0].mark != copyMark|5 || got[0].verdict != verdictAccept {
		t.Errorf("%+v", got)
	}
}

// Look-ups of the resolver in package answer are no packets that a rule has chosen.
func TestCopyMarkIsInNoOther(t *testing.T) {
	const answer = 0x74757474 // its mark, which it does not export
	if both := copyMark & answer; both != 0 {
		t.Errorf("bits %#x are in both marks", both)
	}
}

func TestFlip(t *testing.T) {
	v4 := func(protocol byte, transport ...byte) []byte {
		return append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, transport...)
	}
	v6 := func(protocol byte, transport ...byte) []byte {
		return append(append([]byte{0x60, 0, 0, 0, 0, 0, protocol, 64}, make([]byte, 32)...), transport...)
	}
	tcp := make([]byte, 20)
	tcp[12] = 5 << 4
	udp := make([]byte, 8)
	for name, c := range map[string]struct {
		p     []byte
		first int // that may change; -1: none
	}{
		"payload of UDP":          {v4(17, append(udp, 1, 2, 3)...), 28},
		"payload of TCP":          {v4(6, append(tcp, 1)...), 40},
		"TCP without one":         {v4(6, tcp...), 24},
		"UDP over IPv6":           {v6(17, append(udp, 1, 2)...), 48},
		"TCP over IPv6":           {v6(6, append(tcp, 1, 2)...), 60},
		"ICMP":                    {v4(1, 8, 0, 0, 0, 1, 2), 24},
		"TCP that is cut":         {v4(6, 1, 2, 3, 4, 5, 6), 24},
		"less than a header":      {[]byte{0x45, 0}, -1},
		"nothing":                 {nil, -1},
		"neither IPv4 nor IPv6":   {make([]byte, 60), -1},
		"nothing behind the port": {v4(17, 1, 2, 3, 4), -1},
	} {
		chance := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			p := bytes.Clone(c.p)
			changed := flip(p, chance)
			ones := 0
			for i := range p {
				for x := p[i] ^ c.p[i]; x != 0; x &= x - 1 {
					if ones++; i < c.first {
						t.Fatalf("%s: byte %d was changed", name, i)
					}
				}
			}
			if want := c.first >= 0; changed != want || want && ones != 1 {
				t.Fatalf("%s: %d bits were changed, said %t", name, ones, changed)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(queued(1, 2, 3, []byte("abc"), 9))
	f.Add(append(bind(1, 2, 3, 4, 5), unbind(1, 2)...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = read(b, func(p packet) { flip(p.payload, rand.New(rand.NewPCG(1, 2))) }, func(answer) {})
	})
}

func TestSpread(t *testing.T) {
	var s spread
	if s.sum() != nil {
		t.Error("nothing has a spread")
	}
	var all []time.Duration
	chance := rand.New(rand.NewPCG(1, 2))
	var sum float64
	for range 20_000 {
		d := time.Duration(math.Exp(chance.NormFloat64()*3 + 14)) // from nanoseconds to minutes
		all = append(all, d)
		sum += float64(d)
		s.add(d)
	}
	slices.Sort(all)
	got := s.sum()
	for q, v := range map[float64]time.Duration{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
		exact := all[int(math.Ceil(q*float64(len(all))))-1]
		if off := math.Abs(float64(v-exact)) / float64(exact); off > 0.001 {
			t.Errorf("quantile %g: %v for %v", q, v, exact)
		}
	}
	mean := sum / float64(len(all))
	var squares float64
	for _, d := range all {
		squares += (float64(d) - mean) * (float64(d) - mean)
	}
	sd := math.Sqrt(squares / float64(len(all)-1))
	if got.Min != all[0] || got.Max != all[len(all)-1] || math.Abs(float64(got.Mean)-mean) > 1 || math.Abs(float64(got.SD)-sd) > 1e-6*sd {
		t.Errorf("%+v, want %v ± %v", got, time.Duration(mean), time.Duration(sd))
	}
	for d := time.Duration(1); d > 0; d *= 3 {
		for _, d := range []time.Duration{d - 1, d, d + 1} {
			if off := math.Abs(float64(middle(bucketOf(d)) - d)); off > float64(d)/1024 {
				t.Errorf("%d is in a bucket around %d", d, middle(bucketOf(d)))
			}
		}
	}
}

// The loop against a kernel that is a socket of ours: packets go in, verdicts come out by their time, a command is answered
// while packets come.
func TestLoop(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	kernel := ends[1]
	defer unix.Close(kernel)
	l, err := start(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	hear := func() []byte {
		t.Helper()
		b := make([]byte, largest)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(kernel), Events: unix.POLLIN}}, 5000)
			if n == 1 {
				break
			}
			if !errors.Is(err, unix.EINTR) {
				t.Fatal("nothing was said", err)
			}
		}
		n, err := unix.Read(kernel, b)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	tell := func(b []byte) {
		t.Helper()
		if _, err := unix.Write(kernel, b); err != nil {
			t.Fatal(err)
		}
	}
	var slow, fast *flow
	if err := l.do(func() error {
		slow = l.add(1, rule.Rule{Act: rule.Delay, Delay: 60 * time.Millisecond}, 0)
		fast = l.add(2, rule.Rule{Act: rule.Delay, Delay: 20 * time.Millisecond}, 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	tell(append(queued(1, 1, 0, []byte{1, 2, 3}, 90), queued(1, 2, 0, []byte{1}, 0)...))
	tell(queued(2, 1, 0, nil, 0))
	asked := make(chan error, 1)
	go func() {
		asked <- l.do(func() error {
			return l.ask(func(seq uint32) []byte { return bind(seq, 3, minimum, most, cfgFailOpen) })
		})
	}()
	question := hear()
	if kind := binary.NativeEndian.Uint16(question[4:]); kind != typeConfig || binary.BigEndian.Uint16(question[18:]) != 3 {
		t.Fatalf("asked %x", question)
	}
	tell(queued(1, 3, 0, nil, 0))
	no := binary.NativeEndian.AppendUint32(nil, 36)
	no = binary.NativeEndian.AppendUint16(no, typeError)
	no = append(append(no, 0, 0), question[8:12]...)
	no = append(no, 0, 0, 0, 0)
	busy := int32(-int(unix.EBUSY))
	tell(append(binary.NativeEndian.AppendUint32(no, uint32(busy)), question[:16]...))
	if err := <-asked; err != unix.EBUSY { //nolint:errorlint // the kernel's own
		t.Fatalf("the answer is %v", err)
	}
	var got []said
	for len(got) < 4 {
		got = append(got, verdicts(t, hear())...)
	}
	if got[0].queue != 2 || !slices.Equal(ids(got[1:]), []uint32{1, 2, 3}) {
		t.Errorf("left as %+v", got)
	}
	if err := l.do(func() error {
		if d := slow.report(); d.Packets != 3 || d.Bytes != 91 || d.Delay.Min < 60*time.Millisecond {
			t.Errorf("slow: %+v %+v", d, d.Delay)
		}
		if d := fast.report(); d.Packets != 1 || d.Delay.Min < 20*time.Millisecond {
			t.Errorf("fast: %+v %+v", d, d.Delay)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if err := l.do(func() error { return nil }); err == nil {
		t.Error("it does things after its end")
	}
}

// A kernel that goes away is an error of whoever asks next, and no hang.
func TestLost(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := start(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(ends[1]); err != nil {
		t.Fatal(err)
	}
	<-l.gone
	if l.do(func() error { return nil }) == nil {
		t.Error("nobody is told")
	}
}
