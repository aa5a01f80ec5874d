package docker_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/watchdog"
)

// sweepers are what cmd gives to the dog.
var sweepers = map[string]watchdog.Sweeper{"docker": func(ctx context.Context, o watchdog.Order) (int, error) {
	d, err := docker.New(ctx, docker.Config{})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return d.Sweep(ctx, o.Run)
}}

// asHarness starts a target and would never take it down.
func asHarness(run, exe string) error {
	ctx := context.Background()
	d, err := docker.New(ctx, docker.Config{Executable: exe, Host: "test-harness"})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := watchdog.Start(ctx, self, []string{"as-dog"}, watchdog.Order{Run: run, Driver: "docker", Env: d.Env()}); err != nil {
		return err
	}
	fmt.Println("begun")
	tg := web(3)
	tg.Volumes = map[string]target.Volume{"data": {Name: "data"}}
	c, err := d.Up(ctx, target.Spec{Target: tg, Run: run, Trial: "a-1"})
	if err != nil {
		return err
	}
	if _, err := c.Attach(ctx, "echo"); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
}

// asLoneHarness enters nodes and would never leave them; no watchdog is there to do it.
func asLoneHarness(run, exe string) error {
	ctx := context.Background()
	d, err := docker.New(ctx, docker.Config{Executable: exe, Host: "test-harness"})
	if err != nil {
		return err
	}
	c, err := d.Up(ctx, target.Spec{Target: web(1), Run: run, Trial: "a-1", Places: map[string][]target.Place{"app": {target.InNode}}})
	if err != nil {
		return err
	}
	for _, at := range []target.Place{target.InNetwork, target.InNode} {
		p, err := c.(target.Enterer).Enter(ctx, c.Nodes()[0], at, "", "wait")
		if err != nil {
			return err
		}
		if _, err := bufio.NewReader(p.Stdout).ReadString('\n'); err != nil {
			return err
		}
	}
	fmt.Println(c.Nodes()[0].ID)
	time.Sleep(time.Hour)
	return nil
}

// Helpers end with the harness that started them, by the engine alone. The limit is a noisy machine's.
func TestHelpersOfKilledHarness(t *testing.T) {
	d := engine(t)
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("T%d-lone", time.Now().UnixNano())
	t.Cleanup(func() {
		if _, err := d.Sweep(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command(os.Args[0], "as-lone-harness", id, exe)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the harness did not begin: %v", lines.Err())
	}
	_ = cmd.Process.Kill()
	died := time.Now()
	_ = cmd.Wait()
	if left := processes(t, target.Node{ID: lines.Text()}, "wait"); left > 0 {
		t.Errorf("%d of our processes are left in the node", left)
	}
	t.Logf("gone from the node after %v", time.Since(died))
	api := engineClient(t)
	for {
		list, err := api.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(
			filters.Arg("label", target.LabelRun+"="+id), filters.Arg("label", target.LabelRole+"=helper"))})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		if time.Since(died) > 10*time.Second {
			t.Fatalf("a helper runs on: %+v", list)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("gone from beside it after %v", time.Since(died))
}

// A run whose harness is killed at any moment leaves nothing after 15 s, and a run
// beside it is left alone. TUTTI_KILLS asks for more moments.
func TestKilledHarness(t *testing.T) {
	d := engine(t)
	beside := up(t, d, target.Spec{Target: web(1)})
	t.Cleanup(func() { // when the others are over, and before it is taken down
		if got := output(t, beside, "get", "http://app:8080"); got != "app-1 \n" {
			t.Errorf("the run beside it answers %q", got)
		}
	})
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	kills := 3
	if s := os.Getenv("TUTTI_KILLS"); s != "" {
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for range kills {
		after := rand.N(2500 * time.Millisecond)
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			id := run(t, d)
			cmd := exec.Command(self, "as-harness", id, exe)
			cmd.Env = append(os.Environ(), "TUTTI_CACHE="+t.TempDir())
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "begun" {
				t.Fatalf("the harness did not begin: %q", s.Text())
			}
			time.Sleep(after)
			died := time.Now()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			had := nothingLeft(t, id, died)
			t.Logf("it had %+v, gone after %v", had, time.Since(died).Round(time.Millisecond))
		})
	}
}

// nothingLeft waits until a run has been gone for two seconds, within 15 s.
func nothingLeft(t *testing.T, id string, died time.Time) (had docker.Remains) {
	t.Helper()
	harness, err := docker.New(t.Context(), docker.Config{Host: "test-harness"})
	if err != nil {
		t.Fatal(err)
	}
	defer harness.Close()
	for empty := 0; empty < 10; time.Sleep(200 * time.Millisecond) {
		runs, err := harness.Runs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left, there := runs[id]
		if empty++; there {
			had, empty = left, 0
		}
		if time.Since(died) > 15*time.Second+2*time.Second {
			t.Fatalf("15 s after the harness died there is %+v", left)
		}
	}
	return had
}
