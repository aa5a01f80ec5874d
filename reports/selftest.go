package reports

import (
	"fmt"
	"io"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// SelfTest writes whether a gate can fail, for a terminal. file is where the same is for scripts.
func SelfTest(w io.Writer, s *tutti.SelfTest, file string, o TextOptions) error {
	t := newTerminal(o)
	word := map[rundir.Verdict]string{rundir.Pass: "THE GATE BITES", rundir.Fail: "THE GATE DOES NOT BITE", rundir.Inconclusive: "UNDECIDED", rundir.Invalid: "INVALID"}[s.Verdict]
	if word == "" {
		word = strings.ToUpper(verdictWord(s.Verdict))
	}
	t.line(t.paint(verdictMark(s.Verdict)+" "+word, bold+";"+verdictColor(s.Verdict)) + "  " + t.paint(cut(flat(s.Name), t.width-30), bold))
	t.line("")
	if err := t.plain(triedTable(s)); err != nil {
		return fmt.Errorf("drawing the self-test: %w", err)
	}
	if len(s.Never) > 0 {
		t.line(" Never failed, whatever was broken:")
		for _, n := range s.Never {
			line := fmt.Sprintf("%d %s (line %d)", n.Number, n.Objective, n.Line)
			if n.Why != "" {
				line += ": " + n.Why
			}
			t.item("   ", "      ", line)
		}
		t.line("")
	}
	for _, r := range s.Reasons {
		t.item(" · ", "   ", r)
	}
	exit := fmt.Sprintf("exit %d", s.ExitCode)
	p := " " + flat(file)
	t.line(p + strings.Repeat(" ", max(t.width-len(exit)-display(p), 1)) + exit)
	_, err := w.Write(t.b.Bytes())
	return err
}

// triedTable has a row for each run: what was broken, what that came to, and the numbers of the objectives that noticed.
func triedTable(s *tutti.SelfTest) table {
	tab := table{id: "t-selftest", head: []column{left("broken"), left("run says"), left("so it is"), left("objectives that failed")}}
	for _, r := range s.Runs {
		says := quiet("–")
		if r.Verdict != "" {
			says = text(string(r.Verdict))
		}
		tab.add(text(r.Name), says, outcomeCell(r.Outcome), text(bites(r)))
		note := r.Why
		for _, b := range r.Bites {
			if b.Number == 0 { // of equal arms, which the scenario does not number
				note = strings.TrimPrefix(note+"; "+b.Objective, "; ")
			}
		}
		tab.rows[len(tab.rows)-1].note = note
	}
	tab.caption = fmt.Sprintf("%s a run. Objectives by their number in the scenario; in brackets those beyond their limit by the estimate alone, in too few blocks for a verdict.", plural(s.Blocks, "block", "blocks"))
	return tab
}

func outcomeCell(o tutti.Outcome) cell {
	v := map[tutti.Outcome]rundir.Verdict{
		tutti.Caught: rundir.Pass, tutti.Quiet: rundir.Pass, tutti.Missed: rundir.Fail, tutti.Alarm: rundir.Fail,
		tutti.Likely: rundir.Inconclusive, tutti.Unknown: rundir.Invalid,
	}[o]
	if v == "" {
		return quiet(string(o))
	}
	return verdictCell(v, string(o))
}

func bites(r tutti.Tried) string {
	var sure, likely []string
	for _, b := range r.Bites {
		name := fmt.Sprint(b.Number)
		if b.Number == 0 {
			name = "see below"
		}
		if b.Beyond {
			likely = append(likely, name)
		} else {
			sure = append(sure, name)
		}
	}
	all := strings.Join(sure, ", ")
	if len(likely) > 0 {
		all = strings.TrimSpace(all + " (" + strings.Join(likely, ", ") + ")")
	}
	return all
}
