package reports

import (
	"fmt"
	"io"
	"math"
	"strings"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Noise writes how much equal arms differed, for a terminal, and the margins that so many blocks can decide.
func Noise(w io.Writer, n *rundir.NoiseFile, blocks int, o TextOptions) error {
	t := newTerminal(o)
	t.line(" " + flat(fmt.Sprintf("%s: arm %s twice, %s", n.Name, n.Arm, plural(n.Blocks, "block", "blocks"))))
	t.line("")
	if err := t.plain(noiseTable(n, blocks)); err != nil {
		return fmt.Errorf("drawing the table of noise: %w", err)
	}
	t.say(fmt.Sprintf("Equal arms pass with nine of ten runs of %s from this margin on; a smaller one is refused by --noise.", plural(blocks, "block", "blocks")))
	if biased := tutti.Biased(n); len(biased) > 0 {
		t.say("Equal arms were apart by more than chance explains in " + strings.Join(biased, ", ") + ": something favours one of them, or it is the one in twenty that is so by chance.")
	}
	_, err := w.Write(t.b.Bytes())
	return err
}

func noiseTable(n *rundir.NoiseFile, blocks int) table {
	tab := table{id: "t-noise", head: []column{left("metric"), num("equal arms"), num("95 % interval"), num("noise of one"), num("margin from")}}
	for _, m := range n.Metrics {
		form := slo.Difference
		if m.Relative {
			form = slo.Ratio
		}
		r := read(m.Apart, form)
		if m.SD == nil {
			tab.add(text(m.Metric), r.cell(false), quiet(""), quiet("–"), quiet("–"))
			tab.rows[len(tab.rows)-1].cells[1].iv = ""
			tab.rows[len(tab.rows)-1].note = m.Why
			continue
		}
		of := tutti.Noise{Relative: m.Relative, Unit: m.Unit, SD: *m.SD}
		iv := r.iv
		r.iv = ""
		tab.add(text(m.Metric), r.cell(false), text(iv), text(sayNoise(of)), text(sayMargin(of.Resolves(blocks, false), of)))
	}
	return tab
}

// sayMargin writes a margin as a scenario file has it.
func sayMargin(v float64, n tutti.Noise) string {
	switch {
	case math.IsInf(v, 0) || math.IsNaN(v):
		return "–"
	case !n.Relative && n.Unit == analysis.Number:
		s := scale{times: 1}
		return s.format(v, s.decimals(v))
	}
	s := scale{times: 100, unit: "%"}
	return join(s.format(v, s.decimals(v)), s.unit)
}
