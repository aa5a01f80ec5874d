package compose

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"

	"github.com/tutti-bench/tutti/lib/target"
)

// configMode is the mode of a config that has none, as in the Compose specification.
const configMode = 0o444

// stopGrace is how long Docker Compose waits between the stop signal and SIGKILL.
const stopGrace = 10 * time.Second

// A converter turns a project into a target and collects what there is to say.
type converter struct {
	finder *finder
	allow  allowance
	dir    string // of the first Compose file
	home   string // the same, symbolic links resolved

	notes []string
	errs  []error
}

// note and refuse name a field as a user would: "service app: ports", where the
// path is services, app, ports.
func (c *converter) note(path []string, what string) {
	c.notes = append(c.notes, label(path)+": "+what)
}

func (c *converter) refuse(path []string, why, fix string) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s: %s\n  %s", c.finder.find(path), label(path), why, fix))
}

func label(path []string) string {
	if len(path) < 2 {
		return strings.Join(path, ".")
	}
	s := strings.TrimSuffix(path[0], "s") + " " + path[1]
	if len(path) > 2 {
		s += ": " + strings.Join(path[2:], ".")
	}
	return s
}

func (c *converter) target(p *types.Project) *target.Target {
	c.walk(reflect.ValueOf(p), nil, nil)
	t := &target.Target{
		Name:     p.Name,
		Dir:      c.dir,
		Services: make(map[string]target.Service, len(p.Services)),
		Networks: map[string]target.Network{"default": {Name: "default"}},
		Volumes:  make(map[string]target.Volume, len(p.Volumes)),
	}
	for _, name := range slices.Sorted(maps.Keys(p.Networks)) {
		t.Networks[name] = c.network(p, name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Volumes)) {
		t.Volumes[name] = c.volume(p, name)
	}
	for _, name := range p.ServiceNames() {
		t.Services[name] = c.service(p, p.Services[name])
	}
	if len(t.Services) == 0 {
		c.errs = append(c.errs, fmt.Errorf("%s: no service is left to run; add one, or activate its profile", c.finder.files[0]))
	}
	t.Notes = c.notes
	return t
}

func (c *converter) network(p *types.Project, name string) target.Network {
	n := p.Networks[name]
	path := []string{"networks", name}
	if n.Driver != "" && n.Driver != "bridge" {
		c.refuse(with(path, "driver"), "a trial's network is a bridge on one machine", "remove it")
	}
	if n.Ipam.Driver != "" && n.Ipam.Driver != "default" {
		c.refuse(with(with(path, "ipam"), "driver"), "addresses are given by the harness", "remove it")
	}
	if n.Name != "" && n.Name != p.Name+"_"+name {
		c.note(with(path, "name"), "the name is dropped: "+fresh)
	}
	var subnet string
	switch len(n.Ipam.Config) {
	case 0:
	case 1:
		if n.Ipam.Config[0] != nil {
			subnet = n.Ipam.Config[0].Subnet
		}
	default:
		c.refuse(with(with(path, "ipam"), "config"), "a network has one subnet", "leave one")
	}
	return target.Network{Name: name, Internal: n.Internal, Subnet: subnet}
}

func (c *converter) volume(p *types.Project, name string) target.Volume {
	v := p.Volumes[name]
	path := []string{"volumes", name}
	if v.Name != "" && v.Name != p.Name+"_"+name {
		c.note(with(path, "name"), "the name is dropped: "+fresh)
	}
	if device := v.DriverOpts["device"]; device != "" && v.DriverOpts["type"] != "tmpfs" {
		// A local volume with a device is a bind in disguise, and outlives the trial.
		options := strings.Split(v.DriverOpts["o"], ",")
		c.bind(with(path, "driver_opts"), device, slices.Contains(options, "ro"))
	}
	return target.Volume{Name: name, Driver: v.Driver, Opts: maps.Clone(map[string]string(v.DriverOpts))}
}

func (c *converter) service(p *types.Project, s types.ServiceConfig) target.Service {
	path := []string{"services", s.Name}
	out := target.Service{
		Name:        s.Name,
		Image:       c.image(s, path),
		Command:     s.Command,
		Entrypoint:  s.Entrypoint,
		Environment: values(s.Environment),
		Networks:    attachments(s),
		Mounts:      c.mounts(p, s, path),
		Files:       c.files(p, s, path),
		Healthcheck: healthcheck(s.HealthCheck),
		DependsOn:   c.dependencies(p, s, path),
		Scale:       s.GetScale(),
		Labels:      maps.Clone(map[string]string(s.Labels)),
		StopSignal:  s.StopSignal,
		StopGrace:   stopGrace,
		User:        s.User,
		WorkingDir:  s.WorkingDir,
		Hostname:    s.Hostname,
		Restart:     c.restart(s, path),
		Expose:      exposed(s),
		CapAdd:      slices.Clone(s.CapAdd),
		CapDrop:     slices.Clone(s.CapDrop),
		ReadOnly:    s.ReadOnly,
		Tmpfs:       slices.Clone([]string(s.Tmpfs)),
		Init:        s.Init != nil && *s.Init,
		Privileged:  s.Privileged,
		SecurityOpt: slices.Clone(s.SecurityOpt),
	}
	if s.StopGracePeriod != nil {
		out.StopGrace = time.Duration(*s.StopGracePeriod)
	}
	if s.Deploy != nil && s.Deploy.Mode != "" && s.Deploy.Mode != "replicated" {
		c.refuse(with(with(path, "deploy"), "mode"), "there is no swarm to spread over", "set deploy.replicas")
	}
	c.links(s, path)
	limits(&out, s)
	c.dangers(&out, s, path)
	return out
}

// links refuses a link by another name than the service's, which would be lost.
func (c *converter) links(s types.ServiceConfig, path []string) {
	for i, link := range s.Links {
		if of, name, ok := strings.Cut(link, ":"); ok && name != of {
			c.refuse(with(with(path, "links"), strconv.Itoa(i)), fmt.Sprintf("%s would not resolve: links give no names", name),
				fmt.Sprintf("add it to the aliases of service %s in its networks, and link to %s alone", of, of))
		}
	}
}

// dangers refuses what would let a service at the machine, unless the user allows it.
func (c *converter) dangers(out *target.Service, s types.ServiceConfig, path []string) {
	refuse := func(field, why, name string) {
		c.refuse(with(path, field), why, fmt.Sprintf("remove it, or allow it by the name %q", name))
	}
	if s.Privileged && !c.allow.names[allowPrivileged] {
		refuse("privileged", "the service would own the machine", allowPrivileged)
	}
	if s.UseAPISocket {
		c.refuse(with(path, "use_api_socket"), "the service would command the engine, and with it the machine",
			fmt.Sprintf("remove it; a bind of the socket can be allowed by the name %q", allowSocket))
	}
	for _, o := range s.SecurityOpt {
		if strings.Contains(o, "unconfined") || strings.Contains(o, "disable") {
			if !c.allow.names[allowUnconfined] {
				refuse("security_opt", "the service would run without the engine's confinement", allowUnconfined)
			}
		}
	}
	for _, name := range s.CapAdd {
		if n := capability(name); slices.Contains(dangerousCaps, n) && !c.allow.caps[n] {
			refuse("cap_add", "with "+n+" the service could reach the machine", allowCap+n)
		}
	}
	for _, ns := range []struct{ field, value string }{{"pid", s.Pid}, {"ipc", s.Ipc}, {"userns_mode", s.UserNSMode}} {
		switch {
		case ns.value == "", ns.field == "ipc" && (ns.value == "private" || ns.value == "none"):
			if ns.value == "none" {
				c.refuse(with(path, ns.field), "every node has an IPC namespace of its own", "remove it")
			}
		case ns.value != "host":
			c.refuse(with(path, ns.field), "every node has namespaces of its own", "remove it")
		case !c.allow.names[allowHost]:
			refuse(ns.field, "the service would share the machine's namespace", allowHost)
		default:
			out.HostNamespaces = append(out.HostNamespaces, strings.TrimSuffix(ns.field, "_mode"))
		}
	}
}

func (c *converter) image(s types.ServiceConfig, path []string) target.Image {
	image := target.Image{Kind: target.ImageRef, Ref: s.Image, Pull: s.PullPolicy}
	switch s.PullPolicy {
	case "":
		image.Pull = types.PullPolicyMissing
	case types.PullPolicyMissing, types.PullPolicyAlways, types.PullPolicyNever, types.PullPolicyBuild:
	default:
		c.refuse(with(path, "pull_policy"), "the harness pulls an image when it is absent", "set it to missing, always, never or build")
	}
	folder, isGo := strings.CutPrefix(s.Image, "go://")
	switch {
	case s.Build != nil:
		return c.build(s, path, image)
	case s.Image == "tutti":
		image.Kind, image.Ref = target.ImageTutti, ""
	case isGo:
		image.Kind, image.Ref = target.ImageGo, filepath.FromSlash(folder)
		if !filepath.IsAbs(image.Ref) {
			image.Ref = filepath.Join(c.dir, image.Ref)
		}
		if info, err := os.Stat(image.Ref); err != nil || !info.IsDir() {
			c.refuse(with(path, "image"), fmt.Sprintf("there is no folder %s", image.Ref),
				"name the folder of a Go main package, relative to the folder of the first Compose file")
		}
	default:
		if _, err := reference.ParseNormalizedNamed(s.Image); err != nil {
			c.refuse(with(path, "image"), fmt.Sprintf("%q names no image: %v", s.Image, err),
				"name an image of a registry, tutti, or go://./path")
		}
	}
	return image
}

func (c *converter) build(s types.ServiceConfig, path []string, image target.Image) target.Image {
	path = with(path, "build")
	if s.Image != "" {
		c.note(path, "the built image is not given the name in image, so that no image of yours is replaced")
	}
	image.Kind, image.Ref = target.ImageBuild, ""
	image.Context = s.Build.Context
	image.Dockerfile, image.Target, image.Args = s.Build.Dockerfile, s.Build.Target, values(s.Build.Args)
	if info, err := os.Stat(image.Context); err != nil || !info.IsDir() {
		c.refuse(with(path, "context"), "the context is not a folder on this machine", "name a folder; build remote contexts beforehand")
		return image
	}
	if filepath.IsAbs(image.Dockerfile) {
		if rel, err := filepath.Rel(image.Context, image.Dockerfile); err == nil {
			image.Dockerfile = rel
		}
	}
	file := filepath.Join(image.Context, image.Dockerfile)
	switch info, err := os.Stat(file); {
	case s.Build.DockerfileInline != "": // refused by its rule
	case !within(realPath(file), realPath(image.Context)):
		c.refuse(with(path, "dockerfile"), "it is outside the build's context", "move it into the context")
	case err != nil || !info.Mode().IsRegular():
		c.refuse(with(path, "dockerfile"), fmt.Sprintf("there is no file %s", file), "write one, or name the right one")
	}
	return image
}

// mounts returns the service's mounts; secrets and configs that are files are read-only binds of them.
func (c *converter) mounts(p *types.Project, s types.ServiceConfig, path []string) []target.Mount {
	var out []target.Mount
	for i, v := range s.Volumes {
		at := with(with(path, "volumes"), strconv.Itoa(i))
		m := target.Mount{Kind: v.Type, Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly}
		switch v.Type {
		case types.VolumeTypeVolume:
			// An empty source is a volume without a name, made for this mount.
		case types.VolumeTypeBind:
			m.Source = c.bind(at, v.Source, v.ReadOnly)
		case types.VolumeTypeTmpfs:
			if v.Tmpfs != nil {
				m.Size = int64(v.Tmpfs.Size)
			}
		default:
			c.refuse(with(at, "type"), fmt.Sprintf("a mount of type %s is not made", v.Type), "use volume, bind or tmpfs")
		}
		out = append(out, m)
	}
	for i, f := range s.Secrets {
		at := with(with(path, "secrets"), strconv.Itoa(i))
		out = c.file(out, at, types.FileReferenceConfig(f), types.FileObjectConfig(p.Secrets[f.Source]), "/run/secrets/")
	}
	for i, f := range s.Configs {
		if o := p.Configs[f.Source]; o.Content == "" {
			at := with(with(path, "configs"), strconv.Itoa(i))
			c.keepsOwner(at, f)
			out = c.file(out, at, types.FileReferenceConfig(f), types.FileObjectConfig(o), "/")
		}
	}
	return out
}

// keepsOwner refuses what a file of the host cannot be given.
func (c *converter) keepsOwner(path []string, f types.ServiceConfigObjConfig) {
	for _, is := range []struct {
		key string
		set bool
	}{{"uid", f.UID != ""}, {"gid", f.GID != ""}, {"mode", f.Mode != nil}} {
		if is.set {
			c.refuse(with(path, is.key), "a file keeps the owner and the mode that it has on the host", "remove it, or give the configuration by content")
		}
	}
}

// files returns the configs whose contents stand in the Compose file.
func (c *converter) files(p *types.Project, s types.ServiceConfig, path []string) []target.File {
	var out []target.File
	for i, f := range s.Configs {
		o := p.Configs[f.Source]
		if o.Content == "" {
			continue
		}
		at := with(with(path, "configs"), strconv.Itoa(i))
		file := target.File{Target: targetOf(types.FileReferenceConfig(f), "/"), Content: o.Content, Mode: configMode}
		if f.Mode != nil {
			file.Mode = fs.FileMode(*f.Mode) & fs.ModePerm
		}
		for _, id := range []struct {
			key, text string
			to        *int
		}{{"uid", f.UID, &file.UID}, {"gid", f.GID, &file.GID}} {
			if id.text == "" {
				continue
			}
			n, err := strconv.ParseUint(id.text, 10, 31)
			if err != nil {
				c.refuse(with(at, id.key), fmt.Sprintf("%q is not a number", id.text), "name the user by number")
			}
			*id.to = int(n)
		}
		if s.ReadOnly {
			c.refuse(at, "nothing can be put into a container that is read-only", "write it into a file and name that with file")
		}
		out = append(out, file)
	}
	return out
}

func targetOf(f types.FileReferenceConfig, folder string) string {
	t := f.Target
	if t == "" {
		t = f.Source
	}
	if !strings.HasPrefix(t, "/") {
		t = folder + t
	}
	return t
}

func (c *converter) file(out []target.Mount, path []string, f types.FileReferenceConfig, o types.FileObjectConfig, folder string) []target.Mount {
	if o.File == "" {
		return out // refused where it is declared, since only files are passed on
	}
	return append(out, target.Mount{
		Kind: types.VolumeTypeBind, Source: c.bind(path, o.File, true), Target: targetOf(f, folder), ReadOnly: true,
	})
}

// bind checks a bind mount and returns its source with symbolic links resolved, so that
// what was checked is what is mounted.
func (c *converter) bind(path []string, source string, readOnly bool) string {
	if !filepath.IsAbs(source) {
		source = filepath.Join(c.dir, source)
	}
	real := realPath(source)
	if _, err := os.Stat(real); err != nil {
		c.refuse(path, fmt.Sprintf("there is no %s on this machine", source), "make it: the harness creates nothing outside its own folders")
		return real
	}
	switch {
	case givesSocket(real):
		if !c.allow.names[allowSocket] {
			c.refuse(path, fmt.Sprintf("%s gives the service the engine's socket, and with it the machine", source),
				fmt.Sprintf("remove it, or allow it by the name %q", allowSocket))
		}
	case readOnly:
	case !within(real, c.home):
		if !c.allow.bind(real) {
			c.refuse(path, fmt.Sprintf("the service could write to %s, outside the target's folder %s", real, c.home),
				fmt.Sprintf("mount it read-only, or allow it by the name %q", allowBind+real))
		}
	default:
		c.note(path, fmt.Sprintf("%s is written by every trial alike: what one leaves there, the next one finds", source))
	}
	return real
}

func (c *converter) dependencies(p *types.Project, s types.ServiceConfig, path []string) []target.Dependency {
	var out []target.Dependency
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		d := s.DependsOn[name]
		at := with(with(path, "depends_on"), name)
		if _, ok := p.Services[name]; !ok {
			c.note(at, "the service is not part of the target, and not required")
			continue
		}
		condition := d.Condition
		switch condition {
		case "":
			condition = target.Started
		case target.Started, target.Healthy, target.Completed:
		default:
			c.refuse(with(at, "condition"), "the condition is unknown", fmt.Sprintf("use %s, %s or %s", target.Started, target.Healthy, target.Completed))
		}
		out = append(out, target.Dependency{Service: name, Condition: condition, Required: d.Required})
	}
	return out
}

// restart returns the restart policy, from restart or else deploy.restart_policy.
func (c *converter) restart(s types.ServiceConfig, path []string) string {
	policy := s.Restart
	if policy == "" && s.Deploy != nil && s.Deploy.RestartPolicy != nil {
		r := s.Deploy.RestartPolicy
		switch r.Condition {
		case "none":
			policy = types.RestartPolicyNo
		case "", "any":
			policy = types.RestartPolicyAlways
		case "on-failure":
			policy = types.RestartPolicyOnFailure
			if r.MaxAttempts != nil {
				policy += ":" + strconv.FormatUint(*r.MaxAttempts, 10)
			}
		default:
			c.refuse(with(path, "deploy"), "restart_policy.condition is unknown", "use none, on-failure or any")
		}
	}
	return policy
}

func limits(out *target.Service, s types.ServiceConfig) {
	// Through text, since 0.1 as float32 is 0.10000000149.
	float := func(f float32) float64 {
		v, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
		return v
	}
	out.CPUs, out.MemoryLimit, out.PidsLimit = float(s.CPUS), int64(s.MemLimit), s.PidsLimit
	if s.Deploy == nil || s.Deploy.Resources.Limits == nil {
		return
	}
	l := s.Deploy.Resources.Limits
	if l.NanoCPUs != 0 {
		out.CPUs = float(float32(l.NanoCPUs))
	}
	if l.MemoryBytes != 0 {
		out.MemoryLimit = int64(l.MemoryBytes)
	}
	if l.Pids != 0 {
		out.PidsLimit = l.Pids
	}
}

func healthcheck(h *types.HealthCheckConfig) *target.Healthcheck {
	if h == nil {
		return nil
	}
	if h.Disable || (len(h.Test) > 0 && h.Test[0] == "NONE") {
		return &target.Healthcheck{Disable: true}
	}
	duration := func(d *types.Duration) time.Duration {
		if d == nil {
			return 0
		}
		return time.Duration(*d)
	}
	out := &target.Healthcheck{
		Test:          slices.Clone([]string(h.Test)),
		Interval:      duration(h.Interval),
		Timeout:       duration(h.Timeout),
		StartPeriod:   duration(h.StartPeriod),
		StartInterval: duration(h.StartInterval),
	}
	if h.Retries != nil {
		out.Retries = int(*h.Retries)
	}
	return out
}

// attachments returns the service's networks. A dropped container_name stays as an alias.
func attachments(s types.ServiceConfig) map[string]target.Attachment {
	out := make(map[string]target.Attachment, len(s.Networks))
	for name, n := range s.Networks {
		var a target.Attachment
		if n != nil {
			a = target.Attachment{Aliases: slices.Clone(n.Aliases), Address: n.Ipv4Address}
		}
		if s.ContainerName != "" && !slices.Contains(a.Aliases, s.ContainerName) {
			a.Aliases = append(a.Aliases, s.ContainerName)
		}
		out[name] = a
	}
	return out
}

// exposed returns the ports that the service says it has, the published ones included.
func exposed(s types.ServiceConfig) []string {
	out := slices.Clone([]string(s.Expose))
	for _, p := range s.Ports {
		port := strconv.FormatUint(uint64(p.Target), 10)
		if p.Protocol != "" && p.Protocol != "tcp" {
			port += "/" + p.Protocol
		}
		if !slices.Contains(out, port) {
			out = append(out, port)
		}
	}
	return out
}

// values drops names without a value, as Docker Compose does.
func values(m types.MappingWithEquals) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		if v != nil {
			out[k] = *v
		}
	}
	return out
}
