package reports

import (
	"fmt"
	"io"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Compare writes two runs beside each other, for a terminal.
func Compare(w io.Writer, c *tutti.Comparison, o TextOptions) error {
	t := newTerminal(o)
	t.line(t.paint(verdictMark(c.Verdict)+" "+strings.ToUpper(changeWord(c.Verdict, false)), bold+";"+verdictColor(c.Verdict)) + "  " + t.paint(cut(flat(c.Name), t.width-20), bold))
	t.line("")
	for _, side := range []struct {
		what string
		of   tutti.Side
	}{{"was", c.Was}, {"now", c.Now}} {
		line := fmt.Sprintf(" %s  %s  %s, %s", side.what, flat(side.of.File), flat(side.of.Run), plural(side.of.Blocks, "block", "blocks"))
		if v := side.of.Host["tutti"]; v != "" {
			line += ", " + flat(v)
		}
		t.line(line)
	}
	t.line("")
	if len(c.Moved) > 0 {
		t.say("Measured on different machines: " + strings.Join(c.Moved, "; ") + ". Times of different machines say nothing of each other, so only what compares arms inside each run is compared.")
		t.line("")
	}
	objectives, metrics := compareTables(c)
	for _, tab := range []table{objectives, metrics} {
		if err := t.plain(tab); err != nil {
			return fmt.Errorf("drawing the comparison: %w", err)
		}
	}
	for _, r := range c.Reasons {
		t.item(" · ", "   ", r)
	}
	exit := fmt.Sprintf("exit %d", c.ExitCode)
	t.line(strings.Repeat(" ", max(t.width-len(exit), 0)) + exit)
	_, err := w.Write(t.b.Bytes())
	return err
}

// say writes a sentence.
func (t *terminal) say(s string) {
	t.item(" ", " ", s)
}

// compareTables are what objectives are about, and the metrics that have no say.
func compareTables(c *tutti.Comparison) (objectives, metrics table) {
	head := func(what string) []column {
		return []column{left(what), num("was"), num("now"), num("change"), num("95 % interval"), left("verdict")}
	}
	objectives = table{id: "t-compared", head: head("objective")}
	metrics = table{id: "t-compared-metrics", caption: "Metrics, which have no say, each on its own: of twenty one is worse, or better, by chance.", head: head("metric")}
	for _, r := range c.Rows {
		into := &metrics
		if r.Gates {
			into = &objectives
		}
		was, now := sideBySide(r.Was, r.Now, r.Of)
		by := read(r.By, r.Form)
		cells := []cell{text(r.Subject), was, now, {text: by.String(), quiet: by.state != analysis.OK}, {text: by.iv}, verdictCell(r.Verdict, changeWord(r.Verdict, r.Better))}
		if !r.Gates {
			cells[5] = text(changeWord(r.Verdict, r.Better))
		}
		into.add(cells...)
	}
	return objectives, metrics
}

// sideBySide reads two values in one unit, without their intervals.
func sideBySide(a, b rundir.Value, form slo.Form) (cell, cell) {
	sc := scaleOf(a.Unit, form, append(finite(a), finite(b)...)...)
	var cells [2]cell
	for i, v := range []rundir.Value{a, b} {
		r := sc.read(v)
		cells[i] = cell{text: r.String(), quiet: r.state != analysis.OK}
	}
	return cells[0], cells[1]
}

func changeWord(v rundir.Verdict, better bool) string {
	switch {
	case better:
		return "better"
	case v == rundir.Pass:
		return "no worse"
	case v == rundir.Fail:
		return "worse"
	case v == rundir.Inconclusive:
		return "undecided"
	}
	return string(v)
}
