package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/tutti-bench/tutti/lib/target"
)

// A program is what a service's nodes execute.
type program struct {
	path   string
	digest string
}

// program returns a service's program, and makes it the first time.
func (d *Driver) program(ctx context.Context, s target.Service, progress func(string)) (program, error) {
	key := string(s.Image.Kind) + " " + s.Image.Ref
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.programs[key]; ok {
		return p, nil
	}
	var p program
	var err error
	switch s.Image.Kind {
	case target.ImageTutti:
		if p.path, err = d.executable(); err == nil {
			p.digest, err = digest(p.path)
		}
	case target.ImageGo:
		progress(fmt.Sprintf("service %s: building %s", s.Name, s.Image.Ref))
		p, err = d.build(ctx, s.Image.Ref)
	default:
		err = fmt.Errorf("an image of kind %q is no program", s.Image.Kind)
	}
	if err != nil {
		return program{}, err
	}
	d.programs[key] = p
	return p, nil
}

func (d *Driver) executable() (string, error) {
	if d.config.Executable != "" {
		return filepath.Abs(d.config.Executable)
	}
	return os.Executable()
}

// build compiles a Go main package. The result is named by its content, so that a later
// build never replaces a program that still runs.
func (d *Driver) build(ctx context.Context, folder string) (program, error) {
	dir, err := d.cache()
	if err != nil {
		return program{}, err
	}
	tmp, err := os.MkdirTemp(dir, "build-*")
	if err != nil {
		return program{}, fmt.Errorf("make a folder to build in: %w", err)
	}
	defer os.RemoveAll(tmp)
	name := filepath.Base(folder)
	out := filepath.Join(tmp, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", out, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return program{}, &target.UnavailableError{
			What: "build " + folder, Err: err, Hint: "install Go, or put it on the PATH",
		}
	case err != nil:
		return program{}, fmt.Errorf("build %s: %w\n%s", folder, err, printable(tail(text, maxTail)))
	}
	sum, err := digest(out)
	if err != nil {
		return program{}, err
	}
	final := filepath.Join(dir, sum[len("sha256:"):][:16]+"-"+name)
	if runtime.GOOS == "windows" {
		final += ".exe"
	}
	if err := os.Rename(out, final); err != nil {
		return program{}, fmt.Errorf("keep the program built from %s: %w", folder, err)
	}
	return program{path: final, digest: sum}, nil
}

func (d *Driver) cache() (string, error) {
	dir := d.config.CacheDir
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for built programs: %w", err)
		}
		dir = filepath.Join(user, "tutti")
	}
	dir = filepath.Join(dir, "programs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for built programs: %w", err)
	}
	return filepath.Abs(dir)
}

func digest(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the program %s: %w", file, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
