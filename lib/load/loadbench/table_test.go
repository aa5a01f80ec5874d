//go:build linux

package loadbench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The marks between which the table stands in the README.
const from, to = "<!-- bench: made by `make bench` -->", "<!-- /bench -->"

const head = "| row | figure | goal | median | lowest … highest | | |\n|---|---|---|---|---|---|---|\n"

// lines are a row's part of the table: what it is, and its figures.
func (r row) lines(all []round) []string {
	var others []float64
	for _, x := range all {
		others = append(others, x.Others)
	}
	when := all[len(all)-1].At.Format("2 January 2006")
	if len(all) > 1 {
		when = fmt.Sprintf("%d rounds, %s", len(all), when)
	}
	out := []string{line("**"+r.name+"**", r.title, "", "", "", "", fmt.Sprintf("%s; other programs had %.1f %% of the processors, %.1f %% at most", when, median(others), slices.Max(others)))}
	for _, f := range r.figures {
		out = append(out, f.line(r.name, all))
	}
	return out
}

func line(cells ...string) string {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(c), " "), "|", "\\|")
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

func (f figure) line(name string, all []round) string {
	var medians, spreads []string
	mark, lacking := "", ""
	for _, p := range f.parts {
		v, trouble := p.of(all)
		if len(v) == 0 {
			if trouble == "" {
				trouble = "nothing to compare with"
			}
			return line(name, f.what, f.goal.String(), "none: "+trouble, "", f.goal.missed(), "")
		}
		m := median(v)
		medians, spreads = append(medians, p.format(m)), append(spreads, span(v))
		if len(v) < len(all) {
			lacking = fmt.Sprintf(" (%d of %d rounds have none: %s)", len(all)-len(v), len(all), trouble)
		}
		if f.goal.there() {
			mark = f.goal.judge(v, m)
		}
	}
	return line(name, f.what, f.goal.String(), strings.Join(medians, " · "), strings.Trim(strings.Join(spreads, " · "), "· ")+lacking, mark, "")
}

// span is the lowest and the highest of the rounds; nothing, if there was one.
func span(v []float64) string {
	low, high := number(slices.Min(v)), number(slices.Max(v))
	switch {
	case len(v) == 1:
		return ""
	case low == high:
		return low
	}
	return low + " … " + high
}

// of is the part's value in each round that has one, and why another has none.
func (p part) of(all []round) (v []float64, trouble string) {
	who, _, _ := strings.Cut(p.key, " ")
	for _, x := range all {
		if n, ok := x.Values[p.key]; ok {
			v = append(v, n)
		} else if why := x.Trouble[who]; why != "" {
			trouble = why
		}
	}
	return v, trouble
}

func (p part) format(x float64) string {
	switch {
	case p.unit == "" || x == never:
		return number(x)
	case p.unit == "/s":
		return number(x) + p.unit
	}
	return number(x) + " " + p.unit
}

// number writes three digits or so.
func number(x float64) string {
	switch a := max(x, -x); {
	case x == never:
		return "never"
	case a >= 1000:
		s := strconv.FormatFloat(x, 'f', 0, 64)
		for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
		return s
	case x == float64(int(x)):
		return strconv.Itoa(int(x))
	case a >= 99.5 && a < 100.5: // shares
		return strconv.FormatFloat(x, 'f', 2, 64)
	case a >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case a < 0.1:
		return strconv.FormatFloat(x, 'f', 3, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

func (g goal) there() bool { return g.none || g.atLeast > 0 || g.atMost > 0 }

func (g goal) String() string {
	s := ""
	switch {
	case g.none:
		s = "0"
	case g.atLeast > 0:
		s = "≥ " + strconv.FormatFloat(g.atLeast, 'f', -1, 64)
	case g.atMost > 0:
		s = "≤ " + strconv.FormatFloat(g.atMost, 'f', -1, 64)
	}
	if g.always {
		s += " always"
	}
	return s
}

const hit, miss = "✔", "**miss**"

// judge says whether a goal is hit by rounds with this median.
func (g goal) judge(v []float64, median float64) string {
	low, high := median, median
	if g.always {
		low, high = slices.Min(v), slices.Max(v)
	}
	if g.atLeast > 0 && !(low >= g.atLeast) || (g.atMost > 0 || g.none) && !(high <= g.atMost) {
		return miss
	}
	return hit
}

// missed is the mark of a goal without figures.
func (g goal) missed() string {
	if !g.there() {
		return ""
	}
	return miss
}

// writeTable puts a row's lines into the table of a Markdown file. Lines of other rows stay if they are from this machine.
func writeTable(file, machine, name string, lines []string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), from)
	old, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks %s … %s are missing", file, from, to)
	}
	by := map[string][]string{name: lines}
	if strings.Contains(old, "\n"+machine+"\n") {
		_, body, _ := strings.Cut(old, head)
		for l := range strings.Lines(body) {
			cells := strings.SplitN(l, "|", 3)
			if len(cells) < 3 {
				continue
			}
			if of := strings.Trim(cells[1], " *"); of != name {
				by[of] = append(by[of], strings.TrimSpace(l))
			}
		}
	}
	var b strings.Builder
	b.WriteString(before + from + "\n" + machine + "\n\n" + head)
	for _, r := range rows(full) {
		for _, l := range by[r.name] {
			b.WriteString(l + "\n")
		}
	}
	b.WriteString(to + after)
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func TestTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(file, []byte("before\n"+from+"\n"+to+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	r := row{name: "speed", title: "fast", figures: []figure{
		{what: "a ÷ b", parts: []part{{"a ratio", "×"}}, goal: goal{atLeast: 0.5}},
		{what: "a ÷ c", parts: []part{{"a other", "×"}}, goal: goal{atLeast: 0.5}},
		{what: "a", parts: []part{{"a rate", "/s"}, {"a cpu", "µs"}}},
		{what: "b", parts: []part{{"b rate", "/s"}}, goal: goal{atMost: 1}},
		{what: "d", parts: []part{{"d off", ""}}, goal: goal{none: true, always: true}},
	}}
	r.figures = append(r.figures, figure{what: "e", parts: []part{{"e rate", "/s"}, {"e cpu", "µs"}}})
	var all []round
	for i := range 3 {
		x := float64(i)
		all = append(all, round{At: at, Others: x, found: found{
			map[string]float64{"a ratio": 0.5 + x/10, "a other": 0.3 + x/10, "a rate": 123456 + x, "a cpu": never, "d off": max(x-1, 0)}, map[string]string{"b": "it | broke\nand how"},
		}})
	}
	delete(all[1].Values, "a rate")
	delete(all[1].Values, "a cpu")
	all[1].Trouble["a"] = "it hung"
	if err := writeTable(file, "a machine", "speed", r.lines(all)); err != nil {
		t.Fatal(err)
	}
	if err := writeTable(file, "a machine", "stall", []string{"| **stall** | x |", "| stall | y |"}); err != nil {
		t.Fatal(err)
	}
	want := "before\n" + from + "\na machine\n\n" + head +
		`| **speed** | fast |  |  |  |  | 3 rounds, 29 November 2026; other programs had 1.0 % of the processors, 2.0 % at most |
| speed | a ÷ b | ≥ 0.5 | 0.60 × | 0.50 … 0.70 | ✔ |  |
| speed | a ÷ c | ≥ 0.5 | 0.40 × | 0.30 … 0.50 | **miss** |  |
| speed | a |  | 123,457/s · never | 123,456 … 123,458 · never (1 of 3 rounds have none: it hung) |  |  |
| speed | b | ≤ 1 | none: it \| broke and how |  | **miss** |  |
| speed | d | 0 always | 0 | 0 … 1 | **miss** |  |
| speed | e |  | none: nothing to compare with |  |  |  |
| **stall** | x |
| stall | y |
` + to + "\nafter\n"
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%v, the file is\n%s\nwant\n%s", err, got, want)
	}
	if err := writeTable(file, "another machine", "stall", []string{"| **stall** | z |"}); err != nil {
		t.Fatal(err)
	}
	if got, err = os.ReadFile(file); err != nil || strings.Contains(string(got), "speed") || !strings.Contains(string(got), "another machine") {
		t.Errorf("figures of two machines in one table: %s", got)
	}
}
