package reports

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// A picture is what stands on the terminal now: the columns of each of its lines.
type picture struct{ lines []int }

// rows is how many rows the picture takes on a terminal of so many columns. One that was made
// narrower has wrapped the lines that no longer fit.
func (p *picture) rows(columns int) int {
	n := 0
	for _, w := range p.lines {
		n++
		if columns > 0 && w > columns {
			n += (w - 1) / columns
		}
	}
	return n
}

// clear wipes the picture line by line: a terminal would keep what is cleared at once for its history.
func (p *picture) clear(b *bytes.Buffer, columns int) {
	if n := p.rows(columns); n > 0 {
		fmt.Fprintf(b, "\x1b[%dA\r%s\x1b[%dA\r\x1b[J", n, strings.Repeat("\x1b[K\n", n), n)
	}
	p.lines = nil
}

// replace redraws in place: up to the first line, each line written and its rest cleared.
func (p *picture) replace(b *bytes.Buffer, lines []string, columns int) {
	if n := p.rows(columns); n > 0 {
		fmt.Fprintf(b, "\x1b[%dA\r", n)
	}
	p.lines = nil
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
		p.lines = append(p.lines, display(sgr.ReplaceAllString(line, "")))
	}
	b.WriteString("\x1b[J")
}

// sgr is what [paint] puts around a text.
var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

func (s *liveState) see(node string) {
	if node != "" && !slices.Contains(s.nodes, node) && len(s.nodes) < 64 {
		s.nodes = append(s.nodes, node)
		slices.Sort(s.nodes)
	}
}

func (s *liveState) bin(b record.Bin) {
	if !s.begun {
		return
	}
	s.bins = append(s.bins, b)
	if len(s.bins) > 2*keepBins {
		slices.SortFunc(s.bins, func(a, b record.Bin) int { return a.Index - b.Index })
		s.bins = slices.Clone(s.bins[len(s.bins)-keepBins:])
	}
	for i := range b.Cells {
		c := &b.Cells[i]
		s.see(c.Node)
		if b.Index >= 0 {
			s.due += c.Count
			if !c.Class.Good() {
				s.bad += c.Count
				s.classes[c.Class] += c.Count
			}
		}
	}
	for n := range b.Tried {
		s.see(n)
	}
}

// event keeps what the picture says of nodes and faults.
func (s *liveState) event(e record.Event, name string) {
	if !s.begun {
		return
	}
	s.see(e.Node)
	switch e.Kind {
	case record.NodeDie, record.NodeOOM, record.NodeRemove:
		s.down[e.Node] = "down"
	case record.NodePause:
		s.down[e.Node] = "frozen"
	case record.NodeStart, record.NodeUnpause:
		delete(s.down, e.Node)
	case record.NodeHealth:
		if e.Detail == "unhealthy" {
			s.down[e.Node] = e.Detail
		} else {
			delete(s.down, e.Node)
		}
	}
	if e.Fault != "" {
		s.force[e.Fault] = name != "heal" && name != "healed" && name != "undone"
		if _, seen := s.began[e.Fault]; !seen {
			s.began[e.Fault] = e.At
		}
	}
	at := strings.Replace(fmt.Sprintf("%5.1f s", e.At.Seconds()), "-", "−", 1)
	s.remember(strings.Repeat(" ", max(0, 7-display(at))) + at + "   " + flat(happened(e, name)))
}

// happened says an event in words.
func happened(e record.Event, name string) string {
	words := map[string]string{
		record.NodeDie: "died", record.NodeStart: "started", record.NodePause: "frozen", record.NodeUnpause: "thawed",
		record.NodeOOM: "out of memory", record.NodeRemove: "removed",
	}
	word, known := words[e.Kind]
	switch {
	case e.Kind == record.NodeHealth:
		return e.Node + " " + e.Detail
	case known && e.Detail != "":
		return e.Node + " " + word + ", " + e.Detail
	case known:
		return e.Node + " " + word
	}
	what, where := strings.Join(nonEmpty(e.Fault, name), " "), strings.Join(nonEmpty(e.Detail, e.Node), " ")
	return strings.Join(nonEmpty(what, where), ": ")
}

func (s *liveState) remember(line string) {
	s.recent = append(s.recent, line)
	if len(s.recent) > maxRecent {
		s.recent = slices.Clone(s.recent[len(s.recent)-maxRecent:])
	}
}

// draw makes the picture's lines. It has the same lines from a trial's beginning to its
// end, so that nothing jumps; events and empty lines give way where the terminal is low. The caller holds the lock.
func (l *Live) draw() []string {
	s, width, height := &l.s, max(min(l.o.Width(), 160), 20)-1, l.o.Height()
	if height <= 0 {
		height = 24
	}
	if !s.begun {
		var out []string
		for _, r := range s.recent[max(0, len(s.recent)-max(height-3, 1)):] {
			out = append(out, cut("  "+flat(r), width))
		}
		return append(out, cut("  "+flat(s.stage), width))
	}
	out := []string{l.headOf(width), "", cut("  "+s.progress(width), width), ""}
	gap := "  "
	if width < 50 {
		gap = " "
	}
	line := func(label, text string) {
		out = append(out, strings.TrimRight(cut(fmt.Sprintf("%s%-11s%s%s", gap, label, gap, text), width), " "))
	}
	v := s.vital(width - len("answered OK") - 2*len(gap))
	if v.rate == "" {
		v.rate = s.sends(s.now())
	}
	if len(gap) == 1 {
		v.rate = strings.Replace(v.rate, ", answered OK ", ", OK ", 1)
	}
	line("rate", v.rate)
	line("p99", v.p99)
	line("answered OK", v.good)
	line("bad so far", v.bad)
	line("nodes", s.nodeLine(width-len("answered OK")-2*len(gap)))
	if f := s.inForce(); f != "" {
		out = append(out, paint(cut(gap+"▲ in force "+gap+f, width), yellow, l.o.Color))
	} else {
		line("in force", strings.Join(nonEmpty("no fault", s.next()), "; "))
	}
	out = append(out, "")
	last := "  Ctrl-C stops"
	if len(s.outcome) > 0 {
		done := strings.Join(s.outcome[max(0, len(s.outcome)-6):], "  ")
		last = cut("  done         "+done, width-15) + "   Ctrl-C stops"
	}
	room := max(0, min(maxRecent, height-2-len(out)))
	recent := s.recent[max(0, len(s.recent)-room):]
	for i := range room {
		text := ""
		if i < len(recent) {
			text = cut("  "+recent[i], width)
		}
		out = append(out, text)
	}
	return lowered(append(out, cut(last, width)), height-1)
}

// lowered drops empty lines, then the last but one, until there are no more than so many.
func lowered(lines []string, most int) []string {
	for i := 0; i < len(lines) && len(lines) > most; {
		if lines[i] == "" {
			lines = slices.Delete(lines, i, i+1)
			continue
		}
		i++
	}
	for len(lines) > max(most, 1) {
		lines = slices.Delete(lines, len(lines)-2, len(lines)-1)
	}
	return lines
}

// headOf is the first line: which trial of how many, and the time left.
func (l *Live) headOf(width int) string {
	t := l.s.trial
	head := fmt.Sprintf("%s   block %d/%d, %s", flat(t.Scenario), t.Block, t.Blocks, flat(t.Arm))
	right := fmt.Sprintf("trial %d/%d", t.N, t.Of)
	if t.Left > 0 {
		left := max(t.Left-time.Since(l.s.since), 0)
		right += "   " + strings.ReplaceAll(rest(left), nb, " ") + " left"
	}
	gap := width - display(head) - display(right)
	if gap < 2 {
		head, gap = cut(head, max(width-display(right)-2, 8)), 2
	}
	if display(head)+gap+display(right) > width {
		return paint(cut(head, width), bold, l.o.Color)
	}
	return paint(head, bold, l.o.Color) + strings.Repeat(" ", gap) + right
}

// progress is the trial's time while load runs, else what is done instead.
func (s *liveState) progress(width int) string {
	now := s.now()
	if s.zero.IsZero() || now < -s.trial.Warmup || now > s.trial.For+time.Second {
		return flat(s.stage)
	}
	return bar(s.trial, now, min(width-24, 56))
}

func (s *liveState) now() time.Duration {
	if s.zero.IsZero() {
		return 0
	}
	return time.Since(s.zero)
}

// bar is the trial's time, the faults as blocks in it.
func bar(t LiveTrial, now time.Duration, width int) string {
	if t.For <= 0 || width < 8 {
		return ""
	}
	at := func(d time.Duration) int { return int(float64(width) * float64(d) / float64(t.For)) }
	cells := []rune(strings.Repeat("─", width))
	here := min(max(at(now), 0), width)
	for i := range here {
		cells[i] = '━'
	}
	for _, f := range t.Faults {
		end := t.For
		if f.For > 0 {
			end = f.At + f.For
		}
		for i := max(at(f.At), 0); i < min(max(at(end), at(f.At)+1), width); i++ {
			cells[i] = '░'
			if i < here {
				cells[i] = '█'
			}
		}
	}
	pos := fmt.Sprintf("%.1f of %s", min(max(now, 0), t.For).Seconds(), strings.ReplaceAll(seconds(t.For.Seconds()), nb, " "))
	if now < 0 {
		pos = fmt.Sprintf("warm-up, %.1f s", -now.Seconds())
	}
	return "▏" + string(cells) + "▏ " + pos
}

// sends is the rate at a moment, or how many users there are.
func (s *liveState) sends(at time.Duration) string {
	at = max(min(at, s.trial.For-1), -s.trial.Warmup)
	if s.trial.Schedule.Closed() {
		return fmt.Sprintf("closed loop, users: %d ", s.trial.Schedule.UsersAt(at))
	}
	return fmt.Sprintf("%.0f /s", s.trial.Schedule.RateAt(at))
}

// vitals are the numbers of the last full second and strips of the last ones.
type vitals struct{ rate, p99, good, bad string }

// A strip has a column for each second, as many as there is room for beside the number.
const (
	liveStrip = 21
	besideIt  = 10
	lastFor   = len("   last 21 s")
)

// vital reads the last full second. Its texts are to have so many columns.
func (s *liveState) vital(width int) vitals {
	type second struct {
		due, good uint64
		ok        record.Hist
	}
	by := make(map[int]*second)
	newest := -1 << 31
	for i := range s.bins {
		b := &s.bins[i]
		k := b.Index / 10
		if b.Index < 0 {
			k = (b.Index - 9) / 10
		}
		if by[k] == nil {
			by[k] = &second{}
		}
		by[k].due += b.Due
		by[k].good += b.Good
		for j := range b.Cells {
			if b.Cells[j].Class.Good() {
				by[k].ok.Merge(b.Cells[j].Response)
			}
		}
		newest = max(newest, k)
	}
	var v vitals
	// The newest second may not be full, and requests of it may be open.
	last := newest - 1
	sec := by[last]
	if sec == nil {
		return v
	}
	var heights, shares []float64
	columns := min(max(width-besideIt, 4), liveStrip)
	for k := last - columns + 1; k <= last; k++ {
		x := by[k]
		if x == nil || x.due == 0 {
			heights, shares = append(heights, -1), append(shares, -1)
			continue
		}
		shares = append(shares, float64(x.good)/float64(x.due))
		if d, ok := percentileOf(&x.ok, x.due, 99); ok {
			heights = append(heights, d.Seconds())
		} else {
			heights = append(heights, -2)
		}
	}
	v.rate = fmt.Sprintf("%-9s due %d, answered OK %d", s.sends(time.Duration(last)*time.Second+time.Second/2), sec.due, sec.good)
	p := "never"
	if d, ok := percentileOf(&sec.ok, sec.due, 99); ok {
		p = strings.ReplaceAll(duration(d), nb, " ")
	}
	v.p99 = fmt.Sprintf("%-9s %s", p, sparks(heights, 0))
	if never := "   × never: over 1 % bad"; strings.Contains(v.p99, "×") && width >= besideIt+columns+display(never) {
		v.p99 += never
	}
	v.good = fmt.Sprintf("%-9s %s", strings.ReplaceAll(percent(float64(sec.good)/float64(max(sec.due, 1))), nb, " "), levels(shares))
	if width >= besideIt+columns+lastFor {
		v.good += fmt.Sprintf("   last %d s", columns)
	}
	if s.due > 0 {
		var parts []string
		for _, c := range record.Classes() {
			if n := s.classes[c]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s %s", count(n), c))
			}
		}
		v.bad = fmt.Sprintf("%-9s %s", count(s.bad), strings.Join(parts, ", "))
	}
	return v
}

// percentileOf is over all requests due: a bad one never arrived.
func percentileOf(ok *record.Hist, due uint64, q uint64) (time.Duration, bool) {
	return ok.Rank((due*q + 99) / 100)
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// sparks draws times on a log scale from lo on, or from their own lowest if lo is 0: × never, a space where
// there is nothing.
func sparks(vs []float64, lo float64) string {
	if lo == 0 {
		for _, v := range vs {
			lo = least(lo, max(v, 0))
		}
	}
	var b strings.Builder
	for _, v := range vs {
		switch {
		case v == -2:
			b.WriteRune('×')
		case v <= 0:
			b.WriteRune(' ')
		default:
			k := 1
			for x := lo * 1.5; x < v && k < len(blocks)-1; x *= 1.8 {
				k++
			}
			b.WriteRune(blocks[k])
		}
	}
	return b.String()
}

// levels draws shares from 0 to 1.
func levels(vs []float64) string {
	var b strings.Builder
	for _, v := range vs {
		switch {
		case v < 0:
			b.WriteRune(' ')
		default:
			b.WriteRune(blocks[min(int(v*float64(len(blocks)-1)), len(blocks)-1)])
		}
	}
	return b.String()
}

// nodeLine lists the nodes with their states. Where they have no room, those in no good one, and how many the others are.
func (s *liveState) nodeLine(room int) string {
	var all, bad []string
	for _, n := range s.nodes {
		if d := s.down[n]; d != "" {
			bad = append(bad, flat(n)+" ✕ "+d)
			all = append(all, bad[len(bad)-1])
			continue
		}
		all = append(all, flat(n)+" ●")
	}
	line := strings.Join(all, "  ")
	if display(line) <= room {
		return line
	}
	if good := len(all) - len(bad); good > 0 {
		bad = append([]string{fmt.Sprintf("%d ●", good)}, bad...)
	}
	return strings.Join(bad, "  ")
}

func (s *liveState) inForce() string {
	var names []string
	for n, on := range s.force {
		if on {
			names = append(names, flat(n))
		}
	}
	slices.Sort(names)
	for i, n := range names {
		for _, f := range s.trial.Faults {
			at, seen := s.began[f.Name]
			if left := at + f.For - s.now(); seen && flat(f.Name) == n && f.For > 0 && left > 0 {
				names[i] += ", " + shortly(left) + " to go"
			}
		}
	}
	return strings.Join(names, "; ")
}

// next says which planned fault comes next, and when; "" if none does.
func (s *liveState) next() string {
	if s.zero.IsZero() {
		return ""
	}
	now, best := s.now(), -1
	for i, f := range s.trial.Faults {
		if _, seen := s.began[f.Name]; !seen && f.At > now && (best < 0 || f.At < s.trial.Faults[best].At) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	f := s.trial.Faults[best]
	return flat(f.Name) + " in " + shortly(f.At-now)
}

// shortly is a short time in tenths of a second.
func shortly(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// progressLine is the last full second for a line of its own, and from when it is.
func (s *liveState) progressLine() string {
	newest := -1 << 31
	var due, good, bad uint64
	var ok record.Hist
	for i := range s.bins {
		newest = max(newest, s.bins[i].Index)
	}
	last := newest/binsPerSecond - 1
	for i := range s.bins {
		b := &s.bins[i]
		if b.Index < 0 || b.Index/binsPerSecond != last {
			continue
		}
		due, good, bad = due+b.Due, good+b.Good, bad+b.Due-b.Good
		for j := range b.Cells {
			if b.Cells[j].Class.Good() {
				ok.Merge(b.Cells[j].Response)
			}
		}
	}
	p := "never"
	if d, found := percentileOf(&ok, due, 99); found {
		p = strings.ReplaceAll(duration(d), nb, "")
	}
	line := fmt.Sprintf("due=%d/s ok=%d/s p99=%s bad=%s", due, good, p, strings.ReplaceAll(count(s.bad), nb, ""))
	if f := s.inForce(); f != "" {
		line += " in force: " + f
	}
	return line
}

const binsPerSecond = int(time.Second / record.Grid)
