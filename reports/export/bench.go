package export

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
)

// benchmarked are the metrics that a benchmark line has, where the trial has them.
var benchmarked = []string{
	"p50", "p90", "p99", "p999", "availability", "goodput", "longest_silence", "downtime", "recovery", "detection", "lost_requests",
	"lost_writes", "stale_reads", "capacity",
}

// Benchmarks writes one line for each trial that counts, in Go's benchmark format: benchstat compares the trials of two
// runs, and with -col /arm the arms of one. Iterations are the requests of measured load. Times are in ns, ratios in %.
//
// The format has no word for what never came, and leaving out single trials would make the others look better than
// the arm is: a metric that is no number in some trial of an arm is left out of all of them, and a comment says so.
func Benchmarks(w io.Writer, r *tutti.Result, trials []Trial) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# tutti run %s\n", clean(r.Run.ID))
	fmt.Fprintf(&b, "pkg: %s\n", word(r.Run.Name))
	if goos, goarch, ok := strings.Cut(r.Run.Provenance.OS, "/"); ok {
		fmt.Fprintf(&b, "goos: %s\ngoarch: %s\n", word(goos), word(goarch))
	}
	for _, m := range benchmarked {
		if spec, ok := analysis.SpecOf(m); ok && spec.Higher {
			unit, _ := benchUnit(m, spec.Unit)
			fmt.Fprintf(&b, "Unit %s better=higher\n", unit)
		}
	}
	arms := words(names(trials))
	// What stands behind the last dash of a name are processors; without it the end of an arm's own name would be.
	cores, err := strconv.Atoi(r.Run.Provenance.Host["cpus"])
	if err != nil || cores < 1 {
		cores = 1
	}
	refs, notes := benchRefs(trials)
	var labels []string
	for _, keys := range refs {
		for _, key := range keys {
			if _, label := splitRef(key); label != "" {
				labels = append(labels, label)
			}
		}
	}
	slices.Sort(labels) // the arms are in no order
	faults := words(labels)
	for _, note := range notes {
		b.WriteString("# " + clean(note) + "\n")
	}
	for _, t := range trials {
		if !t.Counted {
			fmt.Fprintf(&b, "# block %d, %s left out: it does not count\n", t.Block, clean(t.Arm))
			continue
		}
		if len(refs[t.Arm]) == 0 {
			continue // a line without a number is none
		}
		due := uint64(0)
		measured(t.Of.Rec, func(_ float64, bin *record.Bin) { due += bin.Due })
		fmt.Fprintf(&b, "Benchmark%s/arm=%s-%d %d", camel(r.Run.Name), arms[t.Arm], cores, max(due, 1))
		for _, key := range refs[t.Arm] {
			metric, label := splitRef(key)
			spec, _ := analysis.SpecOf(metric)
			unit, times := benchUnit(strings.Join(nonEmpty(metric, faults[label]), "-"), spec.Unit)
			fmt.Fprintf(&b, " %s %s", strconv.FormatFloat(benchValue(*t.Metrics[key].Value, times), 'f', -1, 64), unit)
		}
		b.WriteByte('\n')
	}
	_, err = w.Write(b.Bytes())
	return err
}

// benchRefs are the keys of the metrics that are numbers in every trial of an arm that counts, and what to say of the others.
func benchRefs(trials []Trial) (refs map[string][]string, notes []string) {
	refs = make(map[string][]string)
	for _, arm := range slices.Compact(slices.Sorted(slices.Values(names(trials)))) {
		numbers, of := make(map[string]int), 0 // in how many trials a key has one
		for _, t := range trials {
			if t.Arm != arm || !t.Counted {
				continue
			}
			of++
			for key, v := range t.Metrics {
				switch {
				case !isBenchmarked(key):
				case v.State == analysis.OK && v.Value != nil:
					numbers[key]++
				default:
					numbers[key] += 0
				}
			}
		}
		for _, key := range slices.SortedFunc(maps.Keys(numbers), byMetric) {
			if n := numbers[key]; n < of {
				notes = append(notes, fmt.Sprintf("%s of arm %s left out: it is no number in %d of %d trials (never, or not while we looked)", key, arm, of-n, of))
				continue
			}
			refs[arm] = append(refs[arm], key)
		}
	}
	return refs, notes
}

// isBenchmarked reports whether a metric is for benchmark lines: over the whole load, or of a fault.
func isBenchmarked(key string) bool {
	metric, _ := splitRef(key)
	return slices.Contains(benchmarked, metric) && !strings.Contains(key, "request=") && !strings.Contains(key, "class=")
}

// byMetric orders keys as the metrics are listed, those of several faults by name.
func byMetric(a, b string) int {
	ma, la := splitRef(a)
	mb, lb := splitRef(b)
	return cmp.Or(slices.Index(benchmarked, ma)-slices.Index(benchmarked, mb), strings.Compare(la, lb))
}

// splitRef takes a metric's key apart: its name, and the fault that it is of.
func splitRef(key string) (metric, fault string) {
	metric, label, _ := strings.Cut(key, "{")
	label = strings.TrimSuffix(label, "}")
	if quoted, ok := strings.CutPrefix(label, "fault="); ok {
		if s, err := strconv.Unquote(quoted); err == nil {
			return metric, s
		}
	}
	return metric, label
}

// benchUnit is a unit of the format for a metric, and what to multiply its value with.
func benchUnit(name string, u analysis.Unit) (unit string, times float64) {
	switch u {
	case analysis.Seconds:
		return name + "-ns", 1e9
	case analysis.Ratio:
		return name + "-pct", 100
	case analysis.PerSecond:
		return name + "/s", 1
	case analysis.Number:
	}
	return name, 1
}

// benchValue multiplies without what the product of binary fractions adds in its last digits.
func benchValue(v, times float64) float64 { return math.Round(v*times*1e6) / 1e6 }

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(s string) bool { return s == "" })
}

// camel makes a benchmark's name of a scenario's: NodeCrash of node-crash.
func camel(s string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r >= 0x80 || !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	if b.Len() == 0 {
		return "Scenario"
	}
	return b.String()
}
