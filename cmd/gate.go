package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/reports"
)

// selfTestFile is what a self-test leaves beside its runs.
const selfTestFile = "selftest.json"

func (a *app) gateCommand() *cobra.Command {
	var f runFlags
	var selfTest bool
	c := &cobra.Command{
		Use: "gate --self-test SCENARIO", Short: "Try whether a scenario's objectives can fail",
		Long: `Gate runs the scenario as it is and its baseline against itself, of which neither may fail,
and with something broken in every arm but the baseline (in its only arm, if it has one),
which must fail: what the scenario's mutations say, and of its own one node less, 200 ms of
delay and a fifth of the answers errors. It names the objectives that never fail, and leaves
every run and selftest.json in a folder.

It ends with 0 if whatever was broken was noticed, 10 if something was not or if something
failed with nothing broken, 12 if some was only likely, in too few blocks for a verdict, or
if nothing could be broken, and 13 if a run is not to be trusted.`,
		Args: exactly("SCENARIO"),
		RunE: func(c *cobra.Command, args []string) error {
			if !selfTest {
				return &tutti.UsageError{Err: errors.New("gate needs --self-test; to gate on a scenario use tutti run")}
			}
			return a.selfTest(c.Context(), args[0], f)
		},
	}
	f.add(c, true)
	f.ci.addHost(c, guarded)
	c.Flags().BoolVar(&selfTest, "self-test", false, "break the target on purpose, and require a fail")
	c.Flags().Lookup("repeats").Usage = "blocks of each run; comparisons take 3 for a verdict (default 1)"
	c.Flags().Lookup("out").Usage = "the folder of all runs (default runs/NAME-selftest-TIMESTAMP)"
	hide(c, "only", "noise")
	return c
}

func (a *app) selfTest(ctx context.Context, file string, f runFlags) error {
	if f.only != "" || f.noise != "" {
		return &tutti.UsageError{Err: errors.New("a self-test has no --only and no --noise")}
	}
	s, err := a.read(file)
	if err != nil {
		return a.refused(f.ci, err)
	}
	o, err := f.options(a)
	if err != nil {
		return err
	}
	policy, err := f.ci.policy()
	if err != nil {
		return err
	}
	policy.File = placeOf(s.File)
	if o.Dir == "" {
		o.Dir = filepath.Join("runs", s.Name+"-selftest-"+time.Now().UTC().Format("20060102T150405"))
	}
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return &tutti.UsageError{Err: fmt.Errorf("--out %s: it is there and not empty", o.Dir)}
	}
	tester := &tutti.Tester{
		Read: func() (*scenario.Scenario, error) { return a.read(file) },
		Run: func(ctx context.Context, s *scenario.Scenario, o tutti.Options) (*tutti.Result, error) {
			return a.carryOut(ctx, s, f, o, policy)
		},
		Options: o,
		Begin: func(name, what string, n, of int) {
			a.tell("run %d of %d: %s (broken: %s)", n, of, name, what)
		},
	}
	defer heedless()()
	a.startRunner(f.ci)
	found, err := tester.SelfTest(ctx)
	if found == nil || len(found.Runs) == 0 {
		return a.refused(f.ci, err)
	}
	if werr := a.keepSelfTest(o.Dir, found); werr != nil {
		return errors.Join(err, werr)
	}
	if rerr := reports.SelfTest(a.out, found, filepath.Join(o.Dir, selfTestFile), a.textOptions()); unread(rerr) != nil {
		return errors.Join(err, rerr)
	}
	if err != nil {
		return cause(ctx, err)
	}
	if found.ExitCode != exitPass {
		return &verdictError{found.Verdict, found.ExitCode}
	}
	return nil
}

func (a *app) keepSelfTest(dir string, found *tutti.SelfTest) error {
	b, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, selfTestFile), append(b, '\n'), 0o644)
}
