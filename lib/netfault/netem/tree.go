package netem

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// A want is what one emulator shall do.
type want struct {
	delay, jitter            time.Duration
	lose, duplicate, corrupt float64 // shares
	reorder                  float64
	back                     time.Duration // for how long a reordered packet is held back
	seed                     uint64
}

const (
	// perSecond is the highest rate, in packets a second, that an emulator has room for.
	perSecond  = 200_000
	leastLimit = 1000
	mostBands  = 16 // TCQ_PRIO_BANDS
)

// limit is how many packets it may hold.
func (w want) limit() uint32 {
	longest := max(w.delay+5*w.jitter, w.back) // the table of the distribution ends at 3.7 deviations
	return uint32(min(max(longest.Seconds()*perSecond, leastLimit), math.MaxInt32))
}

// add makes it do what a rule says, too.
func (w *want) add(r rule.Rule) error {
	either := func(a float64) float64 { return 1 - (1-a)*(1-r.Share) }
	switch r.Act {
	case rule.Delay:
		w.delay += r.Delay
		w.jitter = time.Duration(math.Round(math.Hypot(float64(w.jitter), float64(r.Jitter))))
	case rule.Lose:
		w.lose = either(w.lose)
	case rule.Duplicate:
		w.duplicate = either(w.duplicate)
	case rule.Corrupt:
		w.corrupt = either(w.corrupt)
	case rule.Reorder:
		if w.reorder > 0 {
			return errors.New("the emulator has one reordering, not two of the same packets")
		}
		w.reorder, w.back = r.Share, r.Delay
	default:
		return fmt.Errorf("the emulator cannot do %q", r.Act)
	}
	w.seed = w.seed*31 + r.Seed
	if w.reorder > 0 && w.delay+w.jitter > 0 {
		return errors.New("the emulator cannot both delay and reorder the same packets")
	}
	return nil
}

// check refuses what the way cannot do.
func check(r rule.Rule) error {
	if err := r.Emulates(); err != nil {
		return err
	}
	if len(r.Ports) > 0 {
		return errors.New("the emulator cannot tell ports")
	}
	for _, p := range r.Peers {
		if !p.IsValid() {
			return errors.New("a peer has no address")
		}
	}
	switch r.Direction {
	case "", rule.In, rule.Out, rule.Both:
		return nil
	}
	return fmt.Errorf("direction %q: it is in, out or both", r.Direction)
}

// A name says which rule of which part.
type name struct {
	part string
	rule int
}

// A class is packets for which the same rules are.
type class struct {
	want  want
	rules []name
	peers []netip.Addr // whose; nil for all others
}

// A tree is what stands at the root of one device, for one direction: classes by peer, and then the one of all others,
// which may have no rule. Without peers that one is alone.
type tree []class

// grow makes the tree of all rules for a direction; nil if there is none.
func grow(parts map[string]rule.Part, in bool) (tree, error) {
	rules, err := about(parts, in)
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	peers := make(map[netip.Addr]bool)
	for _, r := range rules {
		for _, p := range r.Peers {
			peers[plain(p)] = true
		}
	}
	var t tree
	for _, peer := range slices.SortedFunc(maps.Keys(peers), netip.Addr.Compare) {
		c, err := classOf(peer, rules)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(t, func(o class) bool { return slices.Equal(o.rules, c.rules) })
		if at < 0 {
			t, at = append(t, c), len(t)
		}
		t[at].peers = append(t[at].peers, peer)
	}
	rest, err := classOf(netip.Addr{}, rules)
	if err != nil {
		return nil, err
	}
	if t = append(t, rest); len(t) > mostBands {
		return nil, fmt.Errorf("peers have %d different sets of rules; the kernel's prio discipline has room for %d", len(t)-1, mostBands-1)
	}
	return t, nil
}

// A named rule is one that knows where it is from.
type named struct {
	rule.Rule
	name name
}

// about lists the rules for a direction, in the order of their parts' names.
func about(parts map[string]rule.Part, in bool) ([]named, error) {
	var rules []named
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		for i, r := range parts[part] {
			if err := check(r); err != nil {
				return nil, fmt.Errorf("%s: rule %d: %w", part, i+1, err)
			}
			if in && r.Direction == rule.Out || !in && r.Direction != rule.Out && r.Direction != rule.Both {
				continue
			}
			rules = append(rules, named{r, name{part, i}})
		}
	}
	return rules, nil
}

// classOf makes what the rules want of a peer's packets; without an address, of those of all that no rule names.
func classOf(peer netip.Addr, rules []named) (class, error) {
	var c class
	for _, r := range rules {
		if len(r.Peers) > 0 && !slices.ContainsFunc(r.Peers, func(a netip.Addr) bool { return plain(a) == peer }) {
			continue
		}
		if err := c.want.add(r.Rule); err != nil {
			return c, fmt.Errorf("%s: rule %d: %w", r.name.part, r.name.rule+1, err)
		}
		c.rules = append(c.rules, r.name)
	}
	return c, nil
}

// plain is an address as packets have it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// handle of a class's emulator.
func (t tree) handle(i int) uint32 {
	if len(t) == 1 {
		return rootNetem
	}
	return rootPrio + uint32(i+1)<<16
}

// alike reports whether a tree differs in the parameters of its emulators only, which can change while they hold packets.
func (t tree) alike(o tree) bool {
	return slices.EqualFunc(t, o, func(a, b class) bool {
		return slices.Equal(a.peers, b.peers) && (len(a.rules) > 0) == (len(b.rules) > 0)
	})
}

// messages build the tree on a device, or change the one that is there if it is alike.
func (t tree) messages(link int, in, alike bool) [][]byte {
	if len(t) == 1 {
		return [][]byte{emulator(link, rootNetem, atRoot, t[0].want)}
	}
	var all [][]byte
	if !alike {
		all = append(all, bands(link, len(t)))
	}
	for i, c := range t {
		if len(c.rules) > 0 {
			all = append(all, emulator(link, t.handle(i), rootPrio|uint32(i+1), c.want))
		}
	}
	if alike {
		return all
	}
	for i, c := range t {
		for _, p := range c.peers {
			all = append(all, filter(link, p, in, uint32(i+1)))
		}
	}
	return all
}
