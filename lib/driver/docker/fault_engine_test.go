package docker_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// The kernel has what the engine says, and has it no more.
func TestLimitInTheKernel(t *testing.T) {
	t.Parallel()
	d := engine(t)
	tg := web(1)
	own := app(1)
	own.Name, own.CPUs = "own", 1.5
	tg.Services["own"] = own
	c := up(t, d, target.Spec{Target: tg})
	for _, n := range c.Nodes() {
		before := quota(t, n.ID)
		for _, cores := range []float64{0.5, 0.25, 0} {
			e, err := c.(target.Limiter).Limit(t.Context(), n, cores)
			if err != nil {
				t.Fatal(err)
			}
			want := map[float64]string{0.5: "50000", 0.25: "25000", 0: before}[cores]
			if got := quota(t, n.ID); got != want {
				t.Errorf("%s at %v cores: the kernel has %q, want %q (%s)", n.Name, cores, got, want, e.Proof)
			}
		}
	}
}

// quota reads a container's CPU quota, where the engine's control groups are this machine's.
func quota(t *testing.T, id string) string {
	t.Helper()
	for _, pattern := range []string{
		"/sys/fs/cgroup/cpu/docker/" + id + "/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/system.slice/docker-" + id + ".scope/cpu.cfs_quota_us",
		"/sys/fs/cgroup/docker/" + id + "/cpu.max", "/sys/fs/cgroup/system.slice/docker-" + id + ".scope/cpu.max",
	} {
		b, err := os.ReadFile(pattern)
		if err == nil {
			return strings.Fields(string(b))[0]
		}
	}
	t.Skip("the engine's control groups are not found on this machine")
	return ""
}

// What an image puts into a new volume is there too if the volume has a size, with its owner, and is there after a kill.
func TestBoundedVolumeIsFilled(t *testing.T) {
	t.Parallel()
	d := engine(t)
	dir := folder(t, map[string]string{
		"Dockerfile": "FROM scratch\nCOPY tutti /tutti\nCOPY --chown=1234:1234 seed /data/seed\nUSER 1234\nENTRYPOINT [\"/tutti\"]\n",
		"seed":       "from the image",
	})
	copyProgram(t, dir)
	if err := os.Chmod(filepath.Join(dir, "seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	tg := web(1)
	tg.Volumes = map[string]target.Volume{"data": {Name: "data"}}
	s := tg.Services["app"]
	s.Image = target.Image{Kind: target.ImageBuild, Context: dir}
	s.Mounts = []target.Mount{{Kind: "volume", Source: "data", Target: "/data"}}
	tg.Services["app"] = s
	prepare(t, d, tg)
	var said []string
	c := up(t, d, target.Spec{
		Target: tg, Bounded: map[string]int64{"data": 1 << 20}, Progress: func(m string) { said = append(said, m) },
	})
	n := c.Nodes()[0]
	seed := func() {
		t.Helper()
		got, err := c.(target.Execer).Exec(t.Context(), n, []string{"/tutti", "cat", "/data/seed"})
		if err != nil || got.Output != "from the image" {
			t.Errorf("the volume holds %+v, %v", got, err)
		}
	}
	seed()
	if _, err := c.(target.Killer).Kill(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := c.(target.Killer).Start(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	seed()
	if !slices.ContainsFunc(said, func(m string) bool {
		return strings.Contains(m, "volume data") && strings.Contains(m, "1048576 bytes of memory")
	}) {
		t.Errorf("it is not told: %q", said)
	}
	tg.Volumes["data"] = target.Volume{Name: "data", Opts: map[string]string{"type": "tmpfs", "device": "tmpfs"}}
	other, err := d.Up(t.Context(), target.Spec{Target: tg, Run: run(t, d), Trial: "a-1", Bounded: map[string]int64{"data": 1 << 20}})
	if err == nil {
		_ = other.Down(t.Context())
		t.Error("a volume that the file makes in its own way was given a size")
	}
}

func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	d := engine(t)
	var w watcher
	tg := web(1)
	s := tg.Services["app"]
	s.MemoryLimit, s.Healthcheck = 32<<20, nil
	tg.Services["app"] = s
	c := up(t, d, target.Spec{Target: tg, Watch: w.watch})
	got, err := c.(target.Execer).Exec(t.Context(), c.Nodes()[0], []string{"/tutti", "hog"})
	if err != nil || got.Code != 137 {
		t.Errorf("it was not killed: %+v, %v", got, err)
	}
	for end := time.Now().Add(10 * time.Second); !slices.Contains(w.kinds("app-1"), record.NodeOOM); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("told is %q", w.kinds("app-1"))
		}
	}
}

// An exec whose harness closes the connection ends, and so does one that nobody reads from.
func TestEnteredNodeAfterKill(t *testing.T) {
	t.Parallel()
	d := engine(t)
	c := up(t, d, target.Spec{Target: web(1), Places: map[string][]target.Place{"app": {target.InNode}}})
	n := c.Nodes()[0]
	p := waiting(t, c, n, target.InNode)
	began := time.Now()
	p.Kill()
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "it was killed") {
		t.Errorf("a killed one ends with: %v", err)
	}
	t.Logf("gone after %v", time.Since(began))

	// In a frozen node nothing can end, and nobody waits for it forever.
	p = waiting(t, c, n, target.InNode)
	if _, err := c.(target.Pauser).Pause(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "ends with the node") {
		t.Errorf("one in a frozen node ends with: %v", err)
	}
	if _, err := c.(target.Pauser).Unpause(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if left := processes(t, n, "wait"); left != 0 {
		t.Errorf("%d of them run on in the thawed node", left)
	}
	if _, err := c.(target.Enterer).Enter(t.Context(), c.Nodes()[0], target.AtVolume, "nothing", "wait"); err == nil {
		t.Error("a volume that is not there can be mounted")
	}
}

// waiting is a process in a node that runs and waits for its input to end.
func waiting(t *testing.T, c target.Cluster, n target.Node, at target.Place) *target.Process {
	t.Helper()
	p, err := c.(target.Enterer).Enter(t.Context(), n, at, "", "wait")
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return p
}

// processes waits until none with this argument runs in a node, within 5 s, and returns how many do.
func processes(t *testing.T, n target.Node, argument string) (running int) {
	t.Helper()
	c := engineClient(t)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		top, err := c.ContainerTop(t.Context(), n.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		running = 0
		for _, p := range top.Processes {
			if strings.HasSuffix(p[len(p)-1], " "+argument) {
				running++
			}
		}
		if running == 0 || time.Now().After(end) {
			return running
		}
	}
}

// What a helper is made of, as the engine itself says.
func TestHelper(t *testing.T) {
	t.Parallel()
	d := engine(t)
	c := up(t, d, target.Spec{Target: web(1)})
	n := c.Nodes()[0]
	p := waiting(t, c, n, target.InNetwork)
	api := engineClient(t)
	list, err := api.ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(s container.Summary) bool {
		return s.Labels[target.LabelRole] == "helper" && s.Labels[target.LabelRun] == inspect(t, n).Config.Labels[target.LabelRun]
	})
	if i < 0 {
		t.Fatal("no container is labelled as a helper of this run")
	}
	got := inspect(t, target.Node{ID: list[i].ID})
	h := got.HostConfig
	for what, ok := range map[string]bool{
		"trial":             got.Config.Labels[target.LabelTrial] == "Cluster-1",
		"network":           string(h.NetworkMode) == "container:"+n.ID,
		"capabilities":      slices.Equal(h.CapDrop, []string{"ALL"}) && len(h.CapAdd) == 1 && strings.HasSuffix(h.CapAdd[0], "NET_ADMIN"),
		"read-only":         h.ReadonlyRootfs,
		"no new privileges": slices.Contains(h.SecurityOpt, "no-new-privileges:true"),
		"not privileged":    !h.Privileged,
		"no restart":        h.RestartPolicy.Name == container.RestartPolicyDisabled,
		"no log":            h.LogConfig.Type == "none",
		"memory":            h.Memory > 0 && h.Memory <= 256<<20,
		"pids":              h.PidsLimit != nil && *h.PidsLimit > 0,
		"stdin once":        got.Config.OpenStdin && got.Config.StdinOnce,
		"no mounts":         len(got.Mounts) == 0,
	} {
		if !ok {
			t.Errorf("%s is not as asked", what)
		}
	}
	if err := p.Stdin.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}
