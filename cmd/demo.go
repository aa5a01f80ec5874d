package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/scenarios"
	"github.com/tutti-bench/tutti/targets"
)

// demoScenario is what demo runs, among the samples.
const demoScenario = "quickstart.yaml"

func (a *app) demoCommand() *cobra.Command {
	var f runFlags
	var dir string
	c := &cobra.Command{
		Use: "demo", Short: "Run the quickstart from samples inside this program",
		Long: `Demo writes those shipped scenarios that need nothing but tutti, and their targets, into
a folder and runs the quickstart there: a single node and a cluster of three, one node
killed in each. Change the files and run them again with tutti run.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.writeSamples(dir); err != nil {
				return err
			}
			file := filepath.Join(dir, "scenarios", demoScenario)
			fmt.Fprintf(a.err, "samples are in %s; again with: tutti run %s\n", dir, file)
			s, err := a.read(file)
			if err != nil {
				return err
			}
			return a.run(c.Context(), s, f)
		},
	}
	f.add(c, true)
	f.ci.add(c)
	c.Flags().StringVar(&dir, "dir", "tutti-demo", "the folder for the samples")
	return c
}

// writeSamples puts the shipped scenarios and targets below dir. Files that are there are kept:
// they may be the user's by now. Scenarios whose target is not inside this program are left out.
func (a *app) writeSamples(dir string) error {
	for _, tree := range []struct {
		name  string
		files fs.FS
	}{{"scenarios", scenarios.Files}, {"targets", targets.Files}} {
		err := fs.WalkDir(tree.files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if tree.name == "scenarios" && path.Ext(name) == ".yaml" {
				if whole, err := a.hasTarget(name); err != nil || !whole {
					return err
				}
			}
			return writeSample(tree.files, name, filepath.Join(dir, tree.name, filepath.FromSlash(name)))
		})
		if err != nil {
			return &tutti.UsageError{Err: fmt.Errorf("write the samples: %w", err)}
		}
	}
	return nil
}

// hasTarget reports whether all Compose files of a shipped scenario are inside this program. Those of targets that are modules of their own are
// not: they want images that are made in the source tree.
func (a *app) hasTarget(name string) (bool, error) {
	src, err := fs.ReadFile(scenarios.Files, name)
	if err != nil {
		return false, err
	}
	s, err := scenario.Parse(name, src, a.kit.Faults)
	if err != nil {
		return false, err
	}
	for _, arm := range s.Arms {
		for _, f := range arm.Compose {
			below, ok := strings.CutPrefix(path.Join("scenarios", f), "targets/")
			if !ok {
				return false, nil
			}
			if _, err := fs.Stat(targets.Files, below); errors.Is(err, fs.ErrNotExist) {
				return false, nil
			} else if err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func writeSample(from fs.FS, path, name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b, err := fs.ReadFile(from, path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
