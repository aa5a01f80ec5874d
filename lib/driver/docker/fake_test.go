package docker_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/docker"
)

// A fake answers the part of the Engine API that starting one target takes, for what
// a real engine cannot be asked for here: another version of the API, a registry, a
// stream that breaks. It checks nothing; it keeps what it was sent.
type fake struct {
	t       *testing.T
	server  *httptest.Server
	version string // of the API

	// handle answers before the fake does, if it reports so.
	handle func(w http.ResponseWriter, r *http.Request, path string) bool

	mu      sync.Mutex
	calls   []string // "POST /containers/create"
	bodies  map[string][]byte
	images  map[string]bool
	labels  map[string]map[string]string // of images
	started map[string]bool
	made    map[string]bool // containers
	events  chan string     // lines for the open event stream; "" breaks it
	asked   []string        // the `since` of each event stream
}

var versionPrefix = regexp.MustCompile(`^/v[0-9.]+`)

func newFake(t *testing.T, version string) *fake {
	t.Helper()
	f := &fake{
		t: t, version: version, bodies: make(map[string][]byte), images: make(map[string]bool),
		started: make(map[string]bool), made: make(map[string]bool), events: make(chan string, 64),
	}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	return f
}

// driver returns a driver that talks to the fake, through DOCKER_HOST.
func (f *fake) driver() *docker.Driver {
	f.t.Helper()
	f.t.Setenv("DOCKER_HOST", "tcp://"+f.server.Listener.Addr().String())
	return f.open()
}

// open returns a driver on whatever the environment says.
func (f *fake) open() *docker.Driver {
	f.t.Helper()
	exe, err := program()
	if err != nil {
		f.t.Fatal(err)
	}
	d, err := docker.New(f.t.Context(), docker.Config{Executable: exe, Host: "h"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { d.Close() })
	return d
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	path := versionPrefix.ReplaceAllString(r.URL.Path, "")
	var body []byte
	if path != "/images/load" {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			f.t.Error(err)
		}
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+path)
	f.bodies[r.Method+" "+path] = body
	f.mu.Unlock()
	if f.handle != nil && f.handle(w, r, path) {
		return
	}
	switch {
	case path == "/_ping":
		w.Header().Set("Api-Version", f.version)
		w.Header().Set("Ostype", "linux")
	case path == "/info":
		reply(w, map[string]any{"OSType": "linux", "Architecture": runtime.GOARCH, "ServerVersion": "29.0.0", "SystemTime": time.Now().Format(time.RFC3339Nano)})
	case path == "/events":
		f.stream(w, r)
	case strings.HasPrefix(path, "/images/") && strings.HasSuffix(path, "/json"):
		f.image(w, strings.TrimSuffix(strings.TrimPrefix(path, "/images/"), "/json"))
	case path == "/images/load":
		f.load(w, r)
	case path == "/networks" || path == "/containers/json":
		f.list(w, path)
	case path == "/volumes":
		reply(w, map[string]any{"Volumes": []any{}})
	case path == "/networks/create":
		w.WriteHeader(http.StatusCreated)
		reply(w, map[string]any{"Id": fmt.Sprintf("net-%d", f.called("POST /networks/create"))})
	case path == "/volumes/create":
		w.WriteHeader(http.StatusCreated)
		reply(w, map[string]any{"Name": "v"})
	case path == "/containers/create":
		f.create(w, r.URL.Query().Get("name"))
	case strings.HasPrefix(path, "/containers/"):
		f.container(w, r, strings.Split(strings.TrimPrefix(path, "/containers/"), "/"))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.Query().Get("since"))
	f.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case line := <-f.events:
			if line == "" {
				return
			}
			fmt.Fprintln(w, line)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// happen sends an event of the only node.
func (f *fake) happen(action string, at time.Time, more map[string]string) {
	labels := map[string]string{"bench.tutti.role": "node", "com.docker.compose.service": "app", "com.docker.compose.container-number": "1"}
	for k, v := range more {
		labels[k] = v
	}
	b, err := json.Marshal(map[string]any{
		"Type": "container", "Action": action, "timeNano": at.UnixNano(), "time": at.Unix(),
		"Actor": map[string]any{"ID": f.node(), "Attributes": labels},
	})
	if err != nil {
		f.t.Error(err)
	}
	f.events <- string(b)
}

func (f *fake) node() string { return "c-tutti-r-a-1-app-1" }

func (f *fake) image(w http.ResponseWriter, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.images[name] {
		w.WriteHeader(http.StatusNotFound)
		reply(w, map[string]any{"message": "No such image: " + name})
		return
	}
	reply(w, map[string]any{"Id": "sha256:" + name, "RepoDigests": []string{}, "Config": map[string]any{"Labels": f.labels[name]}})
}

// load reads what `docker save` would have written.
func (f *fake) load(w http.ResponseWriter, r *http.Request) {
	var manifest []struct{ RepoTags, Layers []string }
	sizes := make(map[string]int64)
	for archive := tar.NewReader(r.Body); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			f.t.Error(err)
			return
		}
		sizes[h.Name] = h.Size
		if h.Name == "manifest.json" {
			if err := json.NewDecoder(archive).Decode(&manifest); err != nil {
				f.t.Error(err)
			}
		}
	}
	if len(manifest) != 1 || len(manifest[0].Layers) != 1 || sizes[manifest[0].Layers[0]] < 1<<20 {
		f.t.Errorf("the archive has the manifest %+v and the files %v", manifest, sizes)
		return
	}
	tag := manifest[0].RepoTags[0]
	f.mu.Lock()
	f.images[tag] = true
	f.mu.Unlock()
	reply(w, map[string]any{"stream": "Loaded image: " + tag})
}

func (f *fake) list(w http.ResponseWriter, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []any{}
	if path == "/containers/json" {
		for id := range f.made {
			list = append(list, map[string]any{"Id": id, "Names": []string{"/" + id}})
		}
	}
	reply(w, list)
}

func (f *fake) create(w http.ResponseWriter, name string) {
	f.mu.Lock()
	f.made["c-"+name] = true
	f.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	reply(w, map[string]any{"Id": "c-" + name})
}

func (f *fake) container(w http.ResponseWriter, r *http.Request, parts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, verb := parts[0], ""
	if len(parts) > 1 {
		verb = parts[1]
	}
	switch {
	case r.Method == http.MethodDelete:
		delete(f.made, id)
		w.WriteHeader(http.StatusNoContent)
	case verb == "start":
		f.started[id] = true
		w.WriteHeader(http.StatusNoContent)
	case verb == "json":
		status := "created"
		if f.started[id] {
			status = "running"
		}
		reply(w, map[string]any{"Id": id, "State": map[string]any{"Status": status, "Running": f.started[id]}, "NetworkSettings": map[string]any{}})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// called returns how often a call came whose text has this prefix.
func (f *fake) called(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// sent decodes what came with the last such call.
func (f *fake) sent(call string, into any) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := json.Unmarshal(f.bodies[call], into); err != nil {
		f.t.Fatalf("%s: %v in %q", call, err, f.bodies[call])
	}
}
