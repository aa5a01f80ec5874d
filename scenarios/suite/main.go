// Command suite runs the shipped scenarios, the planted defects, or the self-tests of the shipped scenarios' gates, one after the
// other, and writes what they found into a README, between two marks. It is what `make scenarios`, `make defects` and `make gates` are.
//
// It builds tutti, runs it as a user would, and reads run.json. A run that is finished is not run again until the
// program, the scenario or its target is another, or more blocks are asked for; what a self-test ran with nothing broken counts as
// a run, too. A run that comes out invalid is run again, at most twice; the
// table says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	names   []string // "" is all
	repeats int      // blocks; 0 is each scenario's
	dir     string   // where the runs' folders are
	limit   time.Duration
}

// run does what the command line says, from the module's root.
func run(ctx context.Context, args []string, out io.Writer) error {
	const usage = "usage: go run ./scenarios/suite scenarios|defects|gates [flags], in the module's root"
	if _, err := os.Stat("go.mod"); err != nil {
		return fmt.Errorf("%s: %w", usage, err)
	}
	if len(args) == 0 {
		return errors.New(usage)
	}
	var set settings
	var names string
	fs := flag.NewFlagSet("suite "+args[0], flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&names, "names", "", "`names` of those to run, between spaces or commas; empty is all")
	fs.IntVar(&set.repeats, "repeats", 0, "`blocks`, over each scenario's")
	fs.StringVar(&set.dir, "dir", filepath.Join("runs", "suite"), "`folder` of the runs")
	fs.DurationVar(&set.limit, "limit", 4*time.Hour, "no run is begun that would end later")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if fs.NArg() > 0 || set.repeats < 0 || set.limit <= 0 {
		return fmt.Errorf("-repeats must be at least 0, -limit above 0, and there are no operands: %q\n%s", fs.Args(), usage)
	}
	set.names = strings.FieldsFunc(names, func(r rune) bool { return r == ' ' || r == ',' })
	switch args[0] {
	case "scenarios":
		return runScenarios(ctx, set, out)
	case "defects":
		return runDefects(ctx, set, out)
	case "gates":
		return runGates(ctx, set, out)
	}
	return fmt.Errorf("%q is none of scenarios, defects and gates\n%s", args[0], usage)
}

// runScenarios runs the shipped scenarios. A claim that turns out false is a finding, and no error.
func runScenarios(ctx context.Context, set settings, out io.Writer) error {
	s, err := newSuite(ctx, set.dir, time.Now().Add(set.limit), out)
	if err != nil {
		return err
	}
	jobs, err := s.shipped(ctx, set.repeats)
	if err != nil {
		return err
	}
	chosen, err := choose(set.names, jobs)
	if err != nil {
		return err
	}
	outcomes := make([]*outcome, len(jobs))
	failed := 0
	for i, j := range jobs {
		if !chosen[j.scenario.Name] {
			if outcomes[i] = s.kept(j); outcomes[i] == nil {
				outcomes[i] = &outcome{job: j, Skipped: "not run yet: make scenarios NAMES=" + j.scenario.Name}
			}
			continue
		}
		outcomes[i] = s.do(ctx, j)
		if outcomes[i].broken() {
			failed++
		}
	}
	const table = "scenarios/README.md"
	b, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	if err := tableMarks().rewrite(table, scenarioTable(outcomes, tableMarks().rows(string(b)))); err != nil {
		return err
	}
	fmt.Fprintln(out, "the table is in scenarios/README.md")
	if failed > 0 {
		return fmt.Errorf("%d of %d could not be judged; what tutti said is in %s/NAME.log", failed, len(chosen), set.dir)
	}
	return ctx.Err()
}

// runDefects runs the planted defects and the control. One that is not found, and a control that is not clean, is an error.
func runDefects(ctx context.Context, set settings, out io.Writer) error {
	const folder = "scenarios/defects"
	list, err := readExpectations(filepath.Join(folder, "expect.yaml"))
	if err != nil {
		return err
	}
	s, err := newSuite(ctx, filepath.Join(set.dir, "defects"), time.Now().Add(set.limit), out)
	if err != nil {
		return err
	}
	var all []*job
	for _, e := range list {
		j, err := s.job(ctx, filepath.Join(folder, e.Name+".yaml"), e.Name, set.repeats)
		if err != nil {
			return err
		}
		all = append(all, j)
	}
	chosen, err := choose(set.names, all)
	if err != nil {
		return err
	}
	results := make([]result, len(list))
	for i, e := range list {
		results[i].expectation = e
		for n := range max(e.Runs, 1) {
			j := *all[i]
			if e.Runs > 1 {
				j.name = fmt.Sprintf("%s-%d", e.Name, n+1)
			}
			j.says = func(o *outcome) string { return e.word(o) }
			o := s.kept(&j)
			switch {
			case chosen[e.Name]:
				o = s.do(ctx, &j)
			case o == nil:
				o = &outcome{job: &j, Skipped: "not run yet: make defects NAMES=" + e.Name}
			}
			results[i].outcomes = append(results[i].outcomes, o)
		}
	}
	if err := tableMarks().rewrite(filepath.Join(folder, "README.md"), defectTable(results)); err != nil {
		return err
	}
	fmt.Fprintln(out, summary(results))
	fmt.Fprintln(out, "the table is in scenarios/defects/README.md")
	if err := ctx.Err(); err != nil {
		return err
	}
	return verdictOf(results, chosen)
}

// choose says which jobs were named. A name that is none is an error that lists them.
func choose(names []string, jobs []*job) (map[string]bool, error) {
	chosen, known := make(map[string]bool), make(map[string]bool)
	var all []string
	for _, j := range jobs {
		known[j.scenario.Name] = true
		all = append(all, j.scenario.Name)
		chosen[j.scenario.Name] = len(names) == 0
	}
	for _, n := range names {
		if !known[n] {
			return nil, fmt.Errorf("there is no %q; there are %s", n, strings.Join(all, ", "))
		}
		chosen[n] = true
	}
	for n, yes := range chosen {
		if !yes {
			delete(chosen, n)
		}
	}
	return chosen, nil
}
