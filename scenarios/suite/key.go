package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/tutti-bench/tutti/lib/target"
)

// sources is a hash of all that the program is made of and that can change a measurement: its Go files, the modules and the
// toolchain. It is not the binary's hash, which is another after every commit: the version is in it, and so are the scenarios.
func sources(ctx context.Context, root string) (string, error) {
	c := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,GoFiles,Module", "./cmd/tutti")
	c.Dir = root
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("list what tutti is made of: %w", err)
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir     string
			GoFiles []string
			Module  *struct{ Main bool }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return "", fmt.Errorf("list what tutti is made of: %w", err)
		}
		if p.Module == nil || !p.Module.Main {
			continue // go.sum says which
		}
		for _, name := range p.GoFiles {
			if err := add(h, filepath.Join(p.Dir, name)); err != nil {
				return "", err
			}
		}
	}
	if err := errors.Join(add(h, filepath.Join(root, "go.mod")), add(h, filepath.Join(root, "go.sum"))); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// add adds a file's name and text.
func add(h hash.Hash, name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s %d\n", filepath.Base(name), len(b))
	_, err = h.Write(b)
	return err
}

// key is a hash of all that a run of the job comes from: the program, the scenario, its target with what its images are
// built from, and the number of blocks.
func (s *suite) key(j *job) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, s.program, j.repeats)
	h.Write(j.scenario.Source)
	b, err := json.Marshal(j.targets)
	if err != nil {
		return "", fmt.Errorf("key of %s: %w", j.name, err)
	}
	h.Write(b)
	for _, dir := range contexts(j.targets) {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			return add(h, name)
		})
		if err != nil {
			return "", fmt.Errorf("key of %s: %w", j.name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// contexts are the folders that images are built from, in order.
func contexts(targets map[string]*target.Target) []string {
	var dirs []string
	for _, t := range targets {
		for _, svc := range t.Services {
			dir := ""
			switch svc.Image.Kind {
			case target.ImageGo:
				dir = svc.Image.Ref
			case target.ImageBuild:
				dir = svc.Image.Context
			case target.ImageTutti, target.ImageRef:
			}
			if dir != "" && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	return dirs
}
