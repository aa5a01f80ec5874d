// Package docker starts targets with a Docker engine. It is cut by concern: the
// connection, images, networks, volumes, containers, lifecycle, events, processes of ours
// beside nodes and in them, logs and cleaning up. Everything that it makes carries [target.LabelRun], and nothing
// else is ever touched.
package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/system"

	"github.com/tutti-bench/tutti/lib/target"
)

// Limits on calls that a healthy engine answers at once.
const (
	probeTimeout = 5 * time.Second
	callTimeout  = 60 * time.Second
	atOnce       = 8 // calls in flight when many replicas are made
)

// Driver starts targets on one Docker engine. It is safe for concurrent use.
type Driver struct {
	api  api
	conn connection
	cfg  Config

	scratches atomic.Int64 // started so far

	mu     sync.Mutex
	engine *system.Info          // what the engine said of itself; nil until asked
	images map[string]*imageSlot // by what was asked for
}

// Config says how to reach and use an engine.
type Config struct {
	// Executable is the static Linux binary that the image "tutti" is made from. Empty
	// means the running program, or, where that cannot run on the engine,
	// one made for it.
	Executable string
	// Host is the id of this machine and user, for [target.LabelHost]. [Driver.Runs]
	// lists only the runs that carry the same one.
	Host string
}

// New finds the engine as the docker command does: DOCKER_HOST, DOCKER_CONTEXT, the
// current context, the default socket. It does not talk to it yet; [Driver.Probe] does.
// The caller closes the driver.
func New(_ context.Context, cfg Config) (*Driver, error) {
	conn, err := connect(os.Getenv)
	if err != nil {
		return nil, &target.UnavailableError{
			What: "find the Docker engine",
			Err:  err,
			Hint: "see `docker context ls`, or set DOCKER_HOST",
		}
	}
	return &Driver{api: conn.client, conn: conn, cfg: cfg, images: make(map[string]*imageSlot)}, nil
}

// Close gives up the connections to the engine. It removes nothing.
func (d *Driver) Close() error { return d.api.Close() }

// Env returns the environment that makes another process find the same engine, even
// if the user switches the current Docker context meanwhile.
func (d *Driver) Env() map[string]string { return maps.Clone(d.conn.env) }

// Probe asks the engine what it is. A [*target.UnavailableError] means that none answers, or
// that it cannot run Linux containers.
func (d *Driver) Probe(ctx context.Context) (target.Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	info, err := d.info(ctx)
	if err != nil {
		return target.Facts{}, err
	}
	details := map[string]string{
		"engine":        info.ServerVersion,
		"api":           d.api.ClientVersion(),
		"os":            info.OperatingSystem,
		"kernel":        info.KernelVersion,
		"arch":          info.Architecture,
		"storage":       info.Driver,
		"cgroup":        cgroupVersion(info),
		"cpus":          fmt.Sprint(info.NCPU),
		"memory":        fmt.Sprint(info.MemTotal),
		"context":       d.conn.context,
		"security":      strings.Join(securityOptions(info), ", "),
		"cgroup_driver": info.CgroupDriver,
		"rootless":      fmt.Sprint(rootless(info)),
		"live_restore":  fmt.Sprint(info.LiveRestoreEnabled),
	}
	return target.Facts{
		Driver:    "docker",
		Abilities: abilities(info),
		Details:   details,
	}, nil
}

// abilities are what an engine can do to nodes, as far as it says so itself. One that refuses more than that, by
// a plug-in or because it is a hardened desktop's, says so when a helper is started.
func abilities(info system.Info) target.Ability {
	can := target.CanKill | target.CanStop | target.CanScale | target.CanRemove | target.CanExec | target.CanBound |
		target.CanEnterNetwork | target.CanEnterNode | target.CanTrace | target.CanMount
	groups := info.CgroupDriver != "none" // a rootless engine without systemd has none
	if groups {
		can |= target.CanPause
	}
	if groups && info.CPUCfsQuota {
		can |= target.CanLimit
	}
	if !rootless(info) { // whose containers see neither the machine's processes nor its control groups
		can |= target.CanCrash
		if groups {
			can |= target.CanThrottle
		}
	}
	return can
}

func rootless(info system.Info) bool { return slices.Contains(securityOptions(info), "rootless") }

// userns reports whether containers have other users than the machine.
func userns(info system.Info) bool { return slices.Contains(securityOptions(info), "userns") }

// info returns what the engine says of itself, asked once.
func (d *Driver) info(ctx context.Context) (system.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine != nil {
		return *d.engine, nil
	}
	const what = "reach the Docker engine"
	if _, err := d.api.Ping(ctx); err != nil {
		return system.Info{}, d.unavailable(ctx, what, err)
	}
	info, err := d.api.Info(ctx)
	if err != nil {
		return system.Info{}, d.unavailable(ctx, what, err)
	}
	if info.OSType != "linux" {
		return system.Info{}, &target.UnavailableError{
			What: "use the Docker engine " + d.conn.where,
			Err:  fmt.Errorf("it runs %s containers", info.OSType),
			Hint: "switch it to Linux containers",
		}
	}
	if goarch(info.Architecture) == "" {
		return system.Info{}, &target.UnavailableError{
			What: "use the Docker engine " + d.conn.where,
			Err:  fmt.Errorf("its architecture %q is unknown", info.Architecture),
		}
	}
	d.engine = &info
	return info, nil
}

// unavailable says in one line why an engine cannot be used, and what to do.
func (d *Driver) unavailable(ctx context.Context, what string, err error) error {
	hint := "start Docker, or choose another engine with `docker context use` or DOCKER_HOST"
	switch s := err.Error(); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %v", probeTimeout)
	case strings.Contains(s, "permission denied"):
		err = errors.New("permission denied")
		hint = "add yourself to the group `docker`, or use a rootless engine"
		if runtime.GOOS == "windows" {
			hint = "add yourself to the group `docker-users`"
		}
	case strings.Contains(s, "too new") || strings.Contains(s, "too old"):
		hint = "the engine and this program have no API version in common; Engine 20.10 and later are supported"
	}
	return &target.UnavailableError{What: what + " " + d.conn.where, Err: oneLine(err), Hint: hint}
}

// oneLine keeps the first line of an error: the client's own hints span several.
func oneLine(err error) error {
	if first, _, more := strings.Cut(err.Error(), "\n"); more {
		return errors.New(strings.TrimSpace(first))
	}
	return err
}

func cgroupVersion(info system.Info) string {
	if info.CgroupVersion == "" {
		return "1" // engines before 20.10 know no other
	}
	return info.CgroupVersion
}

// securityOptions turns "name=seccomp,profile=default" into "seccomp".
func securityOptions(info system.Info) []string {
	var names []string
	for _, o := range info.SecurityOptions {
		name, _, _ := strings.Cut(strings.TrimPrefix(o, "name="), ",")
		names = append(names, name)
	}
	return names
}

// goarch translates an engine's architecture to Go's name, or "".
func goarch(engine string) string {
	switch engine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	case "armv7l", "armv6l", "arm":
		return "arm"
	case "i386", "i686", "386":
		return "386"
	case "ppc64le", "s390x", "riscv64", "loong64":
		return engine
	}
	return ""
}
