package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/process"
	"github.com/tutti-bench/tutti/lib/target"
)

// TestMain lets the test binary play the nodes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "wait":
			<-time.After(time.Hour)
			return
		case "flood":
			flood(os.Stdout)
			return
		case "harness":
			harness()
			return
		case "web":
			web()
			return
		}
	}
	os.Exit(m.Run())
}

const floodLines = 40000

func flood(w io.Writer) {
	out := bufio.NewWriter(w)
	for i := range floodLines {
		fmt.Fprintf(out, "line %d %s\n", i, strings.Repeat("x", 64))
	}
	out.Flush()
}

// harness starts two nodes, prints their ids and waits to be killed.
func harness() {
	c, err := process.New(process.Config{}).Up(context.Background(), spec(waiting(2), ""))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for _, n := range c.Nodes() {
		fmt.Println("node", n.ID)
	}
	fmt.Println("up")
	<-time.After(time.Hour)
}

func waiting(scale int) *target.Target {
	return &target.Target{Name: "t", Services: map[string]target.Service{
		"app": {Name: "app", Image: target.Image{Kind: target.ImageTutti}, Command: []string{"wait"}, Scale: scale},
	}}
}

func spec(tg *target.Target, logs string) target.Spec {
	return target.Spec{
		Target: tg, Run: "test", Trial: "arm-1", LogDir: logs,
		Watch: func(target.NodeEvent) {}, Progress: func(string) {},
	}
}

func TestGoImage(t *testing.T) {
	folder, err := filepath.Abs("../drivertest/node")
	if err != nil {
		t.Fatal(err)
	}
	tg := &target.Target{Name: "t", Services: map[string]target.Service{"app": {
		Name: "app", Scale: 1,
		Image:   target.Image{Kind: target.ImageGo, Ref: folder},
		Command: []string{"serve"},
		Healthcheck: &target.Healthcheck{
			Test: []string{"CMD", "/node", "check"}, Interval: 100 * time.Millisecond, Retries: 50,
		},
	}}}
	cache := t.TempDir()
	d := process.New(process.Config{CacheDir: cache})
	digests, err := d.Prepare(t.Context(), tg, func(string) {})
	if err != nil || !strings.HasPrefix(digests["app"], "sha256:") {
		t.Fatalf("prepare: %q, %v", digests, err)
	}
	c, err := d.Up(t.Context(), spec(tg, ""))
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Nodes()[0]; n.Image != digests["app"] {
		t.Errorf("the node's program is %s, want %s", n.Image, digests["app"])
	}
	if err := c.Down(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestGoImageThatDoesNotBuild(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() { launch() }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tg := &target.Target{Services: map[string]target.Service{
		"app": {Name: "app", Image: target.Image{Kind: target.ImageGo, Ref: filepath.Join(dir)}},
	}}
	t.Setenv("GO111MODULE", "off") // the folder has no module
	_, err := process.New(process.Config{CacheDir: t.TempDir()}).Prepare(t.Context(), tg, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "service app") || !strings.Contains(err.Error(), "launch") {
		t.Errorf("the error does not show what the compiler says: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	ours := target.Image{Kind: target.ImageTutti}
	for name, c := range map[string]struct {
		service target.Service
		want    string
	}{
		"image":       {target.Service{Image: target.Image{Kind: target.ImageRef, Ref: "redis:7"}}, "redis:7"},
		"build":       {target.Service{Image: target.Image{Kind: target.ImageBuild}}, "Dockerfile"},
		"volume":      {target.Service{Image: ours, Mounts: []target.Mount{{Kind: "volume", Source: "d", Target: "/data"}}}, "/data"},
		"tmpfs":       {target.Service{Image: ours, Tmpfs: []string{"/run"}}, "/run"},
		"privileged":  {target.Service{Image: ours, Privileged: true}, "rights"},
		"namespace":   {target.Service{Image: ours, HostNamespaces: []string{"pid"}}, "rights"},
		"folder":      {target.Service{Image: ours, WorkingDir: "/srv"}, "/srv"},
		"entrypoint":  {target.Service{Image: ours, Entrypoint: []string{"/bin/sh", "-c"}}, "/bin/sh"},
		"healthcheck": {target.Service{Image: ours, Healthcheck: &target.Healthcheck{Test: []string{"CMD", "curl", "x"}}}, "curl"},
	} {
		t.Run(name, func(t *testing.T) {
			c.service.Name = "store"
			tg := &target.Target{Services: map[string]target.Service{"store": c.service}}
			d := process.New(process.Config{})
			_, err := d.Prepare(t.Context(), tg, func(string) {})
			checkUnavailable(t, err, c.want)
			_, err = d.Up(t.Context(), spec(tg, ""))
			checkUnavailable(t, err, c.want)
		})
	}
}

func checkUnavailable(t *testing.T, err error, want string) {
	t.Helper()
	var u *target.UnavailableError
	if !errors.As(err, &u) {
		t.Fatalf("want an UnavailableError, got %v", err)
	}
	for _, w := range []string{"service store", "needs Docker", want} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func TestWhatIsNotEnforcedIsSaid(t *testing.T) {
	tg := waiting(1)
	app := tg.Services["app"]
	app.CPUs, app.MemoryLimit, app.Restart = 0.5, 1<<20, "always"
	tg.Services["app"] = app
	var said []string
	if _, err := process.New(process.Config{}).Prepare(t.Context(), tg, func(s string) { said = append(said, s) }); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"service app", "cpus", "memory", "restart: always"} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing is said of %s: %q", want, all)
		}
	}
}

// afterFlood is a node that starts once another one has printed more than a log keeps.
func afterFlood() *target.Target {
	tg := waiting(1)
	app := tg.Services["app"]
	app.DependsOn = []target.Dependency{{Service: "flood", Condition: target.Completed, Required: true}}
	tg.Services["app"] = app
	tg.Services["flood"] = target.Service{Name: "flood", Scale: 1, Image: app.Image, Command: []string{"flood"}}
	return tg
}

func TestLogIsCapped(t *testing.T) {
	logs := t.TempDir()
	c, err := process.New(process.Config{}).Up(t.Context(), spec(afterFlood(), logs))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(logs, "flood-1.log"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	flood(&all)
	const half = 1 << 19
	first, last := all.String()[:half], all.String()[all.Len()-half:]
	middle := strings.TrimSuffix(strings.TrimPrefix(string(text), first), last)
	if len(text) != len(middle)+2*half {
		t.Fatalf("of %d bytes %d are kept, and they are not the first and the last %d", all.Len(), len(text), half)
	}
	if want := fmt.Sprintf("%d bytes are left out", all.Len()-2*half); !strings.Contains(middle, want) {
		t.Errorf("between them stands %q, want %q in it", middle, want)
	}
}

func TestRegistrationThatFails(t *testing.T) {
	var pids []int
	d := process.New(process.Config{Register: func(pid int) error {
		pids = append(pids, pid)
		return errors.New("the dog is asleep")
	}})
	_, err := d.Up(t.Context(), spec(waiting(2), ""))
	if err == nil || !strings.Contains(err.Error(), "the dog is asleep") {
		t.Errorf("the target is up with a child that nobody watches: %v", err)
	}
	if errors.Is(err, target.ErrLeft) {
		t.Errorf("nothing is left, and the error says so: %v", err)
	}
	if len(pids) != 1 {
		t.Fatalf("%d children were started, want 1", len(pids))
	}
	if p, err := os.FindProcess(pids[0]); err == nil && alive(p) {
		t.Errorf("process %d is left", pids[0])
	}
}

// A start that fails says so when not all that it had begun could be ended well.
func TestLeftAfterAStart(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("there is no /dev/full here")
	}
	logs := t.TempDir()
	if err := os.Symlink(full, filepath.Join(logs, "flood-1.log")); err != nil {
		t.Fatal(err)
	}
	children := 0
	d := process.New(process.Config{Register: func(int) error {
		if children++; children == 2 {
			return errors.New("the dog is asleep")
		}
		return nil
	}})
	_, err := d.Up(t.Context(), spec(afterFlood(), logs))
	if !errors.Is(err, target.ErrLeft) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the dog is asleep") {
		t.Errorf("%v; want why it did not start, and that a log could not be kept", err)
	}
}

func TestCircle(t *testing.T) {
	tg := waiting(1)
	app := tg.Services["app"]
	app.DependsOn = []target.Dependency{{Service: "b", Condition: target.Started, Required: true}}
	tg.Services["app"] = app
	tg.Services["b"] = target.Service{
		Name: "b", Image: app.Image, Scale: 1,
		DependsOn: []target.Dependency{{Service: "app", Condition: target.Started, Required: true}},
	}
	if _, err := process.New(process.Config{}).Up(t.Context(), spec(tg, "")); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("services that wait for each other: %v", err)
	}
}
