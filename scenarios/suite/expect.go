package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/rundir"
	"go.yaml.in/yaml/v3"
)

// An expectation is what the harness must say of one target: the verdict, and of each objective whether it fails or holds.
type expectation struct {
	Name    string         `yaml:"name"`   // the scenario's
	Defect  string         `yaml:"defect"` // what is planted, in a few words; "" for the control
	Runs    int            `yaml:"runs"`   // 0 is 1
	Verdict rundir.Verdict `yaml:"verdict"`
	Fails   []string       `yaml:"fails"` // objectives, by name
	Holds   []string       `yaml:"holds"`
}

// readExpectations reads a list of expectations.
func readExpectations(file string) ([]expectation, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []expectation
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i, e := range list {
		switch {
		case e.Name == "" || e.Verdict == "" || len(e.Fails)+len(e.Holds) == 0:
			return nil, fmt.Errorf("%s: item %d wants a name, a verdict, and objectives that fail or hold", file, i+1)
		case e.Verdict == rundir.Pass && len(e.Fails) > 0, e.Verdict == rundir.Fail && len(e.Fails) == 0:
			return nil, fmt.Errorf("%s: %s: a verdict of %s does not come from these objectives", file, e.Name, e.Verdict)
		}
	}
	return list, nil
}

// check says what is not as expected, or nil. It is as expected only if the run's verdict is, and every objective's: a run that fails for
// another reason than the planted one has found nothing.
func (e expectation) check(r *rundir.Run) error {
	var errs []error
	if r.Verdict != e.Verdict {
		errs = append(errs, fmt.Errorf("the verdict is %s instead of %s", r.Verdict, e.Verdict))
	}
	for _, o := range r.Objectives {
		want := rundir.Pass
		switch {
		case slices.Contains(e.Fails, o.Name):
			want = rundir.Fail
		case !slices.Contains(e.Holds, o.Name):
			errs = append(errs, fmt.Errorf("nothing is expected of %s", o.Name))
			continue
		}
		if o.Verdict != want {
			errs = append(errs, fmt.Errorf("%s: %s instead of %s, found %s", o.Name, o.Verdict, want, show(o.Value)))
		}
	}
	for _, name := range slices.Concat(e.Fails, e.Holds) {
		if !slices.ContainsFunc(r.Objectives, func(o rundir.Objective) bool { return o.Name == name }) {
			errs = append(errs, fmt.Errorf("there is no objective %s", name))
		}
	}
	return errors.Join(errs...)
}

// word is what came of one run.
func (e expectation) word(o *outcome) string {
	asExpected := o.judged() && e.check(o.Run) == nil
	switch {
	case !o.judged():
		return o.word()
	case e.Defect == "" && asExpected:
		return "clean"
	case e.Defect == "":
		return "not clean"
	case asExpected:
		return "found"
	}
	return "missed"
}

// A result is an expectation and what came of it.
type result struct {
	expectation
	outcomes []*outcome
}

// good counts the runs that were as expected.
func (r result) good() int {
	n := 0
	for _, o := range r.outcomes {
		if o.judged() && r.check(o.Run) == nil {
			n++
		}
	}
	return n
}

// unrun counts the runs that there are not.
func (r result) unrun() int {
	n := 0
	for _, o := range r.outcomes {
		if !o.judged() {
			n++
		}
	}
	return n
}

// summary is all results in one line.
func summary(results []result) string {
	found, defects, clean, controls, unrun := 0, 0, 0, 0, 0
	for _, r := range results {
		unrun += r.unrun()
		if r.Defect == "" {
			clean, controls = clean+r.good(), controls+len(r.outcomes)
			continue
		}
		defects++
		if r.good() == len(r.outcomes) {
			found++
		}
	}
	text := fmt.Sprintf("found %d of %d, the control clean %d of %d", found, defects, clean, controls)
	if unrun > 0 {
		text += fmt.Sprintf("; %d not run or not judged", unrun)
	}
	return text
}

// verdictOf is an error about what was chosen and is not as expected.
func verdictOf(results []result, chosen map[string]bool) error {
	var wrong []string
	for _, r := range results {
		if chosen[r.Name] && r.good() < len(r.outcomes) {
			wrong = append(wrong, r.Name)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not as expected: %s", strings.Join(wrong, ", "))
	}
	return nil
}
