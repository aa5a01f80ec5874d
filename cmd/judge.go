package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
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
	var ci ciFlags
	c := &cobra.Command{
		Use: "report RUN", Short: "Draw a run's report again from its folder",
		Args: exactly("RUN"),
		RunE: func(_ *cobra.Command, args []string) error {
			policy, err := ci.policy()
			if err != nil {
				return err
			}
			res, err := tutti.Open(args[0])
			if err != nil {
				return notARun(err)
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
	return c
}

func notARun(err error) error { return &tutti.UsageError{Err: err} }
