package netem

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"strings"
	"time"

	netlib "github.com/mdlayher/netlink"
	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Netem carries out rules of the way netem in one network namespace. Who made it closes it.
type Netem struct {
	tell  func(message []byte) error // the kernel, which answers
	close func() error

	parts   map[string]rule.Part
	in, out tree
	devices map[int]string // on which the trees are, by index
	totals  map[name]rule.Delivered
	last    map[spot]counts // what was in totals when they were last summed
	ended   map[string]rule.Report
}

// A spot is where an emulator is.
type spot struct {
	link   int
	in     bool
	handle uint32
}

// counts are an emulator's.
type counts struct{ packets, bytes, drops uint64 }

var (
	_ netfault.Carrier  = (*Netem)(nil)
	_ netfault.Preparer = (*Netem)(nil)
)

const (
	ifbPrefix = "tuttinem" // and a device's index: what comes in by it is led there
	patience  = 5 * time.Second
)

// New makes an emulator for the network namespace of the calling thread, and removes what an earlier one has left.
func New() (*Netem, error) {
	c, err := netlib.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open a route socket: %w", err)
	}
	n := &Netem{
		tell: func(m []byte) error { return tell(c, m) }, close: c.Close,
		parts: make(map[string]rule.Part), totals: make(map[name]rule.Delivered), last: make(map[spot]counts),
	}
	if n.devices, err = devices(); err == nil {
		err = n.clear()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("remove what an earlier emulator left: %w", err), c.Close())
	}
	return n, nil
}

// tell sends one message and waits for the kernel's answer.
func tell(c *netlib.Conn, m []byte) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var one netlib.Message
	one.Header.Type = netlib.HeaderType(binary.NativeEndian.Uint16(m[4:]))
	one.Header.Flags = netlib.HeaderFlags(binary.NativeEndian.Uint16(m[6:]))
	one.Data = m[16:]
	_, err := c.Execute(one)
	return err
}

// Prepare tries what a part needs on a device that carries nothing.
func (n *Netem) Prepare(_ context.Context, p rule.Part) error {
	for _, in := range []bool{true, false} {
		t, err := grow(map[string]rule.Part{"": p}, in)
		if err != nil {
			return err
		}
		if t == nil {
			continue
		}
		if err := n.try(t, in); err != nil {
			return err
		}
	}
	return nil
}

func (n *Netem) try(t tree, in bool) (err error) {
	scratch := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: ifbPrefix + "try"}}
	if err := netlink.LinkAdd(scratch); err != nil {
		return fmt.Errorf("make a device to try the emulator on (ifb): %w", err)
	}
	defer func() { err = errors.Join(err, netlink.LinkDel(scratch)) }()
	messages := t.messages(scratch.Index, in, false)
	if in {
		messages = append(messages, entrance(scratch.Index), lead(scratch.Index, scratch.Index))
	}
	return n.send(messages, scratch.Name)
}

// Set makes parts all that is in force.
func (n *Netem) Set(_ context.Context, parts map[string]rule.Part) error {
	in, err := grow(parts, true)
	if err != nil {
		return err
	}
	out, err := grow(parts, false)
	if err != nil {
		return err
	}
	if err := n.settle(); err != nil {
		return err
	}
	all, err := devices()
	if err != nil {
		return err
	}
	for link, name := range all {
		if len(in)+len(out) == 0 {
			break // what is on a device is no matter of ours
		}
		if err := free(link, name); err != nil {
			return err
		}
	}
	for link, name := range all {
		if err = n.change(link, name, in, out); err != nil {
			break
		}
	}
	if err != nil {
		for link, name := range all { // back to what was in force, anew, as we do not know how far it came
			back := n.strip(link)
			if back == nil {
				back = n.build(link, name, n.in, n.out)
			}
			err = errors.Join(err, back)
		}
		clear(n.last)
		return err
	}
	n.in, n.out, n.devices = in, out, all
	n.over(parts)
	return n.mark()
}

// over notes what the parts have delivered that are in force no more.
func (n *Netem) over(parts map[string]rule.Part) {
	n.ended = make(map[string]rule.Report)
	for part, rules := range n.parts {
		if reflect.DeepEqual(rules, parts[part]) {
			continue
		}
		n.ended[part] = n.report(part, rules)
		for i := range rules {
			delete(n.totals, name{part, i})
		}
	}
	n.parts = maps.Clone(parts)
}

func (n *Netem) report(part string, rules rule.Part) rule.Report {
	r := make(rule.Report, len(rules))
	for i := range rules {
		r[i] = n.totals[name{part, i}]
	}
	return r
}

// change brings one device from the trees in force to others.
func (n *Netem) change(link int, device string, in, out tree) error {
	if _, known := n.devices[link]; known && n.in.alike(in) && n.out.alike(out) {
		if len(out) > 0 {
			if err := n.send(out.messages(link, false, true), device); err != nil {
				return err
			}
		}
		if len(in) == 0 {
			return nil
		}
		ifb, err := netlink.LinkByName(ifbOf(link))
		if err != nil {
			return fmt.Errorf("find %s: %w", ifbOf(link), err)
		}
		return n.send(in.messages(ifb.Attrs().Index, true, true), ifbOf(link))
	}
	if err := n.strip(link); err != nil {
		return err
	}
	return n.build(link, device, in, out)
}

// build puts trees on a device that has none.
func (n *Netem) build(link int, device string, in, out tree) error {
	if len(out) > 0 {
		if err := n.send(out.messages(link, false, false), device); err != nil {
			return err
		}
	}
	if len(in) == 0 {
		return nil
	}
	ifb := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: ifbOf(link), TxQLen: 1000}}
	if err := netlink.LinkAdd(ifb); err != nil {
		return fmt.Errorf("make a device for what comes in by %s (ifb): %w", device, err)
	}
	if err := netlink.LinkSetUp(ifb); err != nil {
		return fmt.Errorf("bring %s up: %w", ifb.Name, err)
	}
	if err := n.send(in.messages(ifb.Index, true, false), ifb.Name); err != nil {
		return err
	}
	return n.send([][]byte{entrance(link), lead(link, ifb.Index)}, device)
}

// strip takes all that is ours from a device.
func (n *Netem) strip(link int) error {
	root, entrance, err := disciplines(link)
	if err != nil {
		return err
	}
	if root != nil && ours(root) {
		if err := n.tell(remove(link, root.Attrs().Handle, atRoot)); err != nil {
			return fmt.Errorf("remove the emulator: %w", err)
		}
	}
	ifb, err := netlink.LinkByName(ifbOf(link))
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", ifbOf(link), err)
	}
	if entrance != nil {
		if err := n.tell(remove(link, ingress, atIngress)); err != nil {
			return fmt.Errorf("stop leading what comes in to %s: %w", ifbOf(link), err)
		}
	}
	if err := netlink.LinkDel(ifb); err != nil {
		return fmt.Errorf("remove %s: %w", ifbOf(link), err)
	}
	return nil
}

func (n *Netem) send(messages [][]byte, device string) error {
	for _, m := range messages {
		if err := n.tell(m); err != nil {
			what := "netem"
			for _, kind := range []string{"prio", "u32", "ingress"} {
				if strings.Contains(string(m[36:min(len(m), 60)]), kind+"\x00") {
					what = kind
				}
			}
			return fmt.Errorf("%s on %s: %w", what, device, err)
		}
	}
	return nil
}

// Read says what each part has delivered, and what those have that the last Set has ended. Packets are those that came to the
// emulator; of them it tells only how many were dropped, by chance or for want of room: Hit is that for Lose, and all
// for Delay, which holds all.
func (n *Netem) Read(context.Context) (map[string]rule.Report, error) {
	if err := n.settle(); err != nil {
		return nil, err
	}
	all := make(map[string]rule.Report, len(n.parts)+len(n.ended))
	maps.Copy(all, n.ended)
	for part, rules := range n.parts {
		all[part] = n.report(part, rules)
	}
	return all, nil
}

// Close ends everything. It may be called twice.
func (n *Netem) Close() error {
	if n.close == nil {
		return nil
	}
	err := errors.Join(n.clear(), n.close())
	n.close = nil
	return err
}

// clear strips all devices.
func (n *Netem) clear() error {
	now, err := devices()
	if err != nil {
		return err
	}
	var errs []error
	for link := range now {
		errs = append(errs, n.strip(link))
	}
	return errors.Join(errs...)
}

// settle adds to the totals what the emulators have counted since the last time.
func (n *Netem) settle() error {
	now, err := n.read()
	if err != nil {
		return err
	}
	for at, c := range now {
		was, t := n.last[at], n.out
		if at.in {
			t = n.in
		}
		if c.packets < was.packets || c.drops < was.drops || c.bytes < was.bytes {
			was = counts{} // the device is another one
		}
		for i, class := range t {
			if t.handle(i) != at.handle {
				continue
			}
			for _, of := range class.rules {
				d := n.totals[of]
				d.Packets += c.packets + c.drops - was.packets - was.drops
				d.Bytes += c.bytes - was.bytes
				switch n.parts[of.part][of.rule].Act {
				case rule.Lose:
					d.Hit += c.drops - was.drops
				case rule.Delay:
					d.Hit += c.packets + c.drops - was.packets - was.drops
				default: // the kernel does not count what it did of these
				}
				n.totals[of] = d
			}
		}
	}
	n.last = now
	return nil
}

// mark has counting begin at what the emulators have counted.
func (n *Netem) mark() (err error) {
	n.last, err = n.read()
	return err
}

func (n *Netem) read() (map[spot]counts, error) {
	all := make(map[spot]counts)
	for link := range n.devices {
		if len(n.out) > 0 {
			if err := countsOf(link, spot{link: link}, all); err != nil {
				return nil, err
			}
		}
		if len(n.in) == 0 {
			continue
		}
		ifb, err := netlink.LinkByName(ifbOf(link))
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			continue // the device is gone
		}
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", ifbOf(link), err)
		}
		if err := countsOf(ifb.Attrs().Index, spot{link: link, in: true}, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func countsOf(link int, at spot, all map[spot]counts) error {
	list, err := netlink.QdiscList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: link}})
	if err != nil {
		return fmt.Errorf("read the emulators' counters: %w", err)
	}
	for _, q := range list {
		if s := q.Attrs().Statistics; q.Type() == "netem" && s != nil && s.Basic != nil && s.Queue != nil {
			at.handle = q.Attrs().Handle
			all[at] = counts{uint64(s.Basic.Packets), s.Basic.Bytes, uint64(s.Queue.Drops)}
		}
	}
	return nil
}

// devices are those that carry packets to others, and none of ours.
func devices() (map[int]string, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the network's devices: %w", err)
	}
	all := make(map[int]string)
	for _, l := range list {
		if a := l.Attrs(); a.Flags&net.FlagLoopback == 0 && a.Flags&net.FlagUp != 0 && !strings.HasPrefix(a.Name, "tutti") {
			all[a.Index] = a.Name
		}
	}
	return all, nil
}

func ifbOf(link int) string { return fmt.Sprintf("%s%d", ifbPrefix, link) }

// disciplines returns a device's at its root and at its entrance; nil where there is none.
func disciplines(link int) (root, entrance netlink.Qdisc, err error) {
	list, err := netlink.QdiscList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: link}})
	if err != nil {
		return nil, nil, fmt.Errorf("list queueing disciplines: %w", err)
	}
	for _, q := range list {
		switch q.Attrs().Parent {
		case netlink.HANDLE_ROOT:
			root = q
		case netlink.HANDLE_INGRESS:
			entrance = q
		}
	}
	return root, entrance, nil
}

func ours(q netlink.Qdisc) bool { h := q.Attrs().Handle; return h == rootNetem || h == rootPrio }

// free refuses a device that somebody else has put a discipline on: it could not be brought back as it was.
func free(link int, device string) error {
	root, entrance, err := disciplines(link)
	if err != nil {
		return err
	}
	if root != nil && root.Attrs().Handle != 0 && !ours(root) {
		return fmt.Errorf("%s has a queueing discipline already, %s %s, that could not be brought back", device, root.Type(), netlink.HandleStr(root.Attrs().Handle))
	}
	if entrance == nil {
		return nil
	}
	_, err = netlink.LinkByName(ifbOf(link))
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Errorf("%s has a discipline for what comes in already, %s, that could not be brought back", device, entrance.Type())
	}
	return err
}
