package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// maxScenario bounds a scenario file.
const maxScenario = 1 << 20

// read reads and checks a scenario file.
func (a *app) read(file string) (*scenario.Scenario, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, &tutti.UsageError{Err: fmt.Errorf("read the scenario: %w", err)}
	}
	if info.Size() > maxScenario {
		return nil, &tutti.UsageError{Err: fmt.Errorf("read the scenario: %s has %d bytes; at most %d are read", file, info.Size(), maxScenario)}
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, &tutti.UsageError{Err: fmt.Errorf("read the scenario: %w", err)}
	}
	return scenario.Parse(file, src, a.kit.Faults)
}

func (a *app) validateCommand() *cobra.Command {
	var allow []string
	c := &cobra.Command{
		Use: "validate SCENARIO…", Short: "Check scenario files without an engine, and without starting anything",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactly("SCENARIO")(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, files []string) error {
			var wrong scenario.Errors
			for _, f := range files {
				err := a.validate(c.Context(), f, tutti.ComposeOptions{Allow: allow})
				if es, ok := errors.AsType[scenario.Errors](err); ok {
					wrong = append(wrong, es...)
				} else if err != nil {
					return err
				}
			}
			if len(wrong) > 0 {
				return wrong
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&allow, "allow", nil, "let the Compose files ask for this, by the name that the refusal gives")
	return c
}

// validate checks one file as far as that goes without an engine: all that plan refuses, but for what an
// engine cannot do.
func (a *app) validate(ctx context.Context, file string, o tutti.ComposeOptions) error {
	s, err := a.read(file)
	if err != nil {
		return err
	}
	targets, err := tutti.LoadTargets(ctx, s, o)
	if err != nil {
		return err
	}
	p, err := plan.Build(s, targets, a.kit.Faults, target.Facts{Driver: "any", Abilities: ^target.Ability(0)})
	if err != nil {
		return err
	}
	if err := tutti.CheckMutations(ctx, s, tutti.Options{Kit: a.kit.Kit, Compose: o}); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: valid (%s, %s)\n", file, count(len(s.Arms), "arm"), count(len(s.Objectives), "objective"))
	for _, w := range p.Warnings {
		fmt.Fprintf(a.out, "  warning: %s\n", clean(w))
	}
	return nil
}

func (a *app) schemaCommand() *cobra.Command {
	var run bool
	c := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of scenario files, or of run.json", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			schema := func() ([]byte, error) { return scenario.Schema(a.kit.Faults) }
			if run {
				schema = rundir.JSONSchema
			}
			b, err := schema()
			if err != nil {
				return err
			}
			_, err = a.out.Write(append(bytes.TrimRight(b, "\n"), '\n'))
			return err
		},
	}
	c.Flags().BoolVar(&run, "run", false, "of run.json")
	return c
}
