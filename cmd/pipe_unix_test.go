//go:build unix

package cmd_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
)

// unheard has tutti run a short scenario while its reader goes after the first line. It returns the folder in which it did, where
// the run's is out.
func unheard(t *testing.T, code int, command ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "compose.yaml"), sameCompose)
	write(t, filepath.Join(dir, "piped.yaml"), `
version: 1
name: piped
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {path: /healthz}, nodes: app, env: {SHARE: "0"}}
load: {rate: 50/s, for: 1s, warmup: 100ms, timeout: 1s, requests: [GET /]}
objectives: [target.availability >= 1%]
repeats: 2
`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(binary(t), append(command, "--engine", "process", "--out", "out", "piped.yaml")...)
	c.Dir, c.Stdout, c.Stderr = dir, w, w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Errorf("it said nothing: %v", err)
	}
	r.Close()
	if err := c.Wait(); c.ProcessState.ExitCode() != code {
		t.Errorf("it ended with %v after %q, want exit code %d", err, line, code)
	}
	return dir
}

// A run outlives whoever reads what it says: `| tee` dies by the same Ctrl-C, `| head` when it has enough.
func TestRunOutlivesItsReader(t *testing.T) {
	out := filepath.Join(unheard(t, 0, "run"), "out")
	res, err := tutti.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "report.html")); err != nil || len(res.Trials) != 2 {
		t.Errorf("%d trials, report: %v", len(res.Trials), err)
	}
}

// So does a measurement of noise, up to the file that it is for.
func TestNoiseOutlivesItsReader(t *testing.T) {
	dir := unheard(t, 0, "noise", "--repeats", "2", "--noise", "noise.json")
	for _, name := range []string{"noise.json", "out/noise.json", "out/report.html"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// And so does a self-test. That its gate does not bite is what it ends with.
func TestGateOutlivesItsReader(t *testing.T) {
	dir := unheard(t, 10, "gate", "--self-test")
	for _, name := range []string{"selftest.json", "as-is/report.html", "delay-200ms/report.html"} {
		if _, err := os.Stat(filepath.Join(dir, "out", name)); err != nil {
			t.Error(err)
		}
	}
}
