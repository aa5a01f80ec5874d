package main

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// marks stand around what this program writes into a README.
type marks struct{ begin, end string }

func tableMarks() marks { return marks{"<!-- suite:begin -->", "<!-- suite:end -->"} }
func gateMarks() marks  { return marks{"<!-- gates:begin -->", "<!-- gates:end -->"} }

// fewBlocks is how many blocks give an exact interval.
const fewBlocks = 6

// rewrite puts text between the marks of a file.
func (m marks) rewrite(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b, err = m.between(b, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, b, info.Mode().Perm())
}

// between puts text between the marks.
func (m marks) between(b []byte, text string) ([]byte, error) {
	head, rest, ok := bytes.Cut(b, []byte(m.begin))
	_, tail, end := bytes.Cut(rest, []byte(m.end))
	if !ok || !end || bytes.Contains(tail, []byte(m.begin)) {
		return nil, fmt.Errorf("it wants one %s with one %s after it", m.begin, m.end)
	}
	return slices.Concat(head, []byte(m.begin+"\n"+strings.TrimSpace(text)+"\n"+m.end), tail), nil
}

// scenarioTable is what the shipped scenarios found. The rows of those that were not run come from the table before it,
// as long as they claim the same.
func scenarioTable(outcomes []*outcome, before map[string]string) string {
	var b strings.Builder
	b.WriteString("| scenario | claim | arms | blocks | available, or capacity | back after | lost writes | verdict | run |\n|---|---|---|---|---|---|---|---|---|\n")
	var spoiled, skipped []string
	for _, o := range outcomes {
		name := o.job.scenario.Name
		row := []string{fmt.Sprintf("[%s](%s.yaml)", name, name), cell(o.job.scenario.Hypothesis), arms(o), "–", "–", "–", "–", "not run", "–"}
		if o.Run == nil {
			head := "| " + strings.Join(row[:3], " | ") + " | "
			if old := before[name]; o.Failed == "" && strings.HasPrefix(old, head) && !strings.HasPrefix(old, head+"– |") {
				b.WriteString(old + "\n")
				continue
			}
			skipped = append(skipped, fmt.Sprintf("- %s: %s", name, cell(strings.TrimPrefix(o.unrun(), "not run: "))))
		} else {
			row[8] = cell(strings.Join(conditions(o), ", "))
			row[3] = blocks(o)
			row[4] = byArm(o.Run, func(string, rundir.Arm) []string { return []string{"availability", "capacity"} }) // a search has no availability
			row[5] = byArm(o.Run, recoveries)
			row[6] = byArm(o.Run, losses)
			row[7] = verdict(o.Run)
		}
		if len(o.Spoiled) > 0 {
			spoiled = append(spoiled, fmt.Sprintf("- %s was run %d times; before, it was invalid: %s", name, len(o.Spoiled)+1, cell(strings.Join(o.Spoiled, "; "))))
		}
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	b.WriteString("\nOf several faults the longest recovery counts. In brackets is the 95 % interval, which takes six blocks; with fewer, \"few\", absolute\nobjectives are judged on the worst trial and comparisons of arms are inconclusive.\n")
	list(&b, "Not run:", skipped)
	list(&b, "Run again:", spoiled)
	return b.String()
}

// defectTable is which defects were found.
func defectTable(results []result) string {
	var b strings.Builder
	var all []*outcome
	for _, r := range results {
		all = append(all, r.outcomes...)
	}
	b.WriteString("**" + strings.ToUpper(summary(results)[:1]) + summary(results)[1:] + ".** " + facts(all))
	b.WriteString("| defect | claim | what must fail, and what was found | mended | |\n|---|---|---|---|---|\n")
	var notes []string
	for _, r := range results {
		defect := r.Defect
		if defect == "" {
			defect = "none"
		}
		j := r.outcomes[0].job
		b.WriteString("| " + strings.Join([]string{
			fmt.Sprintf("[%s](%s.yaml): %s", r.Name, r.Name, cell(defect)), cell(j.scenario.Hypothesis),
			r.found(r.Fails), r.found(r.Holds), r.said(),
		}, " | ") + " |\n")
		if why := r.outcomes[0].Skipped; why != "" && r.unrun() == len(r.outcomes) {
			notes = append(notes, fmt.Sprintf("- %s: %s", r.Name, cell(why)))
			continue
		}
		for _, o := range r.outcomes {
			switch {
			case o.Run == nil:
				notes = append(notes, fmt.Sprintf("- %s: %s", o.job.name, cell(o.unrun())))
			default:
				if err := r.check(o.Run); err != nil {
					notes = append(notes, fmt.Sprintf("- %s: %s", o.job.name, cell(strings.ReplaceAll(err.Error(), "\n", "; "))))
				}
			}
			if len(o.Spoiled) > 0 {
				notes = append(notes, fmt.Sprintf("- %s was run %d times; before, it was invalid: %s", o.job.name, len(o.Spoiled)+1, cell(strings.Join(o.Spoiled, "; "))))
			}
		}
	}
	list(&b, "Not as expected, not run, or run again:", notes)
	return b.String()
}

func list(b *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		b.WriteString("\n" + title + "\n\n" + strings.Join(lines, "\n") + "\n")
	}
}

// found lists objectives with what was found of each, over all runs.
func (r result) found(names []string) string {
	var parts []string
	for _, name := range names {
		var values []string
		for _, o := range r.outcomes {
			if o.Run == nil {
				continue
			}
			for _, obj := range o.Run.Objectives {
				if v := show(obj.Value); obj.Name == name && !slices.Contains(values, v) {
					values = append(values, v)
				}
			}
		}
		slices.Sort(values)
		text := "not measured"
		switch {
		case len(values) > 2:
			text = values[0] + " … " + values[len(values)-1]
		case len(values) > 0:
			text = strings.Join(values, ", ")
		}
		parts = append(parts, code(name)+" "+text)
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, "<br>")
}

// said is what came of all runs.
func (r result) said() string {
	if len(r.outcomes) > 1 {
		return fmt.Sprintf("%s %d of %d", map[bool]string{true: "clean", false: "found"}[r.Defect == ""], r.good(), len(r.outcomes))
	}
	if w := r.word(r.outcomes[0]); w != "missed" && w != "not clean" {
		return w
	}
	return "**" + r.word(r.outcomes[0]) + "**"
}

// arms are the names of a scenario's arms.
func arms(o *outcome) string {
	names := make([]string, len(o.job.scenario.Arms))
	for i, a := range o.job.scenario.Arms {
		names[i] = a.Name
	}
	return strings.Join(names, ", ")
}

// blocks is how many blocks count, and whether they are few.
func blocks(o *outcome) string {
	counted := make(map[int]bool)
	for _, t := range o.Run.Trials {
		if t.Counted {
			counted[t.Block] = true
		}
	}
	text := strconv.Itoa(len(counted))
	if o.job.scenario.Repeats > len(counted) {
		text += fmt.Sprintf(" of %d", o.job.scenario.Repeats)
	}
	if len(counted) < fewBlocks {
		text += ", few"
	}
	return text
}

// byArm shows of every arm the worst of the metrics that keys names.
func byArm(r *rundir.Run, keys func(name string, a rundir.Arm) []string) string {
	var parts []string
	for _, name := range r.ArmOrder {
		worst, any := rundir.Value{}, false
		for _, key := range keys(name, r.Arms[name]) {
			if v, ok := r.Arms[name].Metrics[key]; ok && (!any || rank(v) > rank(worst)) {
				worst, any = v, true
			}
		}
		if any && worst.State != analysis.NoData {
			parts = append(parts, name+" "+show(worst))
		}
	}
	if len(parts) == 0 {
		return "–"
	}
	return strings.Join(parts, "<br>")
}

// rank orders values of which less is better: "never" is the worst.
func rank(v rundir.Value) float64 {
	switch {
	case v.State == analysis.Never:
		return math.Inf(1)
	case v.Value == nil:
		return math.Inf(-1)
	case v.State == analysis.Censored:
		return *v.Value + math.Nextafter(0, 1)
	}
	return *v.Value
}

func recoveries(_ string, a rundir.Arm) []string { return metrics(a, "recovery") }

func losses(_ string, a rundir.Arm) []string { return metrics(a, "lost_writes") }

// metrics are the keys of a metric, whatever its labels.
func metrics(a rundir.Arm, name string) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(a.Metrics)) {
		if k == name || strings.HasPrefix(k, name+"{") {
			keys = append(keys, k)
		}
	}
	return keys
}

// verdict says what a run says of its claim, and names the objectives that do not hold.
func verdict(r *rundir.Run) string {
	switch r.Verdict {
	case rundir.Pass:
		return "holds"
	case rundir.Fail:
		var parts []string
		for _, o := range r.Objectives {
			if o.Verdict == rundir.Fail && o.Severity != "warn" {
				parts = append(parts, code(o.Name)+", found "+show(o.Value))
			}
		}
		return "**false**: " + strings.Join(parts, "; ")
	case rundir.Inconclusive:
		n := 0
		for _, o := range r.Objectives {
			if o.Verdict == rundir.Inconclusive {
				n++
			}
		}
		return fmt.Sprintf("inconclusive: %d of %d objectives", n, len(r.Objectives))
	case rundir.Invalid, rundir.Interrupted, rundir.Errored:
	}
	return string(r.Verdict) + ": " + cell(first(r.Reasons))
}

// show is a value as a reader wants it.
func show(v rundir.Value) string {
	switch {
	case v.State == analysis.Never:
		return "never"
	case v.Value == nil:
		return "no data"
	case v.State == analysis.Censored:
		return "not within " + number(*v.Value, v.Unit)
	case v.Low == nil || v.High == nil:
		return number(*v.Value, v.Unit)
	}
	return fmt.Sprintf("%s [%s, %s]", number(*v.Value, v.Unit), number(*v.Low, v.Unit), number(*v.High, v.Unit))
}

// number never rounds up to 100 %: that would say that nothing was lost.
func number(v float64, unit analysis.Unit) string {
	switch {
	case unit == analysis.Ratio:
		return strconv.FormatFloat(math.Floor(v*1e4+1e-6)/1e2, 'f', -1, 64) + " %"
	case unit == analysis.PerSecond:
		return strconv.FormatFloat(v, 'g', 3, 64) + "/s"
	case unit == analysis.Seconds && math.Abs(v) < 1:
		return strconv.FormatFloat(v*1e3, 'f', 0, 64) + " ms"
	case unit == analysis.Seconds:
		return strconv.FormatFloat(v, 'f', 1, 64) + " s"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// rows are the lines of a table that scenarioTable wrote, by scenario.
func (m marks) rows(text string) map[string]string {
	_, rest, _ := strings.Cut(text, m.begin)
	table, _, _ := strings.Cut(rest, m.end)
	found := make(map[string]string)
	for line := range strings.Lines(table) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| ["), "]("); ok && strings.HasPrefix(line, "| [") {
			found[name] = strings.TrimSpace(line)
		}
	}
	return found
}

// conditions say when a run was, with what and on what machine.
func conditions(o *outcome) []string {
	p := o.Run.Provenance
	list := []string{p.Started.UTC().Format(time.DateOnly), strings.TrimSpace(p.Engine + " " + p.Details["engine"]), host(p.Host)}
	if load := p.Host["load average at start"]; load != "" {
		list = append(list, "load "+load)
	}
	return list
}

// facts say when, with what and on what machine.
func facts(outcomes []*outcome) string {
	var days, programs, engines, hosts []string
	low, high := math.Inf(1), math.Inf(-1)
	for _, o := range outcomes {
		if o.Run == nil {
			continue
		}
		p := o.Run.Provenance
		days = append(days, p.Started.UTC().Format("2006-01-02"))
		programs = append(programs, "tutti "+p.Tutti)
		engines = append(engines, strings.TrimSpace(p.Engine+" "+p.Details["engine"]))
		hosts = append(hosts, host(p.Host))
		if l, err := strconv.ParseFloat(p.Host["load average at start"], 64); err == nil {
			low, high = min(low, l), max(high, l)
		}
	}
	if len(days) == 0 {
		return "Nothing was run yet.\n\n"
	}
	load := ""
	switch {
	case low == high:
		load = fmt.Sprintf(", whose load average was %.1f when it began", low)
	case low < high:
		load = fmt.Sprintf(", whose load average was %.1f to %.1f when runs began", low, high)
	}
	return cell(fmt.Sprintf("Run on %s with %s and %s, on %s%s.", spread(days), spread(programs), spread(engines), spread(hosts), load)) + "\n\n"
}

func host(facts map[string]string) string {
	parts := []string{facts["cpus"] + " cores"}
	if cpu := facts["cpu"]; cpu != "" {
		parts[0] += " of " + cpu
	}
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(facts["memory"], " kB"), 64); err == nil {
		parts = append(parts, fmt.Sprintf("%.0f GiB", kib/(1<<20)))
	}
	return strings.Join(parts, ", ")
}

// spread lists what there is, each once; of more than three the first and the last.
func spread(list []string) string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	if len(list) > 3 {
		return list[0] + " … " + list[len(list)-1]
	}
	return strings.Join(list, ", ")
}

// cell makes text safe for a table: parts of it can come from a target.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return '�'
		}
		return r
	}, s)
	return strings.NewReplacer("|", "\\|", "<", "&lt;", ">", "&gt;").Replace(strings.Join(strings.Fields(s), " "))
}

// code is text as it is typed.
func code(s string) string {
	return "`" + strings.NewReplacer("|", "\\|", "`", "'", "\n", " ").Replace(s) + "`"
}
