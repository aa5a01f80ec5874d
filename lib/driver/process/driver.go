// Package process runs targets without an engine: every node is a child process
// on loopback. It runs services whose program is our own binary or built from Go
// source, and refuses all others by name. Nodes share the machine: networks are not
// separated and limits are not enforced, which [Driver.Prepare] says out loud.
package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/target"
)

// downWithin bounds how long cleaning up may take where nobody waits with a context.
const downWithin = 30 * time.Second

// Config says how nodes are run. The zero value is useful.
type Config struct {
	// Executable is the program of services whose image is tutti, and of Attach. Empty
	// means the running program.
	Executable string
	// CacheDir holds the programs built from Go source. Empty means a folder of ours in the
	// user's cache folder.
	CacheDir string
	// Register is told the id of every node and attached process right after its start, so
	// that something can end it if this process dies. Its error ends the process. It may be nil.
	Register func(pid int) error
	// Temp is told of every temporary folder, for the same purpose. It may be nil.
	Temp func(dir string) error
	// SharedAddress puts all nodes on 127.0.0.1, each with a port of its own. It is so
	// wherever not all of 127/8 is loopback, which is everywhere but on Linux.
	SharedAddress bool
}

// A Driver runs targets as child processes.
type Driver struct {
	config Config
	shared bool

	mu       sync.Mutex
	programs map[string]program // what Prepare has made, by image kind and folder
}

var _ target.Driver = (*Driver)(nil)

// New returns a driver. It starts nothing.
func New(c Config) *Driver {
	return &Driver{
		config:   c,
		shared:   c.SharedAddress || runtime.GOOS != "linux",
		programs: make(map[string]program),
	}
}

// Probe says what can be done to processes on this system.
func (d *Driver) Probe(context.Context) (target.Facts, error) {
	addresses := "an address in 127/8 for each node"
	if d.shared {
		addresses = "127.0.0.1, a port for each node"
	}
	return target.Facts{
		Driver:    "process",
		Abilities: abilities,
		Details: map[string]string{
			"system":    runtime.GOOS + "/" + runtime.GOARCH,
			"addresses": addresses,
			"networks":  "not separated",
			"limits":    "not enforced",
			"dead node": "its address refuses connections; a container's would be silent",
			"proxies":   "toxiproxy's toxics, in front of the nodes that faults on the network hit, in all of a trial",
			"restart":   "no policy is honoured",
		},
	}, nil
}

// Prepare builds the programs of Go services and returns the digest of each service's
// program. A service that is no program of ours is an [*target.UnavailableError].
func (d *Driver) Prepare(ctx context.Context, t *target.Target, progress func(string)) (map[string]string, error) {
	digests := make(map[string]string, len(t.Services))
	for _, name := range slices.Sorted(maps.Keys(t.Services)) {
		s := t.Services[name]
		if err := d.check(s); err != nil {
			return nil, &target.UnavailableError{
				What: fmt.Sprintf("run service %s as a process", name),
				Err:  err,
				Hint: "it needs Docker: start an engine, or run with --engine docker",
			}
		}
		if left := unenforced(s); len(left) > 0 {
			progress(fmt.Sprintf("service %s: not enforced without Docker: %s", name, strings.Join(left, ", ")))
		}
		p, err := d.program(ctx, s, progress)
		if err != nil {
			return nil, fmt.Errorf("prepare service %s: %w", name, err)
		}
		digests[name] = p.digest
	}
	return digests, nil
}

// check returns why a service cannot run as a process: what would be missing changes what
// the service is.
func (d *Driver) check(s target.Service) error {
	switch s.Image.Kind {
	case target.ImageTutti, target.ImageGo:
	case target.ImageBuild:
		return errors.New("its image is built from a Dockerfile")
	default:
		return fmt.Errorf("its image is %s", s.Image.Ref)
	}
	ours := entrypoint(s)
	switch {
	case len(s.Mounts) > 0:
		return fmt.Errorf("it mounts %s", s.Mounts[0].Target)
	case len(s.Files) > 0:
		return fmt.Errorf("it has a file of its own at %s", s.Files[0].Target)
	case len(s.Tmpfs) > 0:
		return fmt.Errorf("it mounts a tmpfs at %s", s.Tmpfs[0])
	case s.Privileged || len(s.HostNamespaces) > 0:
		return errors.New("it asks for rights over the machine")
	case s.WorkingDir != "" && s.WorkingDir != "/":
		return fmt.Errorf("it has the working folder %s", s.WorkingDir)
	case len(s.Entrypoint) > 0 && s.Entrypoint[0] != ours:
		return fmt.Errorf("its entrypoint is %s, and its program %s", s.Entrypoint[0], ours)
	case d.shared && len(s.Expose) > 1:
		return errors.New("it exposes several ports, and nodes have one each on this system")
	}
	return checkTest(s, ours)
}

func checkTest(s target.Service, ours string) error {
	h := s.Healthcheck
	if h == nil || h.Disable || len(h.Test) == 0 {
		return nil
	}
	switch {
	case len(h.Test) < 2 || (h.Test[0] != "CMD" && h.Test[0] != "CMD-SHELL"):
		return errors.New("its healthcheck has no command")
	case h.Test[0] == "CMD-SHELL" && !hasShell():
		return errors.New("its healthcheck wants a shell, and there is no /bin/sh")
	case h.Test[0] == "CMD" && h.Test[1] != ours:
		return fmt.Errorf("its healthcheck runs %s, and its program is %s", h.Test[1], ours)
	}
	return nil
}

// entrypoint is where a service's program would be in its image.
func entrypoint(s target.Service) string {
	if s.Image.Kind == target.ImageGo {
		return path.Join("/", filepath.Base(s.Image.Ref))
	}
	return "/tutti"
}

// unenforced names what a container would have and a process has not.
func unenforced(s target.Service) []string {
	pinned := false
	for _, a := range s.Networks {
		pinned = pinned || a.Address != ""
	}
	var names []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"cpus", s.CPUs != 0},
		{"memory", s.MemoryLimit != 0},
		{"pids", s.PidsLimit != 0},
		{"user", s.User != ""},
		{"cap_add", len(s.CapAdd) > 0},
		{"cap_drop", len(s.CapDrop) > 0},
		{"security_opt", len(s.SecurityOpt) > 0},
		{"read_only", s.ReadOnly},
		{"init", s.Init},
		{"ipv4_address", pinned},
		{"separate networks", len(s.Networks) > 1},
		{"restart: " + s.Restart, s.Restart != "" && s.Restart != "no"},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

// Up starts a target. The cluster has all abilities that Probe declares.
func (d *Driver) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	what := fmt.Sprintf("start %s as processes", s.Target.Name)
	c, err := newCluster(ctx, d, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := c.up(ctx); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), downWithin)
		defer cancel()
		if left := c.Down(clean); left != nil {
			err = errors.Join(err, target.ErrLeft, left)
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return c, nil
}
