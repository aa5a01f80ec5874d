package reports

import (
	"fmt"
	"io"
	"math"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

// Power writes how many blocks wanted effects need, for a terminal.
func Power(w io.Writer, p *tutti.Power, o TextOptions) error {
	t := newTerminal(o)
	t.line(" " + flat(p.Run.Name) + ", by the noise of run " + flat(p.Run.ID))
	t.line("")
	if err := t.plain(powerTable(p)); err != nil {
		return fmt.Errorf("drawing the table of blocks: %w", err)
	}
	t.say("An effect is shown with 95 % confidence in nine of ten runs of so many blocks. In brackets: if the noise is as large as it may well be" +
		" (upper 80 % bound), measured in so few blocks.")
	_, err := w.Write(t.b.Bytes())
	return err
}

func powerTable(p *tutti.Power) table {
	tab := table{id: "t-power", head: []column{num("effect"), num("blocks"), num("takes"), num("noise of one"), num("measured in")}}
	for _, r := range p.Rows {
		tab.group(r.Name)
		if r.Why != "" {
			tab.add(quiet("–"), quiet("–"), quiet("–"), quiet("–"), quiet(plural(r.Noise.N, "block", "blocks")))
			tab.rows[len(tab.rows)-1].note = r.Why
			continue
		}
		for _, n := range r.Needs {
			tab.add(text(sayEffect(n.Effect, r.Noise)), text(fewOrMany(n.Blocks, n.Most)), text(takes(p.PerBlock, n.Blocks, n.Most)),
				text(sayNoise(r.Noise)), text(plural(r.Noise.N, "block", "blocks")))
		}
	}
	return tab
}

// sayNoise writes a standard deviation: of logarithms as a share.
func sayNoise(n tutti.Noise) string {
	if n.Relative {
		s := scale{times: 100, unit: "%"}
		v := math.Expm1(n.SD)
		return "±" + nb + join(s.format(v, s.decimals(v)), s.unit)
	}
	s := scaleOf(n.Unit, slo.Difference, n.SD)
	s.signed = false
	return "±" + nb + join(s.format(n.SD, s.decimals(n.SD)), s.unit)
}

func sayEffect(e tutti.Effect, n tutti.Noise) string {
	if !n.Relative && n.Unit == analysis.Ratio {
		s := scaleOf(analysis.Ratio, slo.Difference, e.V)
		s.signed = false
		return join(s.short(e.V), s.unit)
	}
	if !e.Percent {
		return e.String()
	}
	s := scale{times: 100, unit: "%"}
	return join(s.short(e.V), s.unit)
}

func fewOrMany(blocks, most int) string {
	say := func(n int) string {
		if n == 0 {
			return "too many"
		}
		return count(uint64(n))
	}
	if blocks == most {
		return say(blocks)
	}
	return say(blocks) + " (" + say(most) + ")"
}

// takes is how long so many blocks take, in minutes.
func takes(per time.Duration, blocks, most int) string {
	if per == 0 || blocks == 0 {
		return "–"
	}
	say := func(n int) string { return count(uint64(math.Ceil((time.Duration(n) * per).Minutes()))) }
	if most == 0 || most == blocks {
		return say(blocks) + nb + "min"
	}
	return say(blocks) + " (" + say(most) + ")" + nb + "min"
}
