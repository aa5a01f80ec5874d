//go:build unix

package cmd_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	tutti "github.com/tutti-bench/tutti/lib"
)

// A run outlives whoever reads what it says: `| tee` dies by the same Ctrl-C, `| head` when it has enough.
func TestRunOutlivesItsReader(t *testing.T) {
	dir := t.TempDir()
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
	out := filepath.Join(dir, "run")
	c := exec.Command(binary(t), "run", "--engine", "process", "--out", out, filepath.Join(dir, "piped.yaml"))
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Errorf("it said nothing: %v", err)
	}
	r.Close()
	if err := c.Wait(); err != nil {
		ended, _ := errors.AsType[*exec.ExitError](err)
		t.Errorf("it ended with %v (%v) after %q", err, ended, line)
	}
	res, err := tutti.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "report.html")); err != nil || len(res.Trials) != 2 {
		t.Errorf("%d trials, report: %v", len(res.Trials), err)
	}
}
