package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// runFlags are the flags of run, demo and plan.
type runFlags struct {
	out     string
	engine  string
	repeats int
	only    string
	maxTime time.Duration
	allow   []string
	ci      ciFlags
	given   func(name string) bool // the flag is on the command line
}

func (f *runFlags) add(c *cobra.Command, running bool) {
	f.given = c.Flags().Changed
	c.Flags().StringVar(&f.engine, "engine", "", "docker or process, over the scenario's; unset: docker when an engine answers")
	c.Flags().IntVar(&f.repeats, "repeats", 0, "blocks to run, over the scenario's")
	c.Flags().StringVar(&f.only, "only", "", "run this arm alone")
	c.Flags().StringArrayVar(&f.allow, "allow", nil, "let the Compose files ask for this, by the name that the refusal gives")
	if running {
		c.Flags().StringVar(&f.out, "out", "", "the run's folder (default runs/NAME-TIMESTAMP)")
		c.Flags().DurationVar(&f.maxTime, "max-time", 0, "begin no block that would end later than this")
		f.ci.add(c)
	}
}

func (f *runFlags) options(a *app) (tutti.Options, error) {
	if f.engine != "" {
		if _, ok := a.kit.Drivers[f.engine]; !ok {
			return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--engine %s: expected one of %s", f.engine, names(a.kit.Drivers))}
		}
	}
	if f.given("repeats") && f.repeats < 1 {
		return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--repeats %d: must be 1 or more", f.repeats)}
	}
	if f.given("max-time") && f.maxTime <= 0 {
		return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--max-time %v: must be above 0", f.maxTime)}
	}
	return tutti.Options{
		Kit: a.kit.Kit, Compose: tutti.ComposeOptions{Allow: f.allow}, Dir: f.out, Engine: f.engine,
		CI: os.Getenv("CI") != "", Repeats: f.repeats, Only: f.only, MaxTime: f.maxTime,
		About: tutti.About{Version: Version(), Command: append([]string{"tutti"}, a.args...)},
	}, nil
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run SCENARIO", Short: "Run a scenario, judge it, write the report",
		Long: `Run starts the scenario's target for every trial, sends the load, breaks what the
scenario says, judges the objectives and leaves a folder with report.html, run.json,
junit.xml, summary.md and metrics.txt. Ctrl-C undoes, tears down and writes what there is.

In a pipeline every verdict but pass has an exit code of its own that fails the step. The
policies change that by name only, and never what run.json says.`,
		Args: exactly("SCENARIO"),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.read(args[0])
			if err != nil {
				return a.refused(f.ci, err)
			}
			return a.run(c.Context(), s, f)
		},
	}
	f.add(c, true)
	return c
}

// run runs a scenario and shows what came of it.
func (a *app) run(ctx context.Context, s *scenario.Scenario, f runFlags) error {
	o, err := f.options(a)
	if err != nil {
		return err
	}
	policy, err := f.ci.policy()
	if err != nil {
		return err
	}
	policy.File = placeOf(s.File)
	runner := a.startRunner(f.ci)
	view := a.newView()
	defer view.close()
	o.Hooks = view.hooks(s)
	p, err := tutti.Prepare(ctx, s, o)
	if err != nil {
		return a.refused(f.ci, cause(ctx, err))
	}
	view.planned(p)
	res, err := tutti.Run(ctx, p, o)
	view.close()
	if res != nil {
		err = errors.Join(cause(ctx, err), a.draw(res, policy))
		if serr := a.show(res); serr != nil {
			err = errors.Join(err, serr)
		}
		runner.tell(res, policy)
	}
	err = errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	if err == nil {
		return a.verdict(res.Run, policy)
	}
	return cause(ctx, err)
}

// cause puts the reason of a cancelled context before what followed from it.
func cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return errors.Join(context.Cause(ctx), err)
}

func (a *app) planCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "plan SCENARIO", Short: "Print what run would do, without starting anything",
		Args: exactly("SCENARIO"),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.read(args[0])
			if err != nil {
				return err
			}
			o, err := f.options(a)
			if err != nil {
				return err
			}
			p, err := tutti.Prepare(c.Context(), s, o)
			if err != nil {
				return cause(c.Context(), err)
			}
			return errors.Join(a.printPlan(p), p.Close(context.WithoutCancel(c.Context())))
		},
	}
	f.add(c, false)
	return c
}

func (a *app) printPlan(p *tutti.Prepared) error {
	s := p.Plan.Scenario
	b := new(strings.Builder)
	b.WriteString(strings.TrimSuffix(s.Name+": "+s.Hypothesis, ": ") + "\n")
	fmt.Fprintf(b, "engine    %s (%s)\n", p.Facts.Driver, p.Why)
	if c := s.Load.Capacity; c != nil {
		fmt.Fprintf(b, "load      a search from %v/s to %v/s for the highest rate at which %s, each held for %v, after %v of warm-up, timeout %v\n",
			c.From, c.To, c.While.Text, c.Hold, s.Load.Warmup, s.Load.Timeout)
	} else {
		fmt.Fprintf(b, "load      %v/s for %v after %v of warm-up, timeout %v\n", s.Load.Rate, s.Load.For, s.Load.Warmup, s.Load.Timeout)
	}
	for _, one := range s.Load.Sessions {
		fmt.Fprintf(b, "session   %s: %s, %v apart: %s\n", one.Name, count(one.Steps, "step"), one.Think, stepNames(s.Load.Requests[one.First:one.First+one.Steps]))
	}
	fmt.Fprintf(b, "blocks    %d with %s each, seed %d; about %v\n", s.Repeats, count(len(s.Arms), "trial"), s.Seed, p.Plan.Duration(tutti.PerTrial).Round(time.Second))
	for _, v := range s.Verify {
		fmt.Fprintf(b, "verify    %s: read back by %s %s, at most %v\n", v.Of, v.Read.Method, v.Read.Path, v.Within)
	}
	for _, arm := range s.Arms {
		fmt.Fprintf(b, "arm       %s%s\n", arm.Name, replicas(p.Plan, arm))
	}
	for n := 1; n <= s.Repeats; n++ {
		trials, err := p.Plan.Block(a.kit.Faults, n)
		if err != nil {
			return err
		}
		for _, t := range trials {
			fmt.Fprintf(b, "block %-3d %-12s", n, t.Arm)
			var steps []string
			for _, st := range t.Steps {
				steps = append(steps, fmt.Sprintf("%s %s: %s %s%s%s", st.Name, st.Trigger(), st.Verb, strings.Join(st.Victims, ", "), with(st), forHow(st)))
			}
			b.WriteString(" " + strings.Join(steps, "; "))
			b.WriteString("\n")
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(b, "note      %s\n", n)
	}
	for _, w := range p.Plan.Warnings {
		fmt.Fprintf(b, "warning   %s\n", w)
	}
	b.WriteString("nothing was started\n")
	_, err := fmt.Fprint(a.out, clean(b.String()))
	return err
}

// stepNames lists a session's requests.
func stepNames(steps []load.Request) string {
	names := make([]string, len(steps))
	for i, step := range steps {
		names[i] = step.Name
	}
	return strings.Join(names, ", ")
}

// with lists a step's parameters, in order.
func with(st plan.Step) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(st.Params)) {
		fmt.Fprintf(&b, " %s %v", name, st.Params[name])
	}
	return b.String()
}

func forHow(st plan.Step) string {
	if st.For > 0 {
		return fmt.Sprintf(" for %v", st.For)
	}
	return ""
}

// replicas lists the services of an arm with their replicas.
func replicas(p *plan.Plan, arm scenario.Arm) string {
	var b strings.Builder
	for _, name := range strings.Split(names(p.Targets[arm.Name].Services), ", ") {
		fmt.Fprintf(&b, "  %s × %d", name, p.Replicas(arm, name))
	}
	return b.String()
}

// reportPath is where a run's report is, as the reader would type it.
func reportPath(dir string) string { return filepath.Join(dir, "report.html") }
