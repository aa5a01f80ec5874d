package cmd

import (
	"errors"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/reports"
)

// powerFlags are those of plan --from.
type powerFlags struct {
	from    string
	effects []string
}

func (p *powerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&p.from, "from", "", "a run's folder: say how many blocks an effect needs, by the noise measured there")
	c.Flags().StringArrayVar(&p.effects, "effect", nil, "with --from: an effect to be shown, such as 10%: of times and rates relative, of shares points; or 5, of counts")
}

// power prints how many blocks effects need.
func (a *app) power(p powerFlags) error {
	if p.from == "" {
		return &tutti.UsageError{Err: errors.New("--effect needs --from RUN, whose noise says how many blocks it takes")}
	}
	var effects []tutti.Effect
	for _, s := range p.effects {
		e, err := tutti.ParseEffect(s)
		if err != nil {
			return &tutti.UsageError{Err: err}
		}
		effects = append(effects, e)
	}
	found, err := tutti.PowerOf(p.from, a.kit.Kit, effects)
	if err != nil {
		return err
	}
	return reports.Power(a.out, found, a.textOptions())
}

// textOptions are for what is printed as the answer.
func (a *app) textOptions() reports.TextOptions {
	return reports.TextOptions{Width: width(a.out), Color: colour(a.out)}
}
