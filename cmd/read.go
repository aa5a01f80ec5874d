package cmd

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
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
	return &cobra.Command{
		Use: "validate SCENARIO…", Short: "Check scenario files without starting anything",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactly("SCENARIO")(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, files []string) error {
			var wrong scenario.Errors
			for _, f := range files {
				s, err := a.read(f)
				if es, ok := err.(scenario.Errors); ok { //nolint:errorlint // Parse returns it bare
					wrong = append(wrong, es...)
					continue
				}
				if err != nil {
					return err
				}
				if _, err := tutti.LoadTargets(c.Context(), s, tutti.ComposeOptions{}); err != nil {
					return fmt.Errorf("%s: %w", f, err)
				}
				fmt.Fprintf(a.out, "%s: valid (%s, %s)\n", f, count(len(s.Arms), "arm"), count(len(s.Objectives), "objective"))
			}
			if len(wrong) > 0 {
				return wrong
			}
			return nil
		},
	}
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
