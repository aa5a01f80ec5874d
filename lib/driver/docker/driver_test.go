package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/target"
)

// home makes an empty configuration of the docker command.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"} {
		t.Setenv(name, "")
	}
	return dir
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// addContext makes a Docker context as `docker context create` does.
func addContext(t *testing.T, dir, name, host string) {
	t.Helper()
	sum := shaOf(name)
	write(t, filepath.Join(dir, "contexts", "meta", sum, "meta.json"), map[string]any{
		"Name": name, "Metadata": map[string]any{},
		"Endpoints": map[string]any{"docker": map[string]any{"Host": host}},
	})
}

func TestContext(t *testing.T) {
	here := func(f *fake) string { return "tcp://" + f.server.Listener.Addr().String() }
	for name, c := range map[string]struct {
		set  func(t *testing.T, dir string, f *fake)
		want string
	}{
		"DOCKER_HOST": {func(t *testing.T, dir string, f *fake) {
			t.Helper()
			addContext(t, dir, "other", "tcp://192.0.2.1:1")
			t.Setenv("DOCKER_CONTEXT", "other")
			t.Setenv("DOCKER_HOST", here(f))
		}, "default"},
		"DOCKER_CONTEXT": {func(t *testing.T, dir string, f *fake) {
			t.Helper()
			addContext(t, dir, "mine", here(f))
			addContext(t, dir, "other", "tcp://192.0.2.1:1")
			write(t, filepath.Join(dir, "config.json"), map[string]any{"currentContext": "other"})
			t.Setenv("DOCKER_CONTEXT", "mine")
		}, "mine"},
		"current context": {func(t *testing.T, dir string, f *fake) {
			t.Helper()
			addContext(t, dir, "mine", here(f))
			write(t, filepath.Join(dir, "config.json"), map[string]any{"currentContext": "mine"})
		}, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, "1.51")
			dir := home(t)
			c.set(t, dir, f)
			d := f.open()
			facts, err := d.Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if facts.Details["context"] != c.want || facts.Details["engine"] != "29.0.0" || facts.Details["api"] != "1.51" {
				t.Errorf("facts: %v", facts.Details)
			}
			// A child finds the same engine after the user has chosen another.
			write(t, filepath.Join(dir, "config.json"), map[string]any{"currentContext": "gone"})
			for k, v := range d.Env() {
				t.Setenv(k, v)
			}
			if _, err := f.open().Probe(t.Context()); err != nil {
				t.Errorf("with the driver's environment: %v", err)
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	t.Run("unknown context", func(t *testing.T) {
		home(t)
		t.Setenv("DOCKER_CONTEXT", "nowhere")
		_, err := docker.New(t.Context(), docker.Config{})
		checkUnavailable(t, err, "nowhere", "docker context ls")
	})
	t.Run("nobody listens", func(t *testing.T) {
		home(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		t.Setenv("DOCKER_HOST", "tcp://"+l.Addr().String())
		checkProbe(t, l.Addr().String(), "start Docker")
	})
	t.Run("no answer", func(t *testing.T) {
		home(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		t.Setenv("DOCKER_HOST", "tcp://"+l.Addr().String())
		checkProbe(t, l.Addr().String(), "start Docker")
	})
	t.Run("Windows containers", func(t *testing.T) {
		home(t)
		f := newFake(t, "1.51")
		f.handle = func(w http.ResponseWriter, _ *http.Request, path string) bool {
			if path == "/info" {
				reply(w, map[string]any{"OSType": "windows", "Architecture": "x86_64"})
			}
			return path == "/info"
		}
		_, err := f.driver().Probe(t.Context())
		checkUnavailable(t, err, "windows", "Linux containers")
	})
}

func checkProbe(t *testing.T, what, hint string) {
	t.Helper()
	d, err := docker.New(t.Context(), docker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = d.Probe(ctx)
	checkUnavailable(t, err, what, hint)
}

// ref is a target of one service from a registry.
func ref(name, policy string) *target.Target {
	tg := web(1)
	s := tg.Services["app"]
	s.Image = target.Image{Kind: target.ImageRef, Ref: name, Pull: policy}
	s.Healthcheck = nil
	tg.Services["app"] = s
	return tg
}

// pulls makes the fake a registry: what it pulls, it has.
func (f *fake) pulls(messages ...string) (auth *string) {
	auth = new(string)
	f.handle = func(w http.ResponseWriter, r *http.Request, path string) bool {
		if path != "/images/create" {
			return false
		}
		*auth = r.Header.Get("X-Registry-Auth")
		name := r.URL.Query().Get("fromImage")
		name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
		f.mu.Lock()
		f.images[name+":"+r.URL.Query().Get("tag")] = true
		f.mu.Unlock()
		for _, m := range messages {
			fmt.Fprintln(w, m)
		}
		return true
	}
	return auth
}

func TestPull(t *testing.T) {
	dir := home(t)
	secret := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	write(t, filepath.Join(dir, "config.json"), map[string]any{"auths": map[string]any{
		"registry.example":            map[string]any{"auth": secret},
		"https://index.docker.io/v1/": map[string]any{"auth": secret},
	}})
	for name, c := range map[string]struct {
		ref, policy string
		has         string // what the engine has before
		pulls       bool
		user        string
	}{
		"absent":         {"registry.example/app:1", "missing", "", true, "me"},
		"Docker Hub":     {"nginx", "", "", true, "me"},
		"other registry": {"other.example/app:1", "", "", true, ""},
		"there":          {"nginx:1", "missing", "nginx:1", false, ""},
		"always":         {"nginx:1", "always", "nginx:1", true, "me"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, "1.51")
			auth := f.pulls(`{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":2}}`)
			f.images[c.has] = true
			var said []string
			digests, err := f.driver().Prepare(t.Context(), ref(c.ref, c.policy), func(m string) { said = append(said, m) })
			if err != nil {
				t.Fatal(err)
			}
			if digests["app"] == "" {
				t.Error("no digest")
			}
			if pulled := f.called("POST /images/create") > 0; pulled != c.pulls {
				t.Errorf("pulled: %v, want %v", pulled, c.pulls)
			}
			if told := slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "pulling ") }); told != c.pulls {
				t.Errorf("said %q", said)
			}
			if got := user(t, *auth); got != c.user {
				t.Errorf("pulled as %q, want %q", got, c.user)
			}
		})
	}
}

// user reads who a registry header says that we are.
func user(t *testing.T, header string) string {
	t.Helper()
	if header == "" {
		return ""
	}
	b, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	var a struct{ Username, Password string }
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	if a.Username != "" && a.Password != "secret" {
		t.Errorf("the password is %q", a.Password)
	}
	return a.Username
}

// A credential helper is a program beside others, named by the configuration.
func TestCredentialHelper(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the helper of this test is a shell script")
	}
	dir := home(t)
	write(t, filepath.Join(dir, "config.json"), map[string]any{"credHelpers": map[string]string{"registry.example": "tutti-test"}})
	bin := t.TempDir()
	script := "#!/bin/sh\necho '{\"ServerURL\":\"registry.example\",\"Username\":\"helped\",\"Secret\":\"secret\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-tutti-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	f := newFake(t, "1.51")
	auth := f.pulls()
	if _, err := f.driver().Prepare(t.Context(), ref("registry.example/app:1", ""), nil); err != nil {
		t.Fatal(err)
	}
	if got := user(t, *auth); got != "helped" {
		t.Errorf("pulled as %q", got)
	}
}

func TestPullFails(t *testing.T) {
	for name, c := range map[string]struct{ message, hint string }{
		"unknown":   {"manifest unknown", "spelling"},
		"forbidden": {"pull access denied, repository does not exist or may require 'docker login'", "docker login registry.example"},
		"offline":   {"dial tcp: lookup registry.example: no such host", "within reach"},
	} {
		t.Run(name, func(t *testing.T) {
			home(t)
			f := newFake(t, "1.51")
			// An engine says so in the stream, after the status 200.
			f.pulls(fmt.Sprintf(`{"errorDetail":{"message":%q},"error":%q}`, c.message, c.message))
			_, err := f.driver().Prepare(t.Context(), ref("registry.example/app:1", ""), nil)
			checkUnavailable(t, err, "pull image registry.example/app:1: "+c.message[:10], c.hint)
		})
	}
}

// A file of a service is in its container before that starts, as the Compose file has it.
func TestFiles(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	tg := web(1)
	s := tg.Services["app"]
	s.Files = []target.File{{Target: "/etc/lb/lb.cfg", Content: "listen", Mode: 0o440, UID: 7, GID: 8}}
	tg.Services["app"] = s
	upFake(t, f, tg)
	var order []string
	var body []byte
	f.mu.Lock()
	for _, call := range f.calls {
		switch {
		case strings.HasSuffix(call, "/archive"):
			order, body = append(order, "files"), f.bodies[call]
		case strings.HasPrefix(call, "POST /containers/") && strings.HasSuffix(call, "/start"):
			order = append(order, "start")
		}
	}
	f.mu.Unlock()
	if !slices.Equal(order, []string{"files", "start"}) {
		t.Fatalf("what was done is %v, want the files before the start", order)
	}
	in := tar.NewReader(bytes.NewReader(body))
	h, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "etc/lb/lb.cfg" || h.Mode != 0o440 || h.Uid != 7 || h.Gid != 8 || string(text) != "listen" {
		t.Errorf("%+v holds %q", h, text)
	}
	if _, err := in.Next(); err != io.EOF {
		t.Errorf("there is more than one file (%v)", err)
	}
}

// Engines before API 1.44 take one network when a container is created.
// An image says which versions of its programs it holds, in our label or in the OCI's, which may be its base's.
func TestVersions(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	f.labels = map[string]map[string]string{
		"ours:1":     {"tutti.version": "haproxy 3.0.11", "org.opencontainers.image.version": "13"},
		"official:1": {"org.opencontainers.image.version": "8.0.2"},
	}
	tg := web(1)
	for name, ref := range map[string]string{"lb": "ours:1", "store": "official:1", "mute": "mute:1"} {
		f.images[ref] = true
		s := tg.Services["app"]
		s.Name, s.Image = name, target.Image{Kind: target.ImageRef, Ref: ref}
		tg.Services[name] = s
	}
	delete(tg.Services, "app")
	got, err := f.driver().Versions(t.Context(), tg)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"lb": "haproxy 3.0.11", "store": "8.0.2 (org.opencontainers.image.version)"}
	if !maps.Equal(got, want) {
		t.Errorf("versions are %v, want %v", got, want)
	}
}

// A part is in no registry, so that none is asked.
func TestPartIsMissing(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	pulls := 0
	f.handle = func(_ http.ResponseWriter, _ *http.Request, path string) bool {
		if path == "/images/create" {
			pulls++
		}
		return false
	}
	_, err := f.driver().Prepare(t.Context(), ref("localhost/tutti/haproxy:parts", ""), nil)
	checkUnavailable(t, err, "localhost/tutti/haproxy:parts", "make parts NAMES=haproxy")
	if pulls > 0 {
		t.Errorf("a registry was asked %d times", pulls)
	}
}

func TestNetworksAtCreate(t *testing.T) {
	for version, c := range map[string]struct{ atCreate, connects int }{"1.43": {1, 1}, "1.44": {2, 0}} {
		t.Run(version, func(t *testing.T) {
			home(t)
			f := newFake(t, version)
			tg := web(1)
			tg.Networks["back"] = target.Network{Name: "back", Subnet: "10.99.0.0/24"}
			s := tg.Services["app"]
			s.Healthcheck = &target.Healthcheck{Test: []string{"CMD", "x"}, StartInterval: time.Second}
			s.Networks["back"] = target.Attachment{Aliases: []string{"db"}, Address: "10.99.0.7"}
			tg.Services["app"] = s
			c1, _ := upFake(t, f, tg)
			var create struct {
				Healthcheck      struct{ StartInterval time.Duration }
				NetworkingConfig struct {
					EndpointsConfig map[string]endpointSent
				}
			}
			f.sent("POST /containers/create", &create)
			ends := create.NetworkingConfig.EndpointsConfig
			if len(ends) != c.atCreate || f.called("POST /networks/net-") != c.connects {
				t.Errorf("%d networks at create, %d connected", len(ends), f.called("POST /networks/net-"))
			}
			back := ends["net-1"] // networks are made in the order of their names
			if c.connects > 0 {
				var connect struct{ EndpointConfig endpointSent }
				f.sent("POST /networks/net-1/connect", &connect)
				back = connect.EndpointConfig
			}
			if back.IPAMConfig.IPv4Address != "10.99.0.7" || !slices.Equal(back.Aliases, []string{"app", "app-1", "db"}) {
				t.Errorf("the endpoint on back is %+v", back)
			}
			if old := version == "1.43"; (create.Healthcheck.StartInterval == 0) != old {
				t.Errorf("start_interval is %v", create.Healthcheck.StartInterval)
			}
			if n := c1.Nodes()[0]; n.Address == "" || n.Address == "10.99.0.7" {
				t.Errorf("the node's address is %q, not the one on default", n.Address)
			}
		})
	}
}

// An image can be removed by somebody else between Prepare and the first container. It is got again, once.
func TestImageLost(t *testing.T) {
	const name = "registry.example/app:1"
	for _, c := range []struct {
		name         string
		lost         int // how often
		pulls, tries int
		works        bool
	}{
		{"once", 1, 2, 2, true},
		{"again and again", 9, 2, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			home(t)
			f := newFake(t, "1.51")
			f.pulls()
			registry := f.handle
			lost := 0
			f.handle = func(w http.ResponseWriter, r *http.Request, path string) bool {
				if path != "/containers/create" || lost == c.lost {
					return registry(w, r, path)
				}
				lost++
				f.mu.Lock()
				delete(f.images, name)
				f.mu.Unlock()
				w.WriteHeader(http.StatusNotFound)
				reply(w, map[string]any{"message": "No such image: " + name})
				return true
			}
			cl, err := f.driver().Up(t.Context(), target.Spec{Target: ref(name, ""), Run: "R", Trial: "a-1", Progress: func(string) {}})
			if c.works != (err == nil) || !c.works && !strings.Contains(err.Error(), "No such image: "+name) {
				t.Errorf("works %t: %v", err == nil, err)
			}
			if n, m := f.called("POST /images/create"), f.called("POST /containers/create"); n != c.pulls || m != c.tries {
				t.Errorf("%d pulls, %d containers asked for; want %d, %d", n, m, c.pulls, c.tries)
			}
			if cl != nil {
				if err := cl.Down(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A start that fails says so when what it had made could not be removed, and only then.
func TestLeftAfterAStart(t *testing.T) {
	for _, left := range []bool{false, true} {
		home(t)
		f := newFake(t, "1.51")
		f.handle = func(w http.ResponseWriter, r *http.Request, path string) bool {
			var refuse string
			switch {
			case strings.HasSuffix(path, "/start"):
				refuse = "no start today"
			case left && r.Method == http.MethodDelete && strings.HasPrefix(path, "/containers/"):
				refuse = "no end today"
			default:
				return false
			}
			w.WriteHeader(http.StatusInternalServerError)
			reply(w, map[string]any{"message": refuse})
			return true
		}
		_, err := f.driver().Up(t.Context(), target.Spec{Target: web(1), Run: "R", Trial: "a-1"})
		if err == nil || !strings.Contains(err.Error(), "no start today") {
			t.Fatalf("it is up: %v", err)
		}
		if errors.Is(err, target.ErrLeft) != left || strings.Contains(err.Error(), "no end today") != left {
			t.Errorf("left is %t: %v", left, err)
		}
	}
}

type endpointSent struct {
	IPAMConfig struct{ IPv4Address string }
	Aliases    []string
}

// upFake starts a target on the fake, and takes it down.
func upFake(t *testing.T, f *fake, tg *target.Target) (c target.Cluster, said []string) {
	t.Helper()
	c, err := f.driver().Up(t.Context(), target.Spec{Target: tg, Run: "R", Trial: "a-1", Progress: func(s string) { said = append(said, s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c, said
}

// watchedFake starts a target of one node without a healthcheck, of which w sees every event, and takes it down.
func watchedFake(t *testing.T, f *fake, w *watcher) target.Cluster {
	t.Helper()
	tg := web(1)
	s := tg.Services["app"]
	s.Healthcheck = nil
	tg.Services["app"] = s
	c, err := f.driver().Up(t.Context(), target.Spec{Target: tg, Run: "R", Trial: "a-1", Watch: w.watch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// The stream breaks between the kill and the death; nothing is missed, nothing told twice.
func TestEventStreamBreaks(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	var w watcher
	told := make(chan string, 64)
	tg := web(1)
	s := tg.Services["app"]
	s.Healthcheck = nil
	tg.Services["app"] = s
	c, err := f.driver().Up(t.Context(), target.Spec{
		Target: tg, Run: "R", Trial: "a-1", Watch: w.watch,
		Progress: func(m string) { told <- m },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	at := time.Now().Truncate(time.Microsecond)
	f.happen("start", at, nil)
	f.handle = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		if path != "/containers/"+f.node()+"/kill" {
			return false
		}
		f.happen("kill", at.Add(time.Second), map[string]string{"signal": "9"})
		f.events <- "" // the connection breaks
		f.happen("start", at, nil)
		f.happen("kill", at.Add(time.Second), map[string]string{"signal": "9"})
		f.happen("die", at.Add(2*time.Second), map[string]string{"exitCode": "137"})
		return true
	}
	e, err := c.(target.Killer).Kill(t.Context(), c.Nodes()[0])
	if err != nil {
		t.Fatal(err)
	}
	if !e.From.Equal(at.Add(time.Second)) || !e.To.Equal(at.Add(2*time.Second)) || e.Proof != "signal 9, then die, exit code 137" {
		t.Errorf("effect: %+v", e)
	}
	if got, want := w.kinds("app-1"), []string{record.NodeStart, record.NodeDie}; !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
	for m := range told {
		if strings.Contains(m, "event stream broke") {
			break
		}
	}
	if len(f.asked) != 2 || f.asked[0] == "" || f.asked[1] < f.asked[0] {
		t.Errorf("streams were asked for since %q", f.asked)
	}
}

// An engine that hears of a freeze from containerd only after the thaw tells of both once more, and in between refuses
// to freeze what it holds for frozen.
func TestEchoOfFreeze(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	var w watcher
	c := watchedFake(t, f, &w)
	now := time.Now()
	tick := func() time.Time { now = now.Add(time.Millisecond); return now }
	paused, echo, refused := false, 0, 0
	f.handle = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		switch path {
		case "/containers/" + f.node() + "/pause":
			if echo > 0 {
				refused++
				w.WriteHeader(http.StatusConflict)
				reply(w, map[string]any{"message": "Container is already paused"})
				return true
			}
			paused = true
			f.happen("pause", tick(), nil)
			w.WriteHeader(http.StatusNoContent)
		case "/containers/" + f.node() + "/unpause":
			paused = false
			f.happen("unpause", tick(), nil)
			f.happen("pause", tick(), nil)
			echo = 4 // looks at it until it is corrected
			w.WriteHeader(http.StatusNoContent)
		case "/containers/" + f.node() + "/json":
			held := paused
			if echo > 0 {
				held = true
				if echo--; echo == 1 { // the thaw's own look is over: the next freeze meets an engine that is wrong
					held = false
				}
				if echo == 0 {
					f.happen("unpause", tick(), nil)
					held = false
				}
			}
			status := map[bool]string{true: "paused", false: "running"}[held]
			reply(w, map[string]any{"Id": f.node(), "State": map[string]any{"Status": status, "Running": true, "Paused": held}})
		default:
			return false
		}
		return true
	}
	node := c.Nodes()[0]
	p := c.(target.Pauser)
	for range 2 {
		e, err := p.Pause(t.Context(), node)
		checkEffect(t, e, err, "pause, then state paused")
		e, err = p.Unpause(t.Context(), node)
		checkEffect(t, e, err, "unpause, then state running")
	}
	if refused == 0 {
		t.Error("no freeze was refused: the test does not test what it should")
	}
	if got, want := w.kinds("app-1"), []string{"pause", "unpause", "pause", "unpause"}; !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}

// A node that has crashed and waits for its restart policy has no process whose end an event would tell of: the policy is
// stopped, and that is the end.
func TestStopOfOneThatWaits(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	tg := web(1)
	s := tg.Services["app"]
	s.Healthcheck, s.Restart = nil, "always"
	tg.Services["app"] = s
	c, _ := upFake(t, f, tg)
	killed := false
	f.handle = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		switch path {
		case "/containers/" + f.node() + "/kill":
			killed = true
			w.WriteHeader(http.StatusConflict)
			reply(w, map[string]any{"message": "Container is not running"})
		case "/containers/" + f.node() + "/json":
			status := map[bool]string{true: "exited", false: "restarting"}[killed]
			reply(w, map[string]any{"Id": f.node(), "State": map[string]any{"Status": status, "Running": !killed, "Restarting": !killed, "ExitCode": 3}})
		default:
			return false
		}
		return true
	}
	began := time.Now()
	e, err := c.(target.Stopper).Stop(t.Context(), c.Nodes()[0], 0)
	if err != nil || !strings.Contains(e.Proof, "exit code 3, and its restart policy has been stopped") || e.From.Before(began) || e.To.Before(e.From) {
		t.Errorf("%+v, %v", e, err)
	}
	if n := f.called("POST /containers/" + f.node() + "/stop"); n > 0 {
		t.Errorf("it was told to stop %d times", n)
	}
}

// However often a healthcheck runs meanwhile, the event that is waited for comes through.
func TestHealthchecksBesideAWait(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	var w watcher
	c := watchedFake(t, f, &w)
	now := time.Now()
	tick := func() time.Time { now = now.Add(time.Millisecond); return now }
	f.handle = func(_ http.ResponseWriter, _ *http.Request, path string) bool {
		if path != "/containers/"+f.node()+"/stop" {
			return false
		}
		for range 50 {
			f.happen("exec_create: /tutti probe", tick(), map[string]string{"execID": "x"})
			f.happen("exec_start: /tutti probe", tick(), map[string]string{"execID": "x"})
			f.happen("exec_die", tick(), map[string]string{"execID": "x", "exitCode": "0"})
		}
		f.happen("kill", tick(), map[string]string{"signal": "15"})
		f.happen("die", tick(), map[string]string{"exitCode": "0"})
		// The engine's call returns when the driver has heard of all that.
		for end := time.Now().Add(5 * time.Second); len(w.kinds("app-1")) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		return true
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	e, err := c.(target.Stopper).Stop(ctx, c.Nodes()[0], 0)
	checkEffect(t, e, err, "signal 15, then die, exit code 0")
}

func TestDynamicBinary(t *testing.T) {
	home(t)
	for name, c := range map[string]struct {
		build  func(t *testing.T) string
		reason string
	}{
		"dynamic": {dynamic, "dynamically linked"},
		"no program": {func(t *testing.T) string {
			t.Helper()
			return filepath.Join(folder(t, map[string]string{"x": "text"}), "x")
		}, "no Linux binary"},
		"other arch": {func(t *testing.T) string {
			t.Helper()
			other := "arm64"
			if runtime.GOARCH == other {
				other = "amd64"
			}
			return compile(t, "GOOS=linux", "GOARCH="+other, "CGO_ENABLED=0")
		}, "the engine runs " + runtime.GOARCH},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, "1.51")
			t.Setenv("DOCKER_HOST", "tcp://"+f.server.Listener.Addr().String())
			d, err := docker.New(t.Context(), docker.Config{Executable: c.build(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			_, err = d.Prepare(t.Context(), web(1), nil)
			checkUnavailable(t, err, c.reason, "CGO_ENABLED=0")
			if f.called("POST /images/load") > 0 {
				t.Error("it was loaded all the same")
			}
		})
	}
}

// dynamic is a program that needs a loader, as every distribution's shell does.
func dynamic(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a dynamically linked Linux program; this machine has none")
	}
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func compile(t *testing.T, env ...string) string {
	t.Helper()
	dir := folder(t, map[string]string{"main.go": "package main\nfunc main() {}\n", "go.mod": "module m\n"})
	cmd := exec.Command("go", "build", "-o", "m", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	return filepath.Join(dir, "m")
}

func TestRefused(t *testing.T) {
	home(t)
	for name, c := range map[string]struct {
		change func(*target.Target, *target.Service)
		reason string
	}{
		"missing dependency": {func(_ *target.Target, s *target.Service) {
			s.DependsOn = []target.Dependency{{Service: "db", Required: true}}
		}, "depends on db"},
		"circle": {func(_ *target.Target, s *target.Service) {
			s.DependsOn = []target.Dependency{{Service: "app", Required: true}}
		}, "depends on itself"},
		"network": {func(_ *target.Target, s *target.Service) { s.Networks = map[string]target.Attachment{"x": {}} }, "network x"},
		"mount": {func(_ *target.Target, s *target.Service) {
			s.Mounts = []target.Mount{{Kind: "npipe", Target: "/x"}}
		}, `"npipe"`},
		"restart policy": {func(_ *target.Target, s *target.Service) { s.Restart = "sometimes" }, `sometimes`},
		"restart count":  {func(_ *target.Target, s *target.Service) { s.Restart = "always:3" }, "retry count"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, "1.51")
			tg := web(1)
			s := tg.Services["app"]
			c.change(tg, &s)
			tg.Services["app"] = s
			_, err := f.driver().Prepare(t.Context(), tg, nil)
			if err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "app") {
				t.Errorf("error %v does not say %q", err, c.reason)
			}
			if f.called("POST ") > 0 {
				t.Errorf("something was made: %q", f.calls)
			}
		})
	}
}

// An address that the file asks for must be within its network.
func TestAddressOutside(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	tg := web(1)
	s := tg.Services["app"]
	s.Networks["back"] = target.Attachment{Address: "10.98.0.7"}
	tg.Networks["back"] = target.Network{Name: "back", Subnet: "10.99.0.0/24"}
	_, err := f.driver().Up(t.Context(), target.Spec{Target: tg, Run: "R", Trial: "a-1"})
	if err == nil || !strings.Contains(err.Error(), "10.98.0.7") || !strings.Contains(err.Error(), "10.99.0.0/24") {
		t.Errorf("error %v does not name address and subnet", err)
	}
}

// A subnet that somebody takes between our look and our call is passed over.
func TestSubnetTaken(t *testing.T) {
	home(t)
	f := newFake(t, "1.51")
	refused := ""
	f.handle = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		if path != "/networks/create" || refused != "" {
			return false
		}
		refused = subnetOf(f)
		w.WriteHeader(http.StatusForbidden)
		reply(w, map[string]any{"message": "Pool overlaps with other one on this address space"})
		return true
	}
	tg := web(1)
	s := tg.Services["app"]
	s.Healthcheck = nil
	tg.Services["app"] = s
	upFake(t, f, tg)
	if got := subnetOf(f); got == refused || refused == "" {
		t.Errorf("refused %q, then took %q", refused, got)
	}
}

func subnetOf(f *fake) string {
	var create struct {
		IPAM struct{ Config []struct{ Subnet string } }
	}
	f.sent("POST /networks/create", &create)
	return create.IPAM.Config[0].Subnet
}
