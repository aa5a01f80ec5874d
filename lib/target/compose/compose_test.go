package compose_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
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

func TestRefusals(t *testing.T) {
	outside := write(t, map[string]string{"x": ""})
	for _, c := range []struct {
		name, service string // the service's fields besides its image
		allow         string // with it the service is taken; "" if nothing allows it
		want          []string
	}{
		{"privileged", "privileged: true", "privileged", []string{"compose.yaml:4:5", "service app: privileged"}},
		{"socket", "volumes: [/var/run/docker.sock:/s:ro]", "docker-socket", []string{"service app: volumes.0", "socket"}},
		{"folder of the socket", "volumes: [/var/run:/s:ro]", "docker-socket", []string{"socket"}},
		{"API socket", "use_api_socket: true", "", []string{"service app: use_api_socket"}},
		{"pid", "pid: host", "host-namespaces", []string{"service app: pid"}},
		{"ipc", "ipc: host", "host-namespaces", []string{"service app: ipc"}},
		{"userns", "userns_mode: host", "host-namespaces", []string{"service app: userns_mode"}},
		{"network", "network_mode: host", "", []string{"service app: network_mode", "use networks"}},
		{"unconfined", "security_opt: [seccomp=unconfined]", "unconfined", []string{"service app: security_opt"}},
		{"capability", "cap_add: [CAP_SYS_ADMIN]", "cap-add:sys_admin", []string{"service app: cap_add", "SYS_ADMIN"}},
		{"all capabilities", "cap_add: [all]", "cap-add:ALL", []string{"service app: cap_add"}},
		{"bind outside", "volumes: ['" + outside + ":/o']", "writable-bind:" + outside, []string{"service app: volumes.0", outside, "read-only"}},
		{"bind through a link", "volumes: [./link:/o]", "writable-bind:" + outside, []string{"service app: volumes.0", outside}},
		{"bind of nothing", "volumes: [./nothing:/o:ro]", "", []string{"service app: volumes.0", "nothing"}},
		{"go without folder", "image: go://./nothing", "", []string{"service app: image", "nothing"}},
		{"bad image", "image: '///'", "", []string{"service app: image"}},
		{"unknown field", "teleport: true", "", []string{"teleport"}},
		{"sysctls", "sysctls: {net.core.somaxconn: 1}", "", []string{"compose.yaml:4:5", "service app: sysctls"}},
		{"global", "deploy: {mode: global}", "", []string{"service app: deploy.mode"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := "image: tutti"
			if strings.HasPrefix(c.service, "image:") {
				image = "labels: {a: b}"
			}
			dir := write(t, map[string]string{"compose.yaml": "services:\n  app:\n    " + image + "\n    " + c.service + "\n"})
			if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			o := compose.Options{Dir: dir, Files: []string{"compose.yaml"}}
			_, err := compose.Load(t.Context(), o)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if c.allow == "" {
				return
			}
			o.Allow = []string{c.allow}
			if _, err := compose.Load(t.Context(), o); err != nil {
				t.Errorf("with --allow %s: %v", c.allow, err)
			}
		})
	}
}

// A volume of the local driver with a device is a bind mount in disguise.
func TestVolumeOfAFolderIsABind(t *testing.T) {
	outside := write(t, map[string]string{"x": ""})
	files := map[string]string{"compose.yaml": `
services: {app: {image: tutti, volumes: ["v:/v"]}}
volumes: {v: {driver: local, driver_opts: {type: none, o: bind, device: ` + outside + `}}}
`}
	if _, err := load(t, files, compose.Options{}); err == nil || !strings.Contains(err.Error(), "volume v: driver_opts") {
		t.Errorf("a writable folder outside the target's: %v", err)
	}
	mustLoad(t, files, compose.Options{Allow: []string{"writable-bind:" + outside}})
}

func TestAllowed(t *testing.T) {
	tg := mustLoad(t, map[string]string{"compose.yaml": `
services: {app: {image: tutti, privileged: true, pid: host, security_opt: ["apparmor=unconfined"]}}
`}, compose.Options{Allow: []string{"privileged", "host-namespaces", "unconfined"}})
	a := tg.Services["app"]
	if !a.Privileged || len(a.HostNamespaces) != 1 || a.HostNamespaces[0] != "pid" || len(a.SecurityOpt) != 1 {
		t.Errorf("what is allowed does not arrive: %+v", a)
	}
	if _, err := load(t, map[string]string{"compose.yaml": "services: {app: {image: tutti}}"}, compose.Options{Allow: []string{"everything"}}); err == nil {
		t.Error("a danger that nobody knows can be allowed")
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := load(t, map[string]string{"compose.yaml": `
services:
  a: {image: tutti, network_mode: host}
  b: {image: tutti, privileged: true}
networks: {n: {external: true}}
`}, compose.Options{})
	for _, want := range []string{"service a: network_mode", "service b: privileged", "network n: external"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestMergeIncludeExtends(t *testing.T) {
	files := map[string]string{
		"compose.yaml": `
include: [sub/more.yaml]
services:
  app: {extends: {file: base.yaml, service: web}, environment: {MODE: first}}
`,
		"base.yaml":     "services: {web: {image: tutti, command: [serve], environment: {FROM: base}}}",
		"over.yaml":     "services: {app: {environment: {MODE: second}, scale: 2}}",
		"sub/more.yaml": "services: {more: {image: tutti, volumes: ['./data:/d:ro']}}",
		"sub/data/x":    "",
	}
	tg := mustLoad(t, files, compose.Options{Files: []string{"compose.yaml", "over.yaml"}})
	a := tg.Services["app"]
	if a.Command[0] != "serve" || a.Environment["FROM"] != "base" || a.Environment["MODE"] != "second" || a.Scale != 2 {
		t.Errorf("extends or merging went wrong: %+v", a)
	}
	if m := tg.Services["more"].Mounts; len(m) != 1 || m[0].Source != filepath.Join(tg.Dir, "sub", "data") {
		t.Errorf("the included file's path is %+v", m)
	}
}

func TestInterpolation(t *testing.T) {
	t.Setenv("FROM_PROCESS", "process")
	files := map[string]string{
		".env": "FROM_FILE=file\nBOTH=file\nFROM_PROCESS=file\n",
		"compose.yaml": `
services:
  app:
    image: tutti
    environment: {A: "$FROM_PROCESS", B: "${FROM_FILE}", C: "${BOTH}", D: "${NOT_SET_ANYWHERE}", E: "${ALSO_NOT:-d}", F: $$x, G: }
`,
	}
	tg := mustLoad(t, files, compose.Options{Env: map[string]string{"BOTH": "option"}})
	env := tg.Services["app"].Environment
	for k, want := range map[string]string{"A": "process", "B": "file", "C": "option", "D": "", "E": "d", "F": "$x"} {
		if env[k] != want {
			t.Errorf("%s is %q, want %q", k, env[k], want)
		}
	}
	if _, ok := env["G"]; ok {
		t.Error("a name without a value is in the environment")
	}
	notes := strings.Join(tg.Notes, "\n")
	if !strings.Contains(notes, "NOT_SET_ANYWHERE") || strings.Contains(notes, "ALSO_NOT") {
		t.Errorf("the notes on blank variables: %s", notes)
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	const secret = "hunter2"
	for name, files := range map[string]map[string]string{
		".env":     {".env": "PASS WORD=" + secret + "\n", "compose.yaml": "services: {app: {image: tutti}}"},
		"env_file": {"a.env": "PASS WORD=" + secret + "\n", "compose.yaml": "services: {app: {image: tutti, env_file: a.env}}"},
		"quote":    {".env": `P="` + secret + "\n", "compose.yaml": "services: {app: {image: tutti}}"},
		"cast":     {".env": "P=" + secret + "\n", "compose.yaml": "services: {app: {image: tutti, read_only: '$P'}}"},
		"number":   {".env": "P=" + secret + "\n", "compose.yaml": "services: {app: {image: tutti, pids_limit: '$P'}}"},
		"size":     {".env": "P=" + secret + "\n", "compose.yaml": "services: {app: {image: tutti, mem_limit: '$P'}}"},
		"duration": {".env": "P=" + secret + "\n", "compose.yaml": "services: {app: {image: tutti, stop_grace_period: '$P'}}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, files, compose.Options{})
			if err == nil {
				t.Fatal("it is taken")
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the value: %v", err)
			}
			t.Log(err)
		})
	}
}

// A config with content is a file of the node's own; its variables are set as everywhere else in the file.
func TestConfigContent(t *testing.T) {
	files := map[string]string{"compose.yaml": `
services:
  lb:
    image: tutti
    configs:
      - {source: cfg, target: /etc/lb.cfg, uid: "7", gid: "8", mode: 0640}
      - plain
configs:
  cfg: {content: "retries ${RETRIES:-3} $$host\n"}
  plain: {content: p}
`}
	tg := mustLoad(t, files, compose.Options{Env: map[string]string{"RETRIES": "5"}})
	want := []target.File{
		{Target: "/etc/lb.cfg", Content: "retries 5 $host\n", Mode: 0o640, UID: 7, GID: 8},
		{Target: "/plain", Content: "p", Mode: 0o444},
	}
	lb := tg.Services["lb"]
	if !slices.Equal(lb.Files, want) || len(lb.Mounts) > 0 {
		t.Errorf("files are %+v and mounts %+v, want the files %+v", lb.Files, lb.Mounts, want)
	}
}

// A link without a name of its own is what depends_on is. With one, the name would be lost.
func TestLink(t *testing.T) {
	tg := mustLoad(t, map[string]string{"compose.yaml": `
services:
  app: {image: tutti, links: [db, "other:other"]}
  db: {image: tutti}
  other: {image: tutti}
`}, compose.Options{})
	if d := tg.Services["app"].DependsOn; len(d) != 2 || d[0].Service != "db" || !strings.Contains(strings.Join(tg.Notes, "\n"), "service app: links: honoured as depends_on") {
		t.Errorf("it depends on %+v, with the notes %q", d, tg.Notes)
	}
	_, err := load(t, map[string]string{"compose.yaml": `
services:
  app: {image: tutti, links: [other, "db:mysql"]}
  db: {image: tutti}
  other: {image: tutti}
`}, compose.Options{})
	for _, want := range []string{"compose.yaml:3:", "service app: links.1: mysql would not resolve", "aliases of service db"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	for _, c := range []struct{ service, config, want string }{
		{"configs: [{source: c, uid: '7'}]", "{file: ./f}", "service s: configs.0.uid: a file keeps the owner"},
		{"configs: [{source: c, uid: root}]", "{content: x}", "\"root\" is not a number"},
		{"configs: [c]\n    read_only: true", "{content: x}", "service s: configs.0: nothing can be put into a container that is read-only"},
	} {
		file := "services:\n  s:\n    image: tutti\n    " + c.service + "\nconfigs:\n  c: " + c.config + "\n"
		_, err := load(t, map[string]string{"compose.yaml": file, "f": ""}, compose.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: the error is %v, want %q", c.service, c.config, err, c.want)
		}
	}
}
