package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/reports"
)

func (a *app) compareCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "compare WAS NOW", Short: "Hold a run against another one of the same scenario, or against a baseline file",
		Long: `Compare sets two runs of one scenario beside each other, of two commits say: what their
objectives are about, and the metrics of each arm, with the interval of the change. WAS and
NOW are runs' folders or baseline files. Runs that differ in load, faults or target are
refused. Where the machines differ, only what compares arms inside each run is compared.

It ends with 13 if either run is not to be trusted, with 11 if what an objective is about is
shown to have become worse, with 12 if that is open for any of them, else with 0.`,
		Args: exactly("WAS", "NOW"),
		RunE: func(_ *cobra.Command, args []string) error {
			found, err := tutti.Compare(args[0], args[1], a.kit.Kit)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printJSON(found)
			} else {
				err = reports.Compare(a.out, found, a.textOptions())
			}
			if err != nil || found.ExitCode == exitPass {
				return err
			}
			return &verdictError{found.Verdict, found.ExitCode}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func (a *app) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(a.out, "%s\n", b)
	}
	return err
}

func (a *app) baselineCommand() *cobra.Command {
	c := &cobra.Command{Use: "baseline", Short: "Keep what a run has measured, for later runs to be held against"}
	c.AddCommand(&cobra.Command{
		Use: "update RUN FILE", Short: "Write a baseline file from a run, after showing what changes",
		Long: `Update writes what a run has measured to a baseline file, trial by trial, for
tutti run --baseline FILE. Before it replaces a file it shows what has changed. Nothing
else ever writes such a file. Margins that were changed in it by hand are kept.`,
		Args: exactly("RUN", "FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.updateBaseline(args[0], args[1]) },
	})
	return c
}

func (a *app) updateBaseline(run, file string) error {
	now, err := tutti.MeasuredOf(run, a.kit.Kit)
	if errors.Is(err, tutti.ErrUntrusted) {
		a.tell("%v; %s stays as it is", err, file)
		return &verdictError{rundir.Invalid, exitInvalid}
	}
	if err != nil {
		return err
	}
	was, err := rundir.LoadBaseline(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(a.out, " %s is new\n", clean(file))
	case err != nil:
		return &tutti.UsageError{Err: fmt.Errorf("%w\n  remove it to begin anew", err)}
	default:
		tutti.KeepMargins(was, now)
		if err := a.showUpdate(file, run); err != nil {
			return err
		}
	}
	if err := rundir.SaveBaseline(file, now); err != nil {
		return &tutti.UsageError{Err: err}
	}
	gates := 0
	for _, m := range now.Measures {
		if m.Gates {
			gates++
		}
	}
	_, err = fmt.Fprintf(a.out, " %s is now run %s: %s\n", clean(file), now.Run, count(gates, "objective"))
	return err
}

// showUpdate shows what a file's replacement changes. Of another experiment it says what is another one.
func (a *app) showUpdate(file, run string) error {
	found, err := tutti.Compare(file, run, a.kit.Kit)
	if usage, ok := errors.AsType[*tutti.UsageError](err); ok {
		_, err := fmt.Fprintf(a.out, " %s\n", clean(strings.ReplaceAll(usage.Error(), "\n", " ")))
		return err
	}
	if err != nil {
		return err
	}
	found.ExitCode = exitPass // it is shown, and not judged
	return reports.Compare(a.out, found, a.textOptions())
}
