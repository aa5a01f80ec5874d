package faulttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/drivertest"
	"github.com/tutti-bench/tutti/lib/driver/process"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/faulttest"
	"github.com/tutti-bench/tutti/lib/fault/network"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/target"
)

// processes returns beds of two nodes on loopback, of which the first is hit.
func processes(t *testing.T) func(t *testing.T) *faulttest.Bed {
	d := process.New(process.Config{Executable: drivertest.Build(t, runtime.GOOS)})
	var mu sync.Mutex
	trials := 0
	return func(t *testing.T) *faulttest.Bed {
		t.Helper()
		mu.Lock()
		trials++
		s := target.Spec{
			Target: &target.Target{Name: "t", Services: map[string]target.Service{"app": {
				Name: "app", Image: target.Image{Kind: target.ImageTutti}, Command: []string{"serve"}, Scale: 2, Expose: []string{"8080"},
				StopGrace: time.Second,
			}}},
			Run: "faulttest", Trial: fmt.Sprint("arm-", trials), Proxied: map[string]bool{"app": true},
			Watch: func(target.NodeEvent) {}, Progress: func(string) {},
		}
		mu.Unlock()
		c, err := d.Up(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Down(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return faulttest.NewBed(t, c, []string{"app-1"}, func(ctx context.Context) error {
			for {
				if _, err := get(ctx, c.Nodes()[0], time.Second); err == nil {
					return nil
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		})
	}
}

// get asks a node over a connection of its own, and says how long that took.
func get(ctx context.Context, n target.Node, within time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint(n)+"/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return time.Since(began), errors.Join(err, resp.Body.Close())
}

// endpoint is where a node answers: where nodes share an address, it has a port in it.
func endpoint(n target.Node) string {
	if _, _, err := net.SplitHostPort(n.Address); err == nil {
		return n.Address
	}
	return net.JoinHostPort(n.Address, "8080")
}

func slow(least time.Duration) func(context.Context, *faulttest.Bed, target.Node) bool {
	return func(ctx context.Context, _ *faulttest.Bed, n target.Node) bool {
		took, err := get(ctx, n, 5*time.Second)
		return err == nil && took >= least
	}
}

func refusing(ctx context.Context, _ *faulttest.Bed, n target.Node) bool {
	_, err := get(ctx, n, time.Second)
	return errors.Is(err, syscall.ECONNREFUSED)
}

func silent(ctx context.Context, _ *faulttest.Bed, n target.Node) bool {
	_, err := get(ctx, n, 100*time.Millisecond)
	return errors.Is(err, context.DeadlineExceeded)
}

// asking is load on the nodes that are hit.
func asking(ctx context.Context, b *faulttest.Bed) {
	for ctx.Err() == nil {
		for _, n := range b.Nodes() {
			_, _ = get(ctx, n, time.Second) // what it sees, the proxy measures
		}
	}
}

// Every verb that the process driver has, for real.
func TestOnProcesses(t *testing.T) {
	bed := processes(t)
	cases := map[string]faulttest.Case{
		"latency": {
			Kind: network.LatencyKind(), Params: fault.Params{"delay": 150 * time.Millisecond},
			See: slow(150 * time.Millisecond), Load: asking, Hold: time.Second,
		},
		"bandwidth": {Kind: network.BandwidthKind(), Params: fault.Params{"rate": int64(80_000)}, Load: asking, Hold: time.Second},
		"refuse":    {Kind: network.RefuseKind(), See: refusing},
		"reset":     {Kind: network.ResetKind(), See: refusing},
		"kill":      {Kind: node.KillKind(), See: refusing, Down: true, Once: true},
		"crash":     {Kind: node.CrashKind(), See: refusing, Down: true, Once: true},
		"scale":     {Kind: node.ScaleKind(), Params: fault.Params{"to": 3}, Once: true, Down: true},
	}
	if runtime.GOOS != "windows" {
		cases["stop"] = faulttest.Case{Kind: node.StopKind(), See: refusing, Down: true, Once: true}
		cases["restart"] = faulttest.Case{Kind: node.RestartKind(), See: refusing, Down: true, Once: true}
		cases["rolling-restart"] = faulttest.Case{Kind: node.RollingRestartKind(), See: refusing, Down: true, Once: true}
		cases["pause"] = faulttest.Case{Kind: node.PauseKind(), See: silent, Once: true}
		cases["stutter"] = faulttest.Case{Kind: node.StutterKind(), See: silent, Once: true, Hold: 2 * time.Second}
	}
	for verb, c := range cases {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			c.New = func(t *testing.T) *faulttest.Bed {
				b := bed(t)
				if len(c.Kind.Ways) > 0 {
					b.Way = "proxy"
				}
				if c.Kind.WholeService {
					b.Hit = []string{"app-1", "app-2"}
				}
				return b
			}
			faulttest.Run(t, c)
		})
	}
}
