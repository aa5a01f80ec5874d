package reports

import (
	"math"
	"strconv"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/slo"
)

// nb stands between a number and its unit, so that no line breaks there.
const nb = "\u00a0"

// A reading is a value as it is printed: a number of three significant digits, its
// unit, and its interval in the same unit and with the same decimals.
type reading struct {
	num   string // or "never", "no data"
	unit  string
	iv    string // "1.20 – 1.45", "" where there is no interval
	state analysis.State
}

// String is number and unit.
func (r reading) String() string { return join(r.num, r.unit) }

func join(num, unit string) string {
	if unit == "" || num == "" {
		return num
	}
	return num + nb + unit
}

// A scale turns a value into a number of some unit that is pleasant to read.
type scale struct {
	times  float64
	unit   string
	signed bool // always with + or −
	ratio  bool // a share in percent: two decimals, and never 100 for what is less
	whole  bool // a count
	prefix string
}

// scaleOf chooses the scale for values that stand side by side.
func scaleOf(unit analysis.Unit, form slo.Form, values ...float64) scale {
	if form == slo.Ratio {
		return scale{times: 1, prefix: "×" + nb}
	}
	s := scale{times: 1, signed: form == slo.Difference}
	switch unit {
	case analysis.Ratio:
		s.times, s.unit, s.ratio = 100, "%", true
		if form == slo.Difference {
			s.unit, s.ratio = "points", false
		}
	case analysis.PerSecond:
		s.unit = "/s"
	case analysis.Number:
		s.whole = true
		for _, v := range values {
			s.whole = s.whole && v == math.Trunc(v)
		}
	case analysis.Seconds:
		s.times, s.unit = timeScale(values)
	}
	return s
}

// timeScale takes the largest value's unit, unless the smallest would lose its digits in it.
func timeScale(values []float64) (times float64, unit string) {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if v = math.Abs(v); v > 0 && !math.IsInf(v, 0) && !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	units := []struct {
		times float64
		name  string
	}{{1, "s"}, {1e3, "ms"}, {1e6, "µs"}}
	if hi == 0 {
		return 1e3, "ms"
	}
	i := 0
	for i < 2 && round3(hi)*units[i].times < 1 {
		i++
	}
	for i < 2 && lo*units[i].times < 0.1 {
		i++
	}
	return units[i].times, units[i].name
}

// round3 rounds to three significant digits.
func round3(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// decimals is how many digits behind the point give v three significant digits.
func (s scale) decimals(v float64) int {
	v = math.Abs(v * s.times)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0) || s.whole:
		return 0
	case s.ratio:
		return ratioDecimals(v)
	case v == 0:
		return 0
	}
	return min(max(2-int(math.Floor(math.Log10(round3(v)))), 0), 6)
}

// ratioDecimals is two, or as many as it takes to tell a share from none and from all.
func ratioDecimals(percent float64) int {
	for d := 2; d < 6; d++ {
		r, _ := strconv.ParseFloat(strconv.FormatFloat(percent, 'f', d, 64), 64)
		if (r != 0 || percent == 0) && (r != 100 || percent == 100) {
			return d
		}
	}
	return 6
}

// format writes v with so many decimals, a real minus and thousands apart.
func (s scale) format(v float64, decimals int) string {
	v *= s.times
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "no data"
	}
	t := strconv.FormatFloat(math.Abs(v), 'f', decimals, 64)
	whole, frac, _ := strings.Cut(t, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if frac != "" {
		whole += "." + frac
	}
	zero := strings.Trim(t, "0.") == ""
	switch {
	case v < 0 && !zero:
		return "−" + whole
	case s.signed && v > 0 && !zero:
		return "+" + whole
	}
	return whole
}

// short writes v without needless zeros, as a limit is written.
func (s scale) short(v float64) string {
	t := s.format(v, s.decimals(v))
	if strings.Contains(t, ".") {
		t = strings.TrimRight(strings.TrimRight(t, "0"), ".")
	}
	return t
}

// read makes a value readable on its own.
func read(v rundir.Value, form slo.Form) reading {
	return scaleOf(v.Unit, form, finite(v)...).read(v)
}

// finite lists what of a value can be put on a scale. A low end that is far below the
// estimate does not count: the scale is the estimate's.
func finite(v rundir.Value) []float64 {
	if v.State == analysis.NoData {
		return nil
	}
	var out []float64
	for _, p := range []*float64{v.Value, v.High} {
		if p != nil {
			out = append(out, *p)
		}
	}
	return out
}

func (s scale) read(v rundir.Value) reading {
	r := reading{state: v.State}
	switch {
	case v.State == analysis.Never:
		r.num = "never"
	case v.State == analysis.Censored && v.Value != nil:
		r.num, r.unit = ">"+nb+s.prefix+s.short(*v.Value), s.unit
	case v.State == analysis.OK && v.Value != nil && !math.IsNaN(*v.Value):
		r.num, r.unit = s.prefix+s.format(*v.Value, s.decimals(*v.Value)), s.unit
	default:
		r.num, r.state = "no data", analysis.NoData
		return r
	}
	r.iv = s.interval(v)
	return r
}

// interval writes the interval's ends with the decimals of the estimate. An end that
// is not finite is "never" for a time, and left out for anything else.
func (s scale) interval(v rundir.Value) string {
	if v.Low == nil && v.High == nil {
		return ""
	}
	d := 0
	for _, p := range []*float64{v.Value, v.Low, v.High} {
		if p != nil {
			d = s.decimals(*p)
			break
		}
	}
	if s.ratio && v.Low != nil && v.High != nil {
		d = max(d, s.decimals(*v.Low), s.decimals(*v.High))
	}
	plain := s
	plain.signed = false
	switch {
	case v.High == nil && v.Unit == analysis.Seconds:
		return plain.format(*v.Low, d) + nb + "–" + nb + "never"
	case v.High == nil:
		return "≥" + nb + plain.format(*v.Low, d)
	case v.Low == nil && v.Unit == analysis.Seconds:
		return "≤" + nb + plain.format(*v.High, d)
	case v.Low == nil:
		return "≤" + nb + plain.format(*v.High, d)
	}
	return plain.format(*v.Low, d) + nb + "–" + nb + plain.format(*v.High, d)
}

// count writes a whole number, thousands apart.
func count(n uint64) string { return scale{times: 1, whole: true}.format(float64(n), 0) }

// seconds writes a length of time on its own, without needless zeros.
func seconds(v float64) string {
	s := scaleOf(analysis.Seconds, slo.Absolute, v)
	if v == 0 {
		return "0" + nb + "s"
	}
	return join(s.short(v), s.unit)
}

// plural is "1 block", "2 blocks".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1" + nb + one
	}
	return count(uint64(max(n, 0))) + nb + many
}

// visible shows what would steer a terminal or reorder a line instead of obeying it:
// control characters, bidirectional overrides, invisible and broken characters, and what no XML may hold.
func visible(s string) string {
	if !strings.ContainsFunc(s, steers) {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case !steers(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + strconv.FormatInt(int64(r)+0x100, 16)[1:])
		case r < 0x10000:
			b.WriteString(`\u` + strconv.FormatInt(int64(r)+0x10000, 16)[1:])
		default:
			b.WriteString(`\U` + strconv.FormatInt(int64(r)+0x1_0000_0000, 16)[1:])
		}
	}
	return b.String()
}

func steers(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0, r == 0x61c, r == 0xad, r == 0xfeff:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r >= 0xfff9 && r <= 0xfffb, r >= 0xd800 && r <= 0xdfff:
		return true
	case r&0xfffe == 0xfffe, r >= 0xe0000 && r <= 0xe007f: // no characters, and tags, which nobody sees
		return true
	}
	return false
}
