package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/cmd"
)

// needEngine skips the test where no Docker engine answers. In CI that is a failure.
func needEngine(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no Docker engine answers, and CI is set: %v %s", err, out)
		}
		t.Skipf("no Docker engine answers: %v %s", err, out)
	}
}

// The quickest of the planted defects are found for the reason that was planted, and nothing is found where nothing is.
// `make defects` does it with all of them.
func TestDefectsAreFound(t *testing.T) {
	needEngine(t)
	dir := t.TempDir()
	bin := dir + "/tutti"
	if err := build(t.Context(), ".", bin); err != nil {
		t.Fatal(err)
	}
	list, err := readExpectations("scenarios/defects/expect.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := &suite{dir: dir, tutti: bin, program: "test", kit: cmd.Builtin().Kit, until: time.Now().Add(10 * time.Minute), out: &out}
	quick := map[string]string{"sessions-in-memory": "found", "slow-node": "found", "control": "clean"}
	for _, e := range list {
		want, ok := quick[e.Name]
		if !ok {
			continue
		}
		delete(quick, e.Name)
		j, err := s.job(t.Context(), "scenarios/defects/"+e.Name+".yaml", e.Name, 1)
		if err != nil {
			t.Fatal(err)
		}
		o := s.do(t.Context(), j)
		if got := e.word(o); got != want {
			said, _ := os.ReadFile(s.folder(j) + ".log") // for the reader of the failure
			t.Errorf("%s: %s, want %s\n%s", e.Name, got, want, said)
			if o.Run != nil {
				t.Log(e.check(o.Run))
			}
		}
	}
	if len(quick) > 0 {
		t.Errorf("expect.yaml has nothing of %v", quick)
	}
}
