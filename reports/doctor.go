package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter/tw"

	tutti "github.com/tutti-bench/tutti/lib"
)

// Doctor writes a check-up for a terminal: the engine, every verb with the way that serves it or what it lacks, and every primitive
// of the kernel with what was asked of it and delivered.
func Doctor(w io.Writer, c *tutti.Checkup, o TextOptions) error {
	if o.Width != 0 {
		o.Width = max(o.Width, tableWidth) // its tables have no narrower form
	}
	t := newTerminal(o)
	t.facts(c)
	verbs := [][]string{{"VERB", "HERE", "BY"}}
	more := map[int][]string{}
	for _, v := range c.Verbs {
		line := []string{v.Verb, "yes", flat(strings.TrimPrefix(v.Way.Name+": "+v.Way.Means, ": "))}
		if v.Lack != nil {
			line[1], line[2] = "no", flat(v.Lack.Error())
		}
		verbs = append(verbs, line)
		more[len(verbs)-1] = fixes(v)
	}
	if err := t.checks(verbs, more); err != nil {
		return err
	}
	if len(c.Facts.Primitives) == 0 {
		t.line(" This engine has no helpers: nothing of its kernel was tried.")
	} else {
		kernel := [][]string{{"KERNEL", "HERE", "ASKED AND DELIVERED, OR WHY NOT"}}
		more = map[int][]string{}
		for _, name := range slices.Sorted(maps.Keys(c.Facts.Primitives)) {
			p := c.Facts.Primitives[name]
			if p.OK {
				kernel = append(kernel, []string{name, "yes", flat(p.Measure)})
				continue
			}
			kernel = append(kernel, []string{name, "no", flat(p.Why)})
			if p.Serves != "" {
				more[len(kernel)-1] = []string{"→ " + flat(p.Serves)}
			}
		}
		if err := t.checks(kernel, more); err != nil {
			return err
		}
	}
	_, err := w.Write(t.b.Bytes())
	return err
}

// fixes say what else there would be, or what would mend a lack.
func fixes(v tutti.VerbCheckup) []string {
	lack := v.Lack
	if lack == nil {
		return nil
	}
	var all []string
	for _, w := range lack.Ways {
		for _, f := range w.Fixes {
			if line := "→ " + flat(f); !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	return all
}

func (t *terminal) facts(c *tutti.Checkup) {
	t.line(fmt.Sprintf(" engine  %s (%s)", c.Facts.Driver, flat(c.Why)))
	for _, name := range slices.Sorted(maps.Keys(c.Facts.Details)) {
		for i, l := range wrap(flat(c.Facts.Details[name]), t.width-20) {
			if i > 0 {
				name = ""
			}
			t.line(fmt.Sprintf(" %-17s %s", name, l))
		}
	}
	t.line("")
}

// checks draws a table of three columns whose last one is wrapped; more are lines below a row's last column.
func (t *terminal) checks(rows [][]string, more map[int][]string) error {
	room := t.width - widest(rows, 0) - widest(rows, 1) - 6
	var out [][]string
	for i, r := range rows {
		for k, l := range wrap(r[2], room) {
			if k == 0 {
				out = append(out, []string{r[0], r[1], l})
				continue
			}
			out = append(out, []string{"", "", l})
		}
		for _, m := range more[i] {
			for k, l := range wrap(m, room-2) {
				if k > 0 {
					l = "  " + l
				}
				out = append(out, []string{"", "", l})
			}
		}
	}
	lines, err := grid(out, []tw.Align{tw.AlignLeft, tw.AlignLeft, tw.AlignLeft})
	if err != nil {
		return err
	}
	t.head(lines[0])
	for _, l := range lines[1:] {
		t.line(strings.TrimRight(l, " "))
	}
	t.line("")
	return nil
}
