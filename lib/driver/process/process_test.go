package process_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tutti-bench/tutti/lib/driver/drivertest"
	"github.com/tutti-bench/tutti/lib/driver/process"
	"github.com/tutti-bench/tutti/lib/target"
)

func TestConformance(t *testing.T) {
	conform(t, process.Config{})
}

func TestConformanceOnOneAddress(t *testing.T) {
	conform(t, process.Config{SharedAddress: true})
}

func conform(t *testing.T, c process.Config) {
	t.Helper()
	var mu sync.Mutex
	var pids []int
	c.Executable = drivertest.Build(t, runtime.GOOS)
	c.CacheDir = t.TempDir()
	c.Register = func(pid int) error {
		mu.Lock()
		defer mu.Unlock()
		pids = append(pids, pid)
		return nil
	}
	t.Setenv("TMPDIR", t.TempDir())
	drivertest.Run(t, drivertest.Suite{
		Parallel: true,
		New:      func(*testing.T) target.Driver { return process.New(c) },
		Leftovers: func(t *testing.T, run string) []string {
			t.Helper()
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "tutti-"+run+"*"))
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, pid := range pids {
				// A node's folder has the run in its name; it is gone, but the link still says it.
				cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
				if err == nil && strings.Contains(cwd, "tutti-"+run) {
					left = append(left, "process "+strconv.Itoa(pid))
				}
			}
			return left
		},
	})
}
