package cmd_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// built is the binary under test, built once: static, as the README has it, so that it can go into an image.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tutti-cmd-test-*")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "tutti")
	c := exec.Command("go", "build", "-trimpath", "-o", name, "./tutti")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return name, c.Run()
})

func TestMain(m *testing.M) {
	_ = os.Unsetenv("GITHUB_ACTIONS") // where a test wants a runner, it says so
	code := m.Run()
	if name, err := built(); err == nil && code >= 0 {
		_ = os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	name, err := built()
	if err != nil {
		t.Fatalf("build the binary under test: %v", err)
	}
	return name
}

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

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
