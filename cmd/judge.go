package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/reports"
)

func (a *app) judgeCommand() *cobra.Command {
	var ci ciFlags
	c := &cobra.Command{
		Use: "judge RUN", Short: "Judge a run again from its recordings, and write its reports",
		Long: `Judge reads the recordings in a run's folder, judges the objectives of its
scenario.yaml and writes run.json and the reports anew. The same recordings give the
same bytes; with another scenario.yaml in the folder, other objectives are judged.`,
		Args: exactly("RUN"),
		RunE: func(_ *cobra.Command, args []string) error {
			policy, err := ci.policy()
			if err != nil {
				return err
			}
			res, err := tutti.Judge(args[0], a.kit.Kit)
			if err != nil {
				return notARun(err)
			}
			if policy, err = placed(policy, args[0]); err != nil {
				return notARun(err)
			}
			runner := a.startRunner(ci)
			err = errors.Join(a.draw(res, policy), a.show(res))
			runner.tell(res, policy)
			if err != nil {
				return err
			}
			return a.verdict(res.Run, policy)
		},
	}
	ci.add(c)
	return c
}

func (a *app) reportCommand() *cobra.Command {
	figures := ""
	var ci ciFlags
	c := &cobra.Command{
		Use: "report RUN", Short: "Draw a run's report again from its folder",
		Args: exactly("RUN"),
		RunE: func(c *cobra.Command, args []string) error {
			policy, err := ci.policy()
			if err != nil {
				return err
			}
			if figures != "" {
				if err := without(c, "report --figures draws no junit.xml", "on-inconclusive"); err != nil {
					return err
				}
			}
			res, err := tutti.Open(args[0])
			if err != nil {
				return notARun(err)
			}
			if figures != "" {
				return a.drawFigures(res, figures)
			}
			if policy, err = placed(policy, args[0]); err != nil {
				return notARun(err)
			}
			if err := a.draw(res, policy); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, reportPath(res.Dir))
			return err
		},
	}
	ci.addPolicy(c)
	c.Flags().StringVar(&figures, "figures", "", "write each figure as SVG and PNG into this `folder` instead")
	return c
}

// drawFigures writes a run's figures and prints their names.
func (a *app) drawFigures(res *tutti.Result, dir string) error {
	all, err := reports.Figures(res)
	if len(all) == 0 && err == nil {
		return &tutti.UsageError{Err: fmt.Errorf("%s has nothing to draw: no trial of it was recorded", res.Dir)}
	}
	return errors.Join(err, a.writeFigures(all, dir))
}

// writeFigures ends with the first file that cannot be written: the folder is wrong, and the others would say the same.
func (a *app) writeFigures(all []reports.Drawn, dir string) error {
	wrong := func(err error) error {
		return &tutti.UsageError{Err: fmt.Errorf("write figures: %w\n  name another folder with --figures, which is there or can be made, and can be written to", err)}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return wrong(err)
	}
	for _, f := range all {
		name := filepath.Join(dir, f.Name)
		if err := os.WriteFile(name+".svg", f.SVG, 0o644); err != nil {
			return wrong(err)
		}
		if err := os.WriteFile(name+".png", f.PNG, 0o644); err != nil {
			return wrong(err)
		}
		if _, err := fmt.Fprintln(a.out, name+".{svg,png}"); err != nil {
			return err
		}
	}
	return nil
}

func notARun(err error) error { return &tutti.UsageError{Err: err} }
