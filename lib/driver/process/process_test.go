package process_test

import (
	"context"
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

// A proxy in front of every node changes nothing of what a node is.
func TestConformanceBehindProxies(t *testing.T) {
	conform(t, process.Config{}, behindProxies)
}

// behindProxies is a driver whose nodes all have a proxy in front of them.
func behindProxies(d *process.Driver) target.Driver { return proxying{d} }

type proxying struct{ target.Driver }

func (d proxying) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	s.Proxied = make(map[string]bool)
	for name := range s.Target.Services {
		s.Proxied[name] = true
	}
	return d.Driver.Up(ctx, s)
}

func conform(t *testing.T, c process.Config, change ...func(*process.Driver) target.Driver) {
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
		Parallel: true, NoRestartPolicy: true,
		New: func(*testing.T) target.Driver { return process.New(c) },
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
