package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/reports"
)

// runFlags are the flags of run, demo and plan.
type runFlags struct {
	out     string
	engine  string
	repeats string
	only    string
	maxTime time.Duration
	allow   []string
	record  string
	noise   string
	against string // a baseline file
	ci      ciFlags
	given   func(name string) bool // the flag is on the command line
}

func (f *runFlags) add(c *cobra.Command, running bool) {
	f.given = c.Flags().Changed
	c.Flags().StringVar(&f.engine, "engine", "", "docker or process, over the scenario's; unset: docker when an engine answers")
	c.Flags().StringVar(&f.repeats, "repeats", "", "blocks to run, over the scenario's: 6, or 6..12")
	c.Flags().StringVar(&f.only, "only", "", "run this arm alone")
	c.Flags().StringArrayVar(&f.allow, "allow", nil, "let the Compose files ask for this, by the name that the refusal gives")
	c.Flags().StringVar(&f.noise, "noise", "", "a file of tutti noise: refuse margins below what was measured")
	if running {
		c.Flags().StringVar(&f.out, "out", "", "the run's folder (default runs/NAME-TIMESTAMP)")
		c.Flags().StringVar(&f.record, "record", "", "write every request to trials/ARM-N/requests.*, too, as "+formats())
		c.Flags().DurationVar(&f.maxTime, "max-time", 0, "begin no block that would end later than this")
	}
}

func (f *runFlags) options(a *app) (tutti.Options, error) {
	if f.engine != "" {
		if _, ok := a.kit.Drivers[f.engine]; !ok {
			return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--engine %s: expected one of %s", f.engine, names(a.kit.Drivers))}
		}
	}
	least, most := 0, 0
	if f.given("repeats") {
		var err error
		if least, most, err = scenario.ParseRepeats(f.repeats); err != nil {
			return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--repeats: %w; expected 1 or more, or a range such as 6..12", err)}
		}
	}
	if f.given("max-time") && f.maxTime <= 0 {
		return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--max-time %v: must be above 0", f.maxTime)}
	}
	if f.given("record") && !slices.Contains(load.Formats(), load.Format(f.record)) {
		return tutti.Options{}, &tutti.UsageError{Err: fmt.Errorf("--record %s: expected %s", f.record, formats())}
	}
	var against *tutti.Against
	if f.against != "" {
		b, err := rundir.LoadBaseline(f.against)
		if err != nil {
			return tutti.Options{}, &tutti.UsageError{Err: err}
		}
		against = &tutti.Against{File: f.against, Baseline: b}
	}
	return tutti.Options{
		Against: against, Record: load.Format(f.record),
		Kit: a.kit.Kit, Compose: tutti.ComposeOptions{Allow: f.allow}, Dir: f.out, Engine: f.engine,
		CI: os.Getenv("CI") != "", Repeats: least, Most: most, Only: f.only, MaxTime: f.maxTime,
		About: tutti.About{Version: Version(), Command: append([]string{"tutti"}, a.args...)},
	}, nil
}

// formats lists the encodings of --record.
func formats() string {
	var all []string
	for _, f := range load.Formats() {
		all = append(all, string(f))
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
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
	f.ci.add(c)
	c.Flags().StringVar(&f.against, "baseline", "", "a file of tutti baseline update: what is shown to be worse than it is a regression (exit code 11)")
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
	defer heedless()()
	runner := a.startRunner(f.ci)
	res, err := a.carryOut(ctx, s, f, o, policy)
	if res == nil {
		return a.refused(f.ci, err)
	}
	err = errors.Join(err, unread(a.show(res)))
	runner.tell(res, policy)
	if err == nil {
		return a.verdict(res.Run, policy)
	}
	return cause(ctx, err)
}

// carryOut runs a scenario and draws its reports. The result is there as soon as there is a folder, whatever became of the run.
func (a *app) carryOut(ctx context.Context, s *scenario.Scenario, f runFlags, o tutti.Options, policy reports.Policy) (*tutti.Result, error) {
	view := a.newView()
	defer view.close()
	o.Hooks = view.hooks(s)
	p, err := a.prepare(ctx, s, o, f)
	if err != nil {
		return nil, cause(ctx, err)
	}
	view.planned(p)
	res, err := tutti.Run(ctx, p, o)
	view.close()
	if res != nil {
		err = errors.Join(cause(ctx, err), a.draw(res, policy))
	}
	return res, cause(ctx, errors.Join(err, p.Close(context.WithoutCancel(ctx))))
}

// prepare plans a run, and holds its margins against measured noise where there is some.
func (a *app) prepare(ctx context.Context, s *scenario.Scenario, o tutti.Options, f runFlags) (*tutti.Prepared, error) {
	p, err := tutti.Prepare(ctx, s, o)
	if err != nil || f.noise == "" {
		return p, err
	}
	warnings, err := a.floor(f.noise, p)
	if err != nil {
		return nil, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	p.Plan.Warnings = append(p.Plan.Warnings, warnings...)
	return p, nil
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
	var p powerFlags
	c := &cobra.Command{
		Use: "plan SCENARIO | plan --from RUN", Short: "Print what run would do, without starting the target; or how many blocks an effect needs",
		Long: `Plan prints what run would do, and starts nothing of the target; what an engine's kernel
can do is tried in a container of its own where the faults depend on it. With --from RUN it
says instead how many blocks and minutes it takes to show a wanted effect, for each
objective, by the noise that an earlier run has measured.`,
		Args: func(c *cobra.Command, args []string) error {
			if p.from != "" {
				return exactly()(c, args)
			}
			return exactly("SCENARIO")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if p.from != "" {
				if err := without(c, "plan --from goes by what the run has measured", "allow", "engine", "noise", "only", "repeats"); err != nil {
					return err
				}
			}
			if p.from != "" || c.Flags().Changed("effect") {
				return a.power(p)
			}
			s, err := a.read(args[0])
			if err != nil {
				return err
			}
			o, err := f.options(a)
			if err != nil {
				return err
			}
			if err := tutti.CheckMutations(c.Context(), s, o); err != nil {
				return cause(c.Context(), err)
			}
			p, err := a.prepare(c.Context(), s, o, f)
			if err != nil {
				return cause(c.Context(), err)
			}
			return errors.Join(a.printPlan(p), p.Close(context.WithoutCancel(c.Context())))
		},
	}
	f.add(c, false)
	p.add(c)
	return c
}

func (a *app) printPlan(p *tutti.Prepared) error {
	s := p.Plan.Scenario
	b := new(strings.Builder)
	b.WriteString(strings.TrimSuffix(s.Name+": "+s.Hypothesis, ": ") + "\n")
	fmt.Fprintf(b, "engine    %s (%s)\n", p.Facts.Driver, p.Why)
	if c := s.Load.Capacity; c != nil {
		fmt.Fprintf(b, "load      a search from %v/s to %v/s for the highest rate at which %s, each held for %v, after %v of warm-up, timeout %v\n",
			c.From, c.To, c.While.Text, c.Hold, s.Load.Schedule.Warmup, s.Load.Timeout)
	} else {
		fmt.Fprintf(b, "load      %v after %v of warm-up, timeout %v%s\n", s.Load.Schedule, s.Load.Schedule.Warmup, s.Load.Timeout, amount(s.Load.Schedule))
		if s.Load.Schedule.Closed() {
			fmt.Fprintf(b, "          %s\n", reports.ClosedNote)
		}
	}
	if how := s.Load.Client.String(); how != "" {
		fmt.Fprintf(b, "client    %s\n", how)
	}
	if n := s.Load.Agents; n > 1 {
		fmt.Fprintf(b, "agents    %d side by side\n", n)
	}
	for _, one := range s.Load.Sessions {
		fmt.Fprintf(b, "session   %s: %s, %v apart: %s\n", one.Name, count(one.Steps, "step"), one.Think, stepNames(s.Load.Requests[one.First:one.First+one.Steps]))
	}
	fmt.Fprintf(b, "blocks    %s with %s each, seed %d; about %s\n", blocksOf(s), count(len(s.Arms), "trial"), s.Seed, lengthOf(p.Plan))
	if s.Most > 0 {
		fmt.Fprintf(b, "looks     after %s blocks: ends as soon as every objective is decided\n", looksOf(s))
	}
	for _, v := range s.Verify {
		fmt.Fprintf(b, "verify    %s: read back by %s %s, at most %v\n", v.Of, v.Read.Method, v.Read.Path, v.Within)
	}
	for _, arm := range s.Arms {
		fmt.Fprintf(b, "arm       %s%s\n", arm.Name, replicas(p.Plan, arm))
	}
	for n := 1; n <= p.Plan.Blocks(); n++ {
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
	b.WriteString("nothing of the target was started\n")
	_, err := fmt.Fprint(a.out, clean(b.String()))
	return err
}

// amount says how many requests are measured where that is no simple product.
func amount(s schedule.Schedule) string {
	if s.Closed() || s.Steady() {
		return ""
	}
	return fmt.Sprintf("; %d requests, %.0f/s to %.0f/s", s.Count()-s.Warm(), s.Lowest(), s.Peak())
}

// blocksOf says how many blocks a scenario has: 6, or 6 to 12.
func blocksOf(s *scenario.Scenario) string {
	if s.Most > 0 {
		return fmt.Sprintf("%d to %d", s.Repeats, s.Most)
	}
	return strconv.Itoa(s.Repeats)
}

// lengthOf says about how long a run takes.
func lengthOf(p *plan.Plan) string {
	least := p.Duration(tutti.PerTrial).Round(time.Second).String()
	if p.Scenario.Most == 0 {
		return least
	}
	return least + " to " + (time.Duration(p.Scenario.Most) * p.PerBlock(tutti.PerTrial)).Round(time.Second).String()
}

// looksOf lists when an extension may end: 6, 9 and 12.
func looksOf(s *scenario.Scenario) string {
	var sizes []string
	for _, n := range slo.Looks(s.Repeats, s.Most) {
		sizes = append(sizes, strconv.Itoa(n))
	}
	last := len(sizes) - 1
	return strings.Join(sizes[:last], ", ") + " and " + sizes[last]
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
