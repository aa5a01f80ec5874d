package netem

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

var update = flag.Bool("update", false, "write the golden files")

// The messages are compared byte for byte, and taken apart by a reader that knows the kernel's structs and nothing of the
// writer. The bytes are those of a little-endian machine.
func TestMessages(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are those of a little-endian machine")
	}
	db, cache := netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("fd00::5")
	for name, parts := range map[string]map[string]rule.Part{
		"delay": {"a": {{Act: rule.Delay, Delay: 100 * time.Millisecond}}},
		"jitter-both": {
			"a": {{Act: rule.Delay, Delay: 300 * time.Second, Jitter: 30 * time.Millisecond, Direction: rule.Both, Seed: 7}},
			"b": {{Act: rule.Delay, Delay: 50 * time.Millisecond, Jitter: 40 * time.Millisecond, Direction: rule.Both}},
		},
		"shares":  {"a": {{Act: rule.Lose, Share: 0.5}, {Act: rule.Lose, Share: 0.5}, {Act: rule.Duplicate, Share: 0.1}, {Act: rule.Corrupt, Share: 1}}},
		"reorder": {"a": {{Act: rule.Reorder, Share: 0.25, Delay: 10 * time.Millisecond, Direction: rule.Out}}},
		"peers": {
			"a": {{Act: rule.Delay, Delay: time.Second, Peers: []netip.Addr{db, cache}}},
			"b": {{Act: rule.Lose, Share: 0.1, Peers: []netip.Addr{db}}},
			"c": {{Act: rule.Delay, Delay: time.Millisecond, Peers: []netip.Addr{cache}, Direction: rule.Out}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, in := range []bool{false, true} {
				tr, err := grow(parts, in)
				if err != nil {
					t.Fatal(err)
				}
				if tr == nil {
					continue
				}
				all := tr.messages(7, in, false)
				if in {
					all = append(all, entrance(3), lead(3, 7))
				}
				for _, m := range append(all, remove(7, rootNetem, atRoot)) {
					fmt.Fprintf(&b, "%s%s\n", decode(t, m), dump(m))
				}
			}
			file := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s", b.String())
			}
		})
	}
}

// dump writes bytes, without the table of the normal distribution, which decode sums up.
func dump(m []byte) string {
	if i := bytes.Index(m, normal()); i >= 0 {
		m = append(bytes.Clone(m[:i]), m[i+len(normal()):]...)
	}
	var b strings.Builder
	for line := range slices.Chunk(m, 16) {
		fmt.Fprintf(&b, "  % x\n", line)
	}
	return b.String()
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// decode says what a message is: struct nlmsghdr (length, type, flags, sequence, port), struct tcmsg (family, 3 bytes, ifindex,
// handle, parent, info), attributes.
func decode(t *testing.T, m []byte) string {
	t.Helper()
	if int(u32(m)) != len(m) {
		t.Fatalf("%d bytes say that they are %d", len(m), u32(m))
	}
	kind := map[uint16]string{36: "RTM_NEWQDISC", 37: "RTM_DELQDISC", 44: "RTM_NEWTFILTER"}[binary.LittleEndian.Uint16(m[4:])]
	s := fmt.Sprintf("# %s flags %#x ifindex %d handle %08x parent %08x info %08x\n", kind, binary.LittleEndian.Uint16(m[6:]), u32(m[20:]), u32(m[24:]), u32(m[28:]), u32(m[32:]))
	discipline := ""
	for _, a := range attributes(t, m[36:]) {
		switch a.kind {
		case 1:
			discipline = strings.TrimRight(string(a.value), "\x00")
			s += "#   TCA_KIND " + discipline + "\n"
		case 2:
			s += "#   TCA_OPTIONS\n" + options(t, discipline, a.value)
		default:
			t.Fatalf("attribute %d", a.kind)
		}
	}
	return s
}

type attr struct {
	kind  uint16
	value []byte
}

func attributes(t *testing.T, b []byte) (all []attr) {
	t.Helper()
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint16(b))
		if n < 4 || n > len(b) {
			t.Fatalf("an attribute of %d bytes in %d", n, len(b))
		}
		all = append(all, attr{binary.LittleEndian.Uint16(b[2:]), b[4:n]})
		b = b[(n+3)&^3:]
	}
	return all
}

func options(t *testing.T, discipline string, b []byte) (s string) {
	t.Helper()
	switch discipline {
	case "netem":
		s = fmt.Sprintf("#     tc_netem_qopt latency %d ticks (%v) limit %d loss %#x gap %d duplicate %#x jitter %d ticks\n",
			u32(b), time.Duration(u32(b))*64, u32(b[4:]), u32(b[8:]), u32(b[12:]), u32(b[16:]), u32(b[20:]))
		for _, a := range attributes(t, b[24:]) {
			switch a.kind {
			case 2:
				s += "#     TCA_NETEM_DELAY_DIST " + distribution(a.value) + "\n"
			case 3:
				s += fmt.Sprintf("#     TCA_NETEM_REORDER probability %#x correlation %d\n", u32(a.value), u32(a.value[4:]))
			case 4:
				s += fmt.Sprintf("#     TCA_NETEM_CORRUPT probability %#x correlation %d\n", u32(a.value), u32(a.value[4:]))
			case 10:
				s += fmt.Sprintf("#     TCA_NETEM_LATENCY64 %v\n", time.Duration(binary.LittleEndian.Uint64(a.value)))
			case 11:
				s += fmt.Sprintf("#     TCA_NETEM_JITTER64 %v\n", time.Duration(binary.LittleEndian.Uint64(a.value)))
			case 14:
				s += fmt.Sprintf("#     TCA_NETEM_PRNG_SEED %d\n", binary.LittleEndian.Uint64(a.value))
			default:
				t.Fatalf("netem's attribute %d", a.kind)
			}
		}
	case "prio":
		s = fmt.Sprintf("#     tc_prio_qopt bands %d priomap %v\n", u32(b), b[4:20])
	case "u32":
		for _, a := range attributes(t, b) {
			switch a.kind {
			case 1:
				s += fmt.Sprintf("#     TCA_U32_CLASSID %08x\n", u32(a.value))
			case 5:
				s += fmt.Sprintf("#     TCA_U32_SEL flags %d nkeys %d\n", a.value[0], a.value[2])
				if len(a.value) != 16+16*int(a.value[2]) {
					t.Fatalf("a selector of %d bytes for %d keys", len(a.value), a.value[2])
				}
				for k := range slices.Chunk(a.value[16:], 16) {
					s += fmt.Sprintf("#       mask % x value % x at %d\n", k[:4], k[4:8], u32(k[8:]))
				}
			case 7:
				one := attributes(t, attributes(t, a.value)[0].value)
				parms := attributes(t, one[1].value)[0]
				s += fmt.Sprintf("#     TCA_U32_ACT %d %q, attribute %d: action %d eaction %d ifindex %d\n",
					attributes(t, a.value)[0].kind, one[0].value, parms.kind, u32(parms.value[8:]), u32(parms.value[20:]), u32(parms.value[24:]))
			}
		}
	}
	return s
}

// distribution sums a table up: it is to be normal.
func distribution(b []byte) string {
	var all []float64
	var sum, squares float64
	for v := range slices.Chunk(b, 2) {
		x := float64(int16(binary.LittleEndian.Uint16(v))) / 8192
		all = append(all, x)
		sum += x
		squares += x * x
	}
	n := float64(len(all))
	return fmt.Sprintf("%d values from %.3f to %.3f, mean %.3f, SD %.3f, at 84.13 %% %.2f", len(all), all[0], all[len(all)-1], math.Abs(sum)/n, math.Sqrt(squares/n), all[int(0.8413*n)])
}

// Trees change in place as long as they have the same classes.
func TestAlike(t *testing.T) {
	delay := rule.Rule{Act: rule.Delay, Delay: time.Second}
	slower := rule.Rule{Act: rule.Delay, Delay: time.Minute}
	peer := rule.Rule{Act: rule.Delay, Delay: time.Minute, Peers: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	of := func(rules ...rule.Rule) tree {
		tr, err := grow(map[string]rule.Part{"x": rules}, true)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	for want, two := range map[string][2]tree{
		"alike": {of(delay), of(slower)}, "alike, twice": {of(delay), of(delay, slower)}, "alike, peers": {of(peer), of(peer, peer)},
		"not, peers": {of(delay), of(peer)}, "not, others": {of(peer), of(peer, delay)}, "not, none": {of(), of(delay)},
	} {
		if got := two[0].alike(two[1]); got != strings.HasPrefix(want, "alike") {
			t.Errorf("%s: %t", want, got)
		}
	}
	if ms := of(peer).messages(1, true, true); len(ms) != 1 {
		t.Errorf("%d messages change one emulator", len(ms))
	}
}

// What the emulator cannot do is refused, with the reason.
func TestRefused(t *testing.T) {
	back := rule.Rule{Act: rule.Reorder, Share: 0.5, Delay: time.Millisecond}
	for want, p := range map[string]rule.Part{
		"cannot tell ports":     {{Act: rule.Delay, Delay: time.Second, Ports: []uint16{80}}},
		"delay and reorder":     {{Act: rule.Delay, Delay: time.Second}, back},
		"one reordering":        {back, back},
		"cannot do \"drop\"":    {{Act: rule.Drop}},
		"above 0 and at most 1": {{Act: rule.Lose}},
		"a delay of 0s":         {{Act: rule.Delay}},
		"held back":             {{Act: rule.Reorder, Share: 0.5}},
		"no address":            {{Act: rule.Lose, Share: 0.5, Peers: []netip.Addr{{}}}},
		"in, out or both":       {{Act: rule.Lose, Share: 0.5, Direction: "up"}},
		"has room for 15":       many(16),
		"":                      many(15),
	} {
		_, err := grow(map[string]rule.Part{"x": p}, true)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func many(n int) (p rule.Part) {
	for i := range n {
		p = append(p, rule.Rule{Act: rule.Lose, Share: 0.5, Peers: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}})
	}
	return p
}

// A delay does not become a loss for want of room.
func TestLimit(t *testing.T) {
	for d, room := range map[time.Duration]uint32{0: 1000, time.Millisecond: 1000, 100 * time.Millisecond: 20_000, 24 * time.Hour: math.MaxInt32} {
		if got := (want{delay: d}).limit(); got != room {
			t.Errorf("%v: room for %d packets, want %d", d, got, room)
		}
	}
}
