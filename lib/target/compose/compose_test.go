package compose_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/target/compose"
)

// write makes a folder with these files and returns its path, links resolved.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, files map[string]string, o compose.Options) (*target.Target, error) {
	t.Helper()
	o.Dir = write(t, files)
	if o.Files == nil {
		o.Files = []string{"compose.yaml"}
	}
	return compose.Load(context.Background(), o)
}

func mustLoad(t *testing.T, files map[string]string, o compose.Options) *target.Target {
	t.Helper()
	tg, err := load(t, files, o)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

const whole = `
name: shop
services:
  app:
    image: tutti
    command: [web, --listen, ":8080"]
    environment: {A: "${A:-x}", B: from-file}
    env_file: app.env
    networks: {back: {aliases: [api], ipv4_address: 10.77.0.9}}
    volumes: ["data:/data", "./conf:/conf:ro", {type: tmpfs, target: /tmp, tmpfs: {size: 64m}}]
    healthcheck: {test: [CMD, /tutti, node, get], interval: 1s, timeout: 2s, retries: 4, start_period: 5s, start_interval: 100ms}
    depends_on: {db: {condition: service_healthy}}
    deploy: {replicas: 3, resources: {limits: {cpus: "0.1", memory: 64m, pids: 50}}}
    labels: {tutti.zone: a}
    stop_signal: SIGINT
    stop_grace_period: 3s
    user: "1000:1000"
    working_dir: /w
    hostname: h
    expose: ["8080"]
    ports: ["80:8080", "9090:9090"]
    restart: unless-stopped
    cap_add: [NET_ADMIN]
    cap_drop: [MKNOD]
    read_only: true
    tmpfs: /run
    init: true
    secrets: [key]
  db:
    build: {context: ./db, target: final, args: {V: "1"}}
    networks: [back]
    container_name: the-db
  later:
    image: go://./later
    profiles: [extra]
networks: {back: {internal: true, ipam: {config: [{subnet: 10.77.0.0/24}]}}}
volumes: {data: {}}
secrets: {key: {file: ./key.txt}}
`

func wholeFiles() map[string]string {
	return map[string]string{
		"compose.yaml": whole, "app.env": "B=env-file\nC=3\n", "conf/x": "", "db/Dockerfile": "FROM scratch\n",
		"later/main.go": "package main", "key.txt": "k", ".env": "A=dot\n",
	}
}

func TestLoad(t *testing.T) {
	tg := mustLoad(t, wholeFiles(), compose.Options{Profiles: []string{"extra"}})
	a := tg.Services["app"]
	checks := map[string]bool{
		"name":        tg.Name == "shop",
		"kind":        a.Image.Kind == target.ImageTutti,
		"command":     strings.Join(a.Command, " ") == "web --listen :8080",
		"env":         a.Environment["A"] == "dot" && a.Environment["B"] == "from-file" && a.Environment["C"] == "3",
		"network":     a.Networks["back"].Address == "10.77.0.9" && strings.Join(a.Networks["back"].Aliases, " ") == "api" && tg.Services["db"].Networks["back"].Aliases[0] == "the-db",
		"volume":      a.Mounts[0] == target.Mount{Kind: "volume", Source: "data", Target: "/data"},
		"bind":        a.Mounts[1] == target.Mount{Kind: "bind", Source: filepath.Join(tg.Dir, "conf"), Target: "/conf", ReadOnly: true},
		"tmpfs":       a.Mounts[2] == target.Mount{Kind: "tmpfs", Target: "/tmp", Size: 64 << 20},
		"secret":      a.Mounts[3] == target.Mount{Kind: "bind", Source: filepath.Join(tg.Dir, "key.txt"), Target: "/run/secrets/key", ReadOnly: true},
		"health":      a.Healthcheck.Interval == time.Second && a.Healthcheck.Retries == 4 && a.Healthcheck.StartInterval == 100*time.Millisecond,
		"dependency":  len(a.DependsOn) == 1 && a.DependsOn[0] == target.Dependency{Service: "db", Condition: target.Healthy, Required: true},
		"scale":       a.Scale == 3 && tg.Services["db"].Scale == 1,
		"limits":      a.CPUs == 0.1 && a.MemoryLimit == 64<<20 && a.PidsLimit == 50,
		"label":       a.Labels[target.LabelZone] == "a",
		"stop":        a.StopSignal == "SIGINT" && a.StopGrace == 3*time.Second && tg.Services["db"].StopGrace == 10*time.Second,
		"user":        a.User == "1000:1000" && a.WorkingDir == "/w" && a.Hostname == "h",
		"expose":      strings.Join(a.Expose, " ") == "8080 9090",
		"restart":     a.Restart == "unless-stopped",
		"caps":        a.CapAdd[0] == "NET_ADMIN" && a.CapDrop[0] == "MKNOD" && a.ReadOnly && a.Tmpfs[0] == "/run" && a.Init,
		"build":       tg.Services["db"].Image.Context == filepath.Join(tg.Dir, "db") && tg.Services["db"].Image.Dockerfile == "Dockerfile" && tg.Services["db"].Image.Args["V"] == "1",
		"go":          tg.Services["later"].Image.Ref == filepath.Join(tg.Dir, "later"),
		"networks":    tg.Networks["back"] == target.Network{Name: "back", Internal: true, Subnet: "10.77.0.0/24"} && tg.Networks["default"].Name == "default",
		"volumes":     tg.Volumes["data"].Name == "data",
		"ports noted": strings.Contains(strings.Join(tg.Notes, "\n"), "service app: ports"),
	}
	for what, ok := range checks {
		if !ok {
			t.Errorf("%s is not as in the file: %+v", what, a)
		}
	}
}
