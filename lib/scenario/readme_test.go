package scenario_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/scenario"
)

const reference = "../../scenarios/README.md"

func readReference(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// metricsTable is the table of metrics as the reference has it.
func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | unit | labels | phases | better | |\n|---|---|---|---|---|---|\n")
	units := map[analysis.Unit]string{analysis.Seconds: "time", analysis.Ratio: "ratio", analysis.PerSecond: "rate", analysis.Number: "number"}
	args := map[analysis.Unit]string{analysis.Seconds: "1s", analysis.Ratio: "99%"}
	specs := analysis.Specs()
	for i := 0; i < len(specs); i++ {
		s := specs[i]
		name := s.Name
		for i+1 < len(specs) && specs[i+1].Summary == s.Summary { // a family, such as the percentiles
			i++
			name += "` `" + specs[i].Name
		}
		var given, labels []string
		for _, a := range s.Args {
			given = append(given, args[a])
		}
		if given != nil {
			name += "(" + strings.Join(given, ", ") + ")"
		}
		for _, l := range s.Labels {
			labels = append(labels, "`"+l+"`")
		}
		phases, better := "", "lower"
		if s.Phased {
			phases = "yes"
		}
		if s.Higher {
			better = "higher"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", name, units[s.Unit], strings.Join(labels, " "), phases, better, s.Summary)
	}
	return b.String()
}

var tableOfMetrics = regexp.MustCompile(`(?s)\| metric \| unit .*?\n\n`)

// The reference's table of metrics is the code's.
func TestReferenceMetrics(t *testing.T) {
	text, want := readReference(t), metricsTable()+"\n"
	if *update {
		text = tableOfMetrics.ReplaceAllLiteralString(text, want)
		if err := os.WriteFile(reference, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := tableOfMetrics.FindString(text); got != want {
		t.Errorf("the table of metrics differs (run the test with -update)\ngot:\n%s\nwant:\n%s", got, want)
	}
}

// The reference has every word of the format, and says of each which this version lacks.
func TestReferenceWords(t *testing.T) {
	here, later, ok := strings.Cut(readReference(t), "\n## What the format has and this version lacks\n")
	if !ok {
		t.Fatal("the reference does not say what this version lacks")
	}
	words := scenario.Words(shipped())
	for _, m := range analysis.Later() {
		words[m] = true
	}
	if len(words) < 80 {
		t.Errorf("only %d words", len(words))
	}
	for _, w := range slices.Sorted(maps.Keys(words)) {
		part := here
		if words[w] {
			part = later
		}
		if !regexp.MustCompile("`[^`\n]*\\b" + regexp.QuoteMeta(w) + "\\b[^`\n]*`").MatchString(part) {
			t.Errorf("%q (lacked by this version: %v) is not in its part of the reference", w, words[w])
		}
	}
}

var fenced = regexp.MustCompile("(?s)```yaml\n(version: 1\n.*?)```")

// The examples of the reference are scenarios.
func TestReferenceExamples(t *testing.T) {
	found := fenced.FindAllStringSubmatch(readReference(t), -1)
	if len(found) == 0 {
		t.Fatal("no examples")
	}
	for _, e := range found {
		if _, err := scenario.Parse(filepath.Base(reference), []byte(e[1]), shipped()); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// Every verb's parameters are in the reference, in the row of the verb.
func TestReferenceVerbs(t *testing.T) {
	_, verbs, ok := strings.Cut(readReference(t), "| verb | parameters")
	if !ok {
		t.Fatal("the reference has no table of verbs")
	}
	check := func(verb string, k fault.Kind) {
		row := regexp.MustCompile("(?m)^\\| `" + verb + "` \\|.*$").FindString(verbs)
		if row == "" {
			t.Errorf("%s has no row", verb)
		}
		for _, p := range k.Params {
			if !strings.Contains(row, "`"+p.Name+"`") {
				t.Errorf("%s: parameter %s is not in its row", verb, p.Name)
			}
		}
	}
	for verb, k := range shipped() {
		check(verb, k)
	}
}
