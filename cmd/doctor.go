package cmd

import (
	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/reports"
)

func (a *app) doctorCommand() *cobra.Command {
	var engine string
	c := &cobra.Command{
		Use: "doctor", Short: "Find out which faults this machine can inject, and how",
		Long: `Doctor tries what the engine and its kernel can do, in a scratch namespace that is removed
again, and says for each verb what would serve it, for each primitive what was asked and
what was delivered, and where something is missing why, what serves in its place, and the
fix. It fails only where no engine answers: what is missing may never be needed.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			f := runFlags{engine: engine, given: c.Flags().Changed}
			o, err := f.options(a)
			if err != nil {
				return err
			}
			found, err := tutti.Doctor(c.Context(), o)
			if err != nil {
				return cause(c.Context(), err)
			}
			return reports.Doctor(a.out, found, reports.TextOptions{Width: width(a.out), Color: colour(a.out)})
		},
	}
	c.Flags().StringVar(&engine, "engine", "", "docker or process; unset: docker when an engine answers")
	return c
}
