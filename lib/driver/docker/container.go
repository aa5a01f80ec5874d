package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/go-connections/nat"

	"github.com/tutti-bench/tutti/lib/target"
)

// Since these versions of the API, the engine …
const (
	apiManyEndpoints = "1.44" // … takes several networks when a container is created
	apiStartInterval = "1.44" // … knows a healthcheck's start_interval
)

// A node's log is kept by the engine too, and must not fill its disk.
const (
	engineLogSize  = "8m"
	engineLogFiles = "2"
)

// endpoint is a container's place on one network.
type endpoint struct {
	net     *subnet
	address string
	aliases []string
}

func replicaName(service string, n int) string { return fmt.Sprintf("%s-%d", service, n) }

// labels are on everything that belongs to the trial: ours, and those by which
// `docker compose ls`, `ps` and `logs` find it.
func (c *cluster) labels(role string) map[string]string {
	return map[string]string{
		target.LabelRun:                        c.spec.Run,
		target.LabelTrial:                      c.spec.Trial,
		target.LabelHost:                       c.d.cfg.Host,
		target.LabelRole:                       role,
		"com.docker.compose.project":           c.project,
		"com.docker.compose.version":           "2",
		"com.docker.compose.project.generator": "tutti",
	}
}

func (c *cluster) nodeLabels(s target.Service, n int) map[string]string {
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	maps.Copy(labels, c.labels("node"))
	labels["com.docker.compose.service"] = s.Name
	labels["com.docker.compose.container-number"] = fmt.Sprint(n)
	labels["com.docker.compose.oneoff"] = "False"
	labels["com.docker.compose.config-hash"] = configHash(s)
	labels["com.docker.compose.project.working_dir"] = c.spec.Target.Dir
	labels["com.docker.compose.project.config_files"] = composeFile(c.spec.Target.Dir)
	return labels
}

func configHash(s target.Service) string {
	b, err := json.Marshal(s)
	if err != nil {
		return "" // a Service holds nothing that JSON cannot
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// composeFile guesses the file's name from the names that Compose looks for.
func composeFile(dir string) string {
	for _, name := range []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return dir
}

// networksOf lists a service's networks, the main one first: the one that clients
// come in by, then "default", then by name.
func (c *cluster) networksOf(s target.Service) []string {
	rank := func(name string) int {
		switch {
		case c.ingressOn(name):
			return 0
		case name == "default":
			return 1
		}
		return 2
	}
	names := sortedKeys(s.Networks)
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

func (c *cluster) ingressOn(name string) bool {
	if c.spec.Ingress == nil {
		return false
	}
	host := c.spec.Ingress.Hostname()
	for _, s := range c.spec.Target.Services {
		at, ok := s.Networks[name]
		if ok && (s.Name == host || slices.Contains(at.Aliases, host)) {
			return true
		}
	}
	return false
}

func (c *cluster) endpointsOf(s target.Service, n int) []endpoint {
	replica := replicaName(s.Name, n)
	var ends []endpoint
	for _, name := range c.networksOf(s) {
		net, ok := c.nets[name]
		if !ok {
			continue
		}
		aliases := []string{s.Name, replica}
		if h := c.hostname(s); h != "" {
			aliases = append(aliases, h)
		}
		aliases = append(aliases, s.Networks[name].Aliases...)
		slices.Sort(aliases)
		ends = append(ends, endpoint{net: net, address: net.nodes[replica].String(), aliases: slices.Compact(aliases)})
	}
	return ends
}

// hostname is what the file asks for, unless several replicas would share it: then
// their answers could not be told apart, and the engine's own is left.
func (c *cluster) hostname(s target.Service) string {
	if most(c.spec, s.Name) > 1 {
		return ""
	}
	return s.Hostname
}

// nodeConfig is what a node's container runs.
func (c *cluster) nodeConfig(s target.Service, n int, img imageRef) *container.Config {
	cfg := &container.Config{
		Image:        img.name,
		Hostname:     c.hostname(s),
		User:         s.User,
		WorkingDir:   s.WorkingDir,
		Env:          c.environment(s, n),
		Cmd:          s.Command,
		Entrypoint:   s.Entrypoint,
		Labels:       c.nodeLabels(s, n),
		StopSignal:   s.StopSignal,
		StopTimeout:  ptr(seconds(s.StopGrace)),
		ExposedPorts: exposed(s.Expose),
		Healthcheck:  c.healthcheck(s),
	}
	return cfg
}

func (c *cluster) environment(s target.Service, n int) []string {
	env := maps.Clone(s.Environment)
	if env == nil {
		env = make(map[string]string)
	}
	maps.Copy(env, c.spec.Env)
	if s.Image.Kind == target.ImageTutti || s.Image.Kind == target.ImageGo {
		env[target.EnvNode] = replicaName(s.Name, n)
	}
	list := make([]string, 0, len(env))
	for _, k := range sortedKeys(env) {
		list = append(list, k+"="+env[k])
	}
	return list
}

func exposed(ports []string) nat.PortSet {
	set := make(nat.PortSet)
	for _, p := range ports {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		set[nat.Port(p)] = struct{}{}
	}
	return set
}

func (c *cluster) healthcheck(s target.Service) *container.HealthConfig {
	h := s.Healthcheck
	if h == nil {
		return nil
	}
	if h.Disable {
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	cfg := &container.HealthConfig{
		Test: h.Test, Interval: h.Interval, Timeout: h.Timeout,
		StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
	}
	if versions.LessThan(c.d.api.ClientVersion(), apiStartInterval) {
		cfg.StartInterval = 0 // see [cluster.early]
	}
	return cfg
}

// notes say once a trial what this engine does differently from the Compose file.
func (c *cluster) notes() []string {
	var notes []string
	for _, name := range sortedKeys(c.spec.Target.Services) {
		s := c.spec.Target.Services[name]
		if c.entered(name) {
			notes = append(notes, fmt.Sprintf("%s: our program is mounted at %s, read-only, for the faults that work inside the node", name, toolsAt))
		}
		if s.Hostname != "" && c.hostname(s) == "" {
			notes = append(notes, fmt.Sprintf("%s: hostname: %s is left to the engine: its replicas would share it", name, s.Hostname))
		}
	}
	return append(notes, c.boundedNotes()...)
}

// restarts reports whether the engine brings a service's replicas back when they end.
func restarts(s target.Service) bool { return s.Restart != "" && s.Restart != "no" }

// restartPolicy translates Compose's word. What a user asks an engine to end (kill, stop) no policy brings back.
func restartPolicy(s target.Service) (container.RestartPolicy, error) {
	if !restarts(s) {
		return container.RestartPolicy{Name: container.RestartPolicyDisabled}, nil
	}
	name, count, counted := strings.Cut(s.Restart, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if counted {
		var err error
		if p.MaximumRetryCount, err = strconv.Atoi(count); err != nil {
			return p, fmt.Errorf("service %s: restart: %s: the count is no number", s.Name, s.Restart)
		}
	}
	if err := container.ValidateRestartPolicy(p); err != nil {
		return p, fmt.Errorf("service %s: restart: %s: %w", s.Name, s.Restart, err)
	}
	return p, nil
}

// nodeHost is how the engine runs a node's container.
func (c *cluster) nodeHost(s target.Service) (*container.HostConfig, error) {
	mounts, err := c.mounts(s)
	if err != nil {
		return nil, err
	}
	policy, err := restartPolicy(s)
	if err != nil {
		return nil, err
	}
	if c.entered(s.Name) {
		mounts = append(mounts, c.tools())
	}
	host := &container.HostConfig{
		LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": engineLogSize, "max-file": engineLogFiles}},
		RestartPolicy:  policy,
		CapAdd:         s.CapAdd,
		CapDrop:        s.CapDrop,
		ReadonlyRootfs: s.ReadOnly,
		SecurityOpt:    append([]string{"no-new-privileges:true"}, s.SecurityOpt...),
		Privileged:     s.Privileged,
		Mounts:         mounts,
		Tmpfs:          tmpfs(s.Tmpfs),
		Resources: container.Resources{
			NanoCPUs: int64(math.Round(s.CPUs * 1e9)),
			Memory:   s.MemoryLimit,
		},
	}
	if s.Init {
		host.Init = ptr(true)
	}
	for _, ns := range s.HostNamespaces { // the user allowed them by name
		switch ns {
		case "pid":
			host.PidMode = "host"
		case "ipc":
			host.IpcMode = "host"
		case "userns":
			host.UsernsMode = "host"
		default:
			return nil, fmt.Errorf("service %s: the host's %s namespace is not supported", s.Name, ns)
		}
	}
	if s.PidsLimit != 0 {
		host.PidsLimit = ptr(s.PidsLimit)
	}
	return host, nil
}

// tmpfs splits Compose's "path:options".
func tmpfs(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string)
	for _, entry := range list {
		path, options, _ := strings.Cut(entry, ":")
		m[path] = options
	}
	return m
}

func (c *cluster) mounts(s target.Service) ([]mount.Mount, error) {
	var mounts []mount.Mount
	for _, m := range s.Mounts {
		out := mount.Mount{Type: mount.Type(m.Kind), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
		switch m.Kind {
		case "volume":
			out.VolumeOptions = &mount.VolumeOptions{Labels: c.labels("volume")}
			if m.Source != "" {
				out.Source = c.volumeName(m.Source)
			}
		case "bind":
		case "tmpfs":
			out.Source = ""
			if m.Size > 0 {
				out.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: m.Size}
			}
		default:
			return nil, fmt.Errorf("service %s: mount of kind %q at %s is not supported", s.Name, m.Kind, m.Target)
		}
		mounts = append(mounts, out)
	}
	return mounts, nil
}

func (c *cluster) volumeName(name string) string { return c.project + "_" + name }

// create makes a container on its networks, not yet started.
func (c *cluster) create(ctx context.Context, name string, cfg *container.Config, host *container.HostConfig, ends []endpoint) (string, error) {
	first, rest := ends, []endpoint(nil)
	if len(ends) > 1 && versions.LessThan(c.d.api.ClientVersion(), apiManyEndpoints) {
		first, rest = ends[:1], ends[1:]
	}
	nets := &network.NetworkingConfig{EndpointsConfig: make(map[string]*network.EndpointSettings)}
	for _, e := range first {
		nets.EndpointsConfig[e.net.id] = e.settings()
	}
	ctx, cancel := whole(ctx)
	defer cancel()
	if len(ends) > 0 {
		host.NetworkMode = container.NetworkMode(ends[0].net.id)
	} else if host.NetworkMode == "" {
		host.NetworkMode = "none"
	}
	made, err := c.d.api.ContainerCreate(ctx, cfg, host, nets, nil, name)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	c.warn(made.Warnings)
	if c.isDown() { // which may have looked for what is there before this was
		return "", errors.Join(errDown, c.d.removeOwn(ctx, made.ID))
	}
	for _, e := range rest {
		if err := c.d.api.NetworkConnect(ctx, e.net.id, made.ID, e.settings()); err != nil {
			return made.ID, fmt.Errorf("connect %s to network %s: %w", name, e.net.name, err)
		}
	}
	return made.ID, nil
}

// warn passes on, once each, what the engine cannot do of what it was asked, such as a
// memory limit where the kernel has none.
func (c *cluster) warn(warnings []string) {
	for _, w := range warnings {
		c.mu.Lock()
		known := c.warned[w]
		c.warned[w] = true
		c.mu.Unlock()
		if !known {
			c.spec.Progress("the engine warns: " + printable(w))
		}
	}
}

func (e endpoint) settings() *network.EndpointSettings {
	return &network.EndpointSettings{
		NetworkID:  e.net.id,
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: e.address},
		Aliases:    e.aliases,
	}
}

// seconds rounds up to the whole seconds that the engine takes.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

func ptr[T any](v T) *T { return &v }
