package reports

import (
	"math"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
)

// maxStrip is the most columns of a strip.
const maxStrip = 48

// A strip is an arm's time as lines of text: one column for each second, or the worst of several.
type strip struct {
	arm   *arm
	avail string
	p99   string
	force string // in which columns a fault was in force; "" without one

	lowest       float64 // the lowest share in any column
	fastest      float64 // the lowest and highest p99, s
	slowest      float64
	never, blank bool // a column's p99 never came; a column has no data
	seconds      int  // of a column
}

// makeStrips draws the median over each arm's trials. The columns and the scale of times are the same for all.
func (s *sheet) makeStrips() []strip {
	var out []strip
	var all [][]float64
	fastest, columns := 0.0, 0
	for _, a := range s.arms {
		trials, _ := s.shown(a)
		for _, t := range trials {
			columns = max(columns, int(math.Ceil(t.Rec.For.Seconds())))
		}
	}
	step := max(1, (columns+maxStrip-1)/maxStrip)
	for _, a := range s.arms {
		trials, _ := s.shown(a)
		if len(trials) == 0 {
			continue
		}
		one := strip{arm: a, lowest: math.Inf(1), seconds: step}
		shares := worstOf(analysis.Band(trials, availability), step, func(v, worst float64) bool { return v < worst })
		times := worstOf(analysis.Band(trials, p99), step, func(v, worst float64) bool { return v > worst || v == columnNever })
		for _, v := range shares {
			if v >= 0 {
				one.lowest = min(one.lowest, v)
			}
			one.blank = one.blank || v == columnBlank
		}
		for _, v := range times {
			one.never = one.never || v == columnNever
			if v > 0 {
				one.slowest = max(one.slowest, v)
				one.fastest = least(one.fastest, v)
			}
		}
		fastest = least(fastest, one.fastest)
		one.avail, one.force = solid(levels(shares)), forceStrip(trials[0], len(shares), step)
		out, all = append(out, one), append(all, times)
	}
	for i := range out {
		out[i].p99 = solid(sparks(all[i], fastest))
	}
	return out
}

// stripLines are the strips where there is no markup: an arm's name, then what each line is.
func (s *sheet) stripLines() []string {
	var out []string
	for _, x := range s.makeStrips() {
		out = append(out, "", flat(x.arm.Name), x.avail+"  answered OK", x.p99+"  p99, all requests")
		if x.force != "" {
			out = append(out, x.force+"  fault in force")
		}
	}
	return out
}

// What a column holds that has no number.
const (
	columnBlank = -1.0
	columnNever = -2.0
)

// worstOf takes the worst value of every so many seconds.
func worstOf(points []analysis.BandPoint, step int, worse func(v, worst float64) bool) []float64 {
	var out []float64
	for from := 0; from < len(points); from += step {
		worst := columnBlank
		for _, p := range points[from:min(from+step, len(points))] {
			v := columnBlank
			switch p.Mid.State {
			case analysis.OK:
				v = p.Mid.V
			case analysis.Never, analysis.Censored:
				v = columnNever
			case analysis.NoData:
				continue
			}
			if worst == columnBlank || worst != columnNever && worse(v, worst) {
				worst = v
			}
		}
		out = append(out, worst)
	}
	return out
}

// least is the lower of two numbers, of which 0 is none.
func least(a, b float64) float64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// solid has no spaces: where many stand together, pages show one.
func solid(s string) string { return strings.ReplaceAll(s, " ", "·") }

// forceStrip brackets the columns in which a fault of the trial was in force.
func forceStrip(t *analysis.Trial, columns, step int) string {
	cells := []rune(strings.Repeat("·", columns))
	any := false
	at := func(seconds float64) int { return min(max(int(seconds)/step, 0), max(columns-1, 0)) }
	for _, f := range t.Rec.Faults {
		if f.Onset == nil || columns == 0 || f.Onset.To >= t.Rec.For {
			continue
		}
		any = true
		from, to := at(f.Onset.To.Seconds()), columns-1
		if f.Heal != nil {
			to = at(f.Heal.To.Seconds())
		}
		for i := from; i <= to; i++ {
			if cells[i] == '·' {
				cells[i] = '━'
			}
		}
		cells[from], cells[to] = '[', ']'
		if from == to {
			cells[from] = '▲'
		}
	}
	if !any {
		return ""
	}
	return string(cells)
}
