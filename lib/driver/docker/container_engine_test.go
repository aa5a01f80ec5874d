package docker_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/target"
)

// engineClient speaks to the engine past the driver.
func engineClient(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// inspect asks the engine itself what a node's container is.
func inspect(t *testing.T, n target.Node) container.InspectResponse {
	t.Helper()
	got, err := engineClient(t).ContainerInspect(t.Context(), n.ID)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// full is a target that uses most of what a service may have.
func full() *target.Target {
	tg := web(1)
	tg.Networks["back"] = target.Network{Name: "back", Internal: true}
	tg.Volumes = map[string]target.Volume{"data": {Name: "data"}}
	s := tg.Services["app"]
	s.Networks["back"] = target.Attachment{Aliases: []string{"store"}}
	s.Mounts = []target.Mount{
		{Kind: "volume", Source: "data", Target: "/data"},
		{Kind: "volume", Target: "/anonymous"},
		{Kind: "tmpfs", Target: "/scratch", Size: 1 << 20},
		{Kind: "bind", Source: "/usr", Target: "/host", ReadOnly: true},
	}
	s.Tmpfs = []string{"/run:size=1m"}
	s.Labels = map[string]string{target.LabelZone: "a", "mine": "yes"}
	s.Hostname, s.User, s.WorkingDir = "front", "1000:1000", "/tmp"
	s.Restart, s.StopSignal, s.StopGrace = "always", "SIGTERM", 1500*time.Millisecond
	s.CPUs, s.MemoryLimit, s.PidsLimit = 0.5, 64<<20, 100
	s.CapAdd, s.CapDrop = []string{"NET_BIND_SERVICE"}, []string{"ALL"}
	s.ReadOnly, s.Init = true, true
	tg.Services["app"] = s
	return tg
}

func TestContainer(t *testing.T) {
	t.Parallel()
	d := engine(t)
	var said []string
	id := run(t, d)
	c := up(t, d, target.Spec{Target: full(), Run: id, Places: map[string][]target.Place{"app": {target.InNode}}, Progress: func(m string) { said = append(said, m) }})
	n := c.Nodes()[0]
	if len(n.Addresses) != 2 || n.Addresses[0] != n.Address {
		t.Errorf("addresses: %v, the first must be %s", n.Addresses, n.Address)
	}
	if n.Zone != "a" || n.Host != "front" || !strings.HasPrefix(n.Image, "sha256:") {
		t.Errorf("node: %+v", n)
	}
	got := inspect(t, n)
	h := got.HostConfig
	for what, ok := range map[string]bool{
		"hostname":          got.Config.Hostname == "front",
		"user":              got.Config.User == "1000:1000",
		"working dir":       got.Config.WorkingDir == "/tmp",
		"stop signal":       got.Config.StopSignal == "SIGTERM",
		"stop grace":        got.Config.StopTimeout != nil && *got.Config.StopTimeout == 2,
		"restart policy":    h.RestartPolicy.Name == container.RestartPolicyAlways,
		"cpus":              h.NanoCPUs == 5e8,
		"memory":            h.Memory == 64<<20,
		"pids":              h.PidsLimit != nil && *h.PidsLimit == 100,
		"capabilities":      slices.Equal(h.CapDrop, []string{"ALL"}) && len(h.CapAdd) == 1 && strings.HasSuffix(h.CapAdd[0], "NET_BIND_SERVICE"),
		"read-only":         h.ReadonlyRootfs,
		"init":              h.Init != nil && *h.Init,
		"tmpfs":             h.Tmpfs["/run"] == "size=1m",
		"no new privileges": slices.Contains(h.SecurityOpt, "no-new-privileges:true"),
		"log is capped":     h.LogConfig.Type == "json-file" && h.LogConfig.Config["max-size"] != "",
		"no ports":          len(h.PortBindings) == 0,
		"compose labels":    got.Config.Labels["com.docker.compose.project"] == strings.ToLower("tutti-"+id+"-cluster-1") && got.Config.Labels["com.docker.compose.service"] == "app" && got.Config.Labels["com.docker.compose.container-number"] == "1",
		"own labels":        got.Config.Labels["mine"] == "yes" && got.Config.Labels[target.LabelRun] == id && got.Config.Labels[target.LabelTrial] == "Cluster-1" && got.Config.Labels[target.LabelRole] == "node",
		"program is told":   slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "/.tutti") }),
	} {
		if !ok {
			t.Errorf("%s is not as asked", what)
		}
	}
	mounted := make(map[string]bool)
	for _, m := range got.Mounts {
		mounted[m.Destination] = true
		if (m.Destination == "/host" || m.Destination == "/.tutti") && m.RW {
			t.Error("the read-only mount can be written to")
		}
	}
	for _, want := range []string{"/data", "/anonymous", "/scratch", "/host", "/.tutti"} {
		if !mounted[want] {
			t.Errorf("nothing is mounted at %s", want)
		}
	}
	var problem *target.UnavailableError
	if _, err := d.Prepare(t.Context(), ref("tutti.invalid/x", "never"), nil); !errors.As(err, &problem) {
		t.Errorf("a missing image: %v", err)
	}
}

// A killed node gets back every address that it had, on all of its networks.
func TestAddressesStay(t *testing.T) {
	t.Parallel()
	d := engine(t)
	tg := full()
	tg.Services["other"] = func() target.Service { s := app(1); s.Name = "other"; return s }()
	c := up(t, d, target.Spec{Target: tg})
	for _, n := range c.Nodes() { // killed together, started in the other order: the engine would swap them
		if _, err := c.(target.Killer).Kill(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	nodes := c.Nodes()
	for _, n := range slices.Backward(nodes) {
		if _, err := c.(target.Killer).Start(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[netip.Addr]bool)
	for _, n := range nodes {
		for name, e := range inspect(t, n).NetworkSettings.Networks {
			addr, err := netip.ParseAddr(e.IPAddress)
			if err != nil || seen[addr] || e.IPAMConfig == nil || e.IPAMConfig.IPv4Address != e.IPAddress {
				t.Errorf("%s on %s has %+v", n.Name, name, e)
			}
			seen[addr] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("addresses: %v", seen)
	}
	var urls []string
	for addr := range seen {
		urls = append(urls, "http://"+addr.String()+":8080")
	}
	retry(t, c, append([]string{"get", "http://store:8080"}, urls...), 4)
}

// retry asks until so many lines come: what has just been started need not listen yet.
func retry(t *testing.T, c target.Cluster, args []string, lines int) {
	t.Helper()
	var last error
	for range 20 {
		p, err := c.Attach(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		buf := make([]byte, 1024)
		for {
			n, err := p.Stdout.Read(buf)
			got += strings.Count(string(buf[:n]), "\n")
			if err != nil {
				break
			}
		}
		if last = p.Wait(); last == nil && got == lines {
			return
		}
	}
	t.Errorf("%q: %v", args, last)
}

// Two trials of one run have volumes and networks of their own.
func TestTrialsApart(t *testing.T) {
	t.Parallel()
	d := engine(t)
	id := run(t, d)
	a := up(t, d, target.Spec{Target: full(), Run: id, Trial: "a-1"})
	b := up(t, d, target.Spec{Target: full(), Run: id, Trial: "b-1"})
	if one, two := volumeAt(t, a, "/data"), volumeAt(t, b, "/data"); one == two || one == "" {
		t.Errorf("volumes %q and %q", one, two)
	}
	runs, err := d.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := runs[id]; got.Containers != 2 || got.Networks != 4 || got.Volumes < 2 {
		t.Errorf("the run has %+v", got)
	}
	stranger, err := docker.New(t.Context(), docker.Config{Host: "another machine"})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if theirs, err := stranger.Runs(t.Context()); err != nil || len(theirs) > 0 {
		t.Errorf("another machine sees %v, %v", theirs, err)
	}
	if err := a.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	retry(t, b, []string{"get", "http://app:8080"}, 1)
}

func volumeAt(t *testing.T, c target.Cluster, path string) string {
	t.Helper()
	for _, m := range inspect(t, c.Nodes()[0]).Mounts {
		if m.Destination == path {
			return m.Name
		}
	}
	return ""
}
