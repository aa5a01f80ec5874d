// Package export writes what a run has measured in the formats of other tools: histogram logs of HdrHistogram,
// benchmark lines of Go for benchstat, CSV, and results of vegeta.
//
// Numbers are as measured, in base units and without rounding. What never came is in no format a number of ours:
// each says how it stands there. Names come from a target and stay text: no format is steered by one.
package export

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// A Trial is one trial of a run: what run.json says of it, and its recording.
type Trial struct {
	rundir.Trial
	Of *analysis.Trial
}

// Trials are those of a run in the order in which they ran, of one arm ("" is all) and one block (0 is all). It is an
// error if there is none.
func Trials(r *tutti.Result, arm string, block int) ([]Trial, error) {
	var out []Trial
	for i, t := range r.Run.Trials {
		if arm != "" && t.Arm != arm || block != 0 && t.Block != block {
			continue
		}
		if i >= len(r.Trials) || r.Trials[i] == nil {
			return nil, fmt.Errorf("block %d, arm %s has no recording", t.Block, t.Arm)
		}
		out = append(out, Trial{t, r.Trials[i]})
	}
	switch {
	case len(out) > 0:
		return out, nil
	case arm != "" && !slices.Contains(r.Run.ArmOrder, arm):
		return nil, fmt.Errorf("there is no arm %q; the run has %s", clean(arm), clean(strings.Join(r.Run.ArmOrder, ", ")))
	}
	return nil, fmt.Errorf("there is no such trial: %d ran", len(r.Run.Trials))
}

// clean makes one line of text that steers nothing: not a terminal, not a format of lines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// word makes a name of a text for formats in which names have letters, digits and few signs only.
func word(s string) string {
	w := strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)) {
			return r
		}
		return '_'
	}, s)
	return cmp.Or(w, "_")
}

// words makes such names of texts, so that different ones stay different.
func words(texts []string) map[string]string {
	out, taken := make(map[string]string), make(map[string]bool)
	for _, s := range texts {
		if _, seen := out[s]; seen {
			continue
		}
		w := word(s)
		for n := 2; taken[w]; n++ {
			w = fmt.Sprintf("%s_%d", word(s), n)
		}
		out[s], taken[w] = w, true
	}
	return out
}

// label is what a trial is called where only a word can be: ARM-BLOCK.
func label(t Trial, arms map[string]string) string { return fmt.Sprintf("%s-%d", arms[t.Arm], t.Block) }

// names of the arms that trials are of, in order.
func names(trials []Trial) []string {
	var out []string
	for _, t := range trials {
		out = append(out, t.Arm)
	}
	return out
}

// measured are the bins of measured load with the moment of each, since the trial's zero: of a search those of all its holds.
func measured(r *record.Recording, f func(at float64, b *record.Bin)) {
	each := func(bins []record.Bin, from, length float64) {
		for i := range bins {
			if b := &bins[i]; b.Index >= 0 && b.Start().Seconds() < length {
				f(from+b.Start().Seconds(), b)
			}
		}
	}
	each(r.Bins, 0, r.For.Seconds())
	for i := range r.Holds {
		each(r.Holds[i].Bins, r.Holds[i].At.Seconds(), r.Holds[i].For.Seconds())
	}
}
