package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/stats"
	"github.com/tutti-bench/tutti/reports"
)

// noiseFile is what noise leaves in the run's folder.
const noiseFile = "noise.json"

func (a *app) noiseCommand() *cobra.Command {
	var f runFlags
	var file string
	c := &cobra.Command{
		Use: "noise SCENARIO", Short: "Run the baseline against itself, and measure how much equal arms differ",
		Long: `Noise runs the scenario's baseline arm twice in each block, under two names, and measures how
much the two differ although they are the same. What it finds is written into the run's
folder, and with --noise FILE to a file that run and plan take: they refuse margins
which the scenario's blocks cannot tell from noise.`,
		Args: exactly("SCENARIO"),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.read(args[0])
			if err != nil {
				return a.refused(f.ci, err)
			}
			return a.noise(c.Context(), s, f, file)
		},
	}
	f.add(c, true)
	f.ci.addHost(c, guarded)
	c.Flags().Lookup("noise").Usage = "write what was measured to this file, too"
	hide(c, "only")
	c.PreRunE = func(*cobra.Command, []string) error { file, f.noise = f.noise, ""; return nil }
	return c
}

// hide takes flags away that a command has in common with run, and has no use for.
func hide(c *cobra.Command, names ...string) {
	for _, n := range names {
		_ = c.Flags().MarkHidden(n) // it is there: add has made it
	}
}

func (a *app) noise(ctx context.Context, s *scenario.Scenario, f runFlags, file string) error {
	if f.only != "" {
		return &tutti.UsageError{Err: errors.New("noise runs the baseline alone: it has no --only")}
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
	blocks := max(s.Repeats, s.Most) // what margins are held against
	if o.Vary = tutti.Twice(); o.Repeats == 0 {
		o.Repeats = max(s.Repeats, stats.MinSignedRank)
	}
	defer heedless()()
	a.startRunner(f.ci)
	res, err := a.carryOut(ctx, s, f, o, policy)
	if err != nil {
		return a.refused(f.ci, err)
	}
	n, err := tutti.NoiseOf(res, a.kit.Kit)
	if err != nil {
		return err
	}
	if err := unread(reports.Noise(a.out, n, blocks, a.textOptions())); err != nil {
		return err
	}
	if res.Run.Verdict == rundir.Invalid {
		a.tell("the measurement is not to be trusted, and no file of noise was written: %s", strings.Join(res.Run.Reasons, "; "))
		return verdictOf(res.Run)
	}
	if err := rundir.SaveNoise(filepath.Join(res.Dir, noiseFile), n); err != nil {
		return err
	}
	if file == "" {
		return nil
	}
	if err := rundir.SaveNoise(file, n); err != nil {
		return &tutti.UsageError{Err: err}
	}
	_, err = fmt.Fprintf(a.out, " written to %s: give it to tutti run --noise\n", file)
	return unread(err)
}

// floor holds a plan's margins against a file of noise.
func (a *app) floor(file string, p *tutti.Prepared) ([]string, error) {
	n, err := rundir.LoadNoise(file)
	if err != nil {
		return nil, &tutti.UsageError{Err: err}
	}
	warnings, err := tutti.Floor(file, n, p.Plan.Scenario, a.kit.Kit)
	if moved := tutti.Moved(n, p.Host()); len(moved) > 0 {
		warnings = append(warnings, "the noise was measured on another machine: "+strings.Join(moved, "; "))
	}
	return warnings, err
}
