package docker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/driver/drivertest"
	"github.com/tutti-bench/tutti/lib/target"
)

func TestConformance(t *testing.T) {
	engine(t) // or skip
	program := drivertest.Build(t, "linux")
	t.Cleanup(func() { removeImages("tutti:" + sha(program)) })
	d, err := docker.New(t.Context(), docker.Config{Executable: program, Host: "conformance"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	drivertest.Run(t, drivertest.Suite{
		New:      func(*testing.T) target.Driver { return d },
		Parallel: true,
		Leftovers: func(t *testing.T, run string) []string {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			runs, err := d.Runs(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if left, ok := runs[run]; ok {
				return []string{fmt.Sprintf("%+v", left)}
			}
			return nil
		},
	})
}
