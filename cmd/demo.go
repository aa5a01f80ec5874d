package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
		Long: `Demo writes the shipped scenarios and targets into a folder and runs the quickstart
there: a single node and a cluster of three, one node killed in each. Change the files and
run them again with tutti run.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := writeSamples(dir); err != nil {
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
	c.Flags().StringVar(&dir, "dir", "tutti-demo", "the folder for the samples")
	return c
}

// writeSamples puts the shipped scenarios and targets below dir. Files that are there are kept:
// they may be the user's by now.
func writeSamples(dir string) error {
	for _, tree := range []struct {
		name  string
		files fs.FS
	}{{"scenarios", scenarios.Files}, {"targets", targets.Files}} {
		err := fs.WalkDir(tree.files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !complete(tree.files, path) {
				return err
			}
			return writeSample(tree.files, path, filepath.Join(dir, tree.name, filepath.FromSlash(path)))
		})
		if err != nil {
			return &tutti.UsageError{Err: fmt.Errorf("write the samples: %w", err)}
		}
	}
	return nil
}

// complete reports whether a sample can be used without the source tree: the Compose files of some scenarios are in
// modules of their own, which no program can embed.
func complete(from fs.FS, path string) bool {
	src, err := fs.ReadFile(from, path)
	if err != nil || filepath.Ext(path) != ".yaml" {
		return err == nil
	}
	s, err := scenario.Parse(path, src, Builtin().Faults)
	if err != nil {
		return true // a Compose file
	}
	for _, arm := range s.Arms {
		for _, file := range arm.Compose {
			if _, err := fs.Stat(targets.Files, strings.TrimPrefix(file, "../targets/")); err != nil {
				return false
			}
		}
	}
	return true
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
