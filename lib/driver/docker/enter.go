package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	helperMemory = 256 << 20
	helperPids   = 256

	volumeAt  = "/volume"        // where a helper finds its volume
	cgroupsAt = "/sys/fs/cgroup" // where a helper finds the machine's control groups
	toolsAt   = "/.tutti"        // where a node's container has our binary, and our image a link to it
	toolsName = "tutti-tools"

	execPoll   = 2 * time.Second // how often an exec is asked whether it runs, while its streams are open
	execSettle = 50 * time.Millisecond
	execEnd    = 5 * time.Second // how long it may go on once they are closed, or it was killed
)

// Enter starts our own binary in a node. It is a container of its own that shares with the node's what its place
// says; InNode it is an exec in the node's own container.
func (c *cluster) Enter(ctx context.Context, n target.Node, p target.Place, volume string, args ...string) (*target.Process, error) {
	proc, err := c.enterPlace(ctx, n, p, volume, args)
	if err != nil {
		return nil, fmt.Errorf("enter %s (%s): %w", n.Name, p, err)
	}
	return proc, nil
}

func (c *cluster) enterPlace(ctx context.Context, n target.Node, p target.Place, volume string, args []string) (*target.Process, error) {
	r, err := c.find(n)
	if err != nil {
		return nil, err
	}
	if p == target.InNode {
		return c.enterNode(ctx, r, args)
	}
	at := site{container: r.node.ID, memory: helperMemory}
	if slices.Contains(r.service.HostNamespaces, "userns") {
		at.userns = "host" // two containers share other namespaces only if they share this one
	}
	if p == target.AtVolume {
		if _, ok := c.spec.Target.Volumes[volume]; !ok {
			return nil, fmt.Errorf("the target has no volume %q", volume)
		}
		at.volume = c.volumeName(volume)
		at.memory += c.spec.Bounded[volume] // what is written to memory is charged to its writer
	}
	host, err := c.d.placeHost(ctx, p, at)
	if err != nil {
		return nil, err
	}
	return c.launch(ctx, launch{
		name: c.helperName(), config: ownConfig(args, c.labels("helper")), host: host, over: func() {},
	})
}

func (c *cluster) helperName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.helpers++
	return fmt.Sprintf("tutti-helper-%d", c.helpers)
}

// site is what a helper shares with others. The zero site is away from any target.
type site struct {
	container string // whose namespaces
	volume    string // the engine's name for it
	userns    string
	memory    int64 // bytes; limit
}

// placeHost says how the engine runs a helper: what its place takes, and nothing else.
func (d *Driver) placeHost(ctx context.Context, p target.Place, at site) (*container.HostConfig, error) {
	info, err := d.info(ctx)
	if err != nil {
		return nil, err
	}
	host := ownHost(at.memory, helperPids)
	host.UsernsMode = container.UsernsMode(at.userns)
	switch p {
	case target.InNetwork:
		host.CapAdd = []string{"NET_ADMIN"}
		if at.container != "" {
			host.NetworkMode = container.NetworkMode("container:" + at.container)
		}
	case target.InMachine:
		host.CapAdd = []string{"KILL"}
		host.PidMode = "host"
		// Control groups name the containers; within a namespace of its own it would see no names but below itself.
		host.CgroupnsMode = container.CgroupnsModeHost
	case target.InProcesses:
		host.CapAdd = []string{"SYS_PTRACE"}
		if at.container != "" {
			host.PidMode = container.PidMode("container:" + at.container)
		}
	case target.AtVolume:
		host.CapAdd = []string{"DAC_OVERRIDE"}
		if at.volume == "" {
			host.Mounts = []mount.Mount{{Type: mount.TypeTmpfs, Target: volumeAt}}
			break
		}
		host.Mounts = []mount.Mount{{
			Type: mount.TypeVolume, Source: at.volume, Target: volumeAt, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		}}
	case target.InDisk:
		host.CgroupnsMode = container.CgroupnsModeHost
		host.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: cgroupsAt, Target: cgroupsAt}}
	case target.InNode: // as [Driver.Scratch] has it: a container of its own
	default:
		return nil, fmt.Errorf("this driver does not know the place %q", p)
	}
	if wholeMachine(p) && userns(info) {
		host.UsernsMode = "host" // the engine shares the machine's namespaces with no other
	}
	return host, nil
}

// wholeMachine reports whether a helper in a place reaches more than its node.
func wholeMachine(p target.Place) bool { return p == target.InMachine || p == target.InDisk }

// Scratch starts our own binary as a helper would be started, away from any target. Sweep of the run removes it.
func (d *Driver) Scratch(ctx context.Context, run string, p target.Place, args ...string) (*target.Process, error) {
	labels := map[string]string{target.LabelRun: run, target.LabelHost: d.cfg.Host, target.LabelRole: "helper"}
	host, err := d.placeHost(ctx, p, site{memory: helperMemory})
	if err == nil && run == "" {
		err = errors.New("no run given, to label it with")
	}
	if err != nil {
		return nil, fmt.Errorf("start a process in a scratch place (%s): %w", p, err)
	}
	host.NetworkMode = "none"
	proc, err := d.launch(ctx, launch{
		name: projectName(run, fmt.Sprintf("scratch-%d", d.scratches.Add(1))), what: "tutti-scratch",
		config: ownConfig(args, labels), host: host, over: func() {},
		create: func(ctx context.Context, name string, cfg *container.Config, host *container.HostConfig, _ []endpoint) (string, error) {
			ctx, cancel := whole(ctx)
			defer cancel()
			made, err := d.api.ContainerCreate(ctx, cfg, host, &network.NetworkingConfig{}, nil, name)
			if err != nil {
				return "", fmt.Errorf("create container %s: %w", name, err)
			}
			return made.ID, nil
		},
	}, func(string) {})
	if err != nil {
		return nil, fmt.Errorf("start a process in a scratch place (%s): %w", p, err)
	}
	return proc, nil
}

// entered reports whether our binary will run in the containers of a service.
func (c *cluster) entered(service string) bool {
	return slices.Contains(c.spec.Places[service], target.InNode)
}

// makeTools makes the volume with our binary for the nodes that will be entered: the engine fills an empty volume with
// what the image has at its place.
func (c *cluster) makeTools(ctx context.Context) error {
	if !slices.ContainsFunc(sortedKeys(c.spec.Target.Services), c.entered) {
		return nil
	}
	if err := c.makeVolume(ctx, toolsName, volume.CreateOptions{Name: c.volumeName(toolsName), Labels: c.labels("volume")}); err != nil {
		return err
	}
	host := ownHost(helperMemory, helperPids)
	host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: c.volumeName(toolsName), Target: toolsAt}}
	id, _, err := c.d.createFrom(ctx, func() (imageRef, error) { return c.d.tuttiImage(ctx, c.spec.Progress) }, func(img imageRef) (string, error) {
		return c.create(ctx, c.project+"-"+toolsName, &container.Config{Image: img.name, Labels: c.labels("helper")}, host, nil)
	})
	if err != nil {
		return err
	}
	return c.d.removeOwn(ctx, id) // it was filled when the container was created
}

// tools is the mount of our binary in a node's container.
func (c *cluster) tools() mount.Mount {
	return mount.Mount{
		Type: mount.TypeVolume, Source: c.volumeName(toolsName), Target: toolsAt, ReadOnly: true,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: c.labels("volume")},
	}
}

// enterNode starts our binary with an exec: so it is in the node's control group, namespaces and mounts, whatever the
// engine makes them of, and may do what the service may.
func (c *cluster) enterNode(ctx context.Context, r *replica, args []string) (*target.Process, error) {
	if !c.entered(r.node.Service) {
		return nil, errors.New("the service's containers were made without our binary: its faults did not ask for it")
	}
	end, err := c.begin()
	if err != nil {
		return nil, err
	}
	life := context.WithoutCancel(ctx) // the process outlives the call
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	made, err := c.d.api.ContainerExecCreate(ctx, r.node.ID, container.ExecOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: append([]string{toolsAt + "/tutti"}, args...),
	})
	if err != nil {
		end()
		return nil, err
	}
	stream, err := c.d.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		end()
		return nil, err
	}
	p := newProcess("in "+r.node.Name, stream)
	killed := make(chan struct{}, 1)
	go func() {
		defer end()
		p.finish(
			func() error { return c.execEnded(life, p, made.ID, killed) },
			func() error { return nil }, // the engine forgets it
		)
	}()
	return p.handle(ctx, func(context.Context) {
		// The engine cannot kill an exec, but for us the end of our input is the end.
		select {
		case killed <- struct{}{}:
		default: // before
		}
		stream.Close()
	}), nil
}

// execEnded waits for the end of an exec. The engine has no call for that: it is asked again, at once when the
// streams have ended, which most often means that the process has.
func (c *cluster) execEnded(ctx context.Context, p *process, id string, killed <-chan struct{}) error {
	tick := time.NewTicker(execPoll)
	defer tick.Stop()
	var last <-chan time.Time // the end of patience; nil: there is no hurry
	demuxed := p.demuxed
	wasKilled := false
	for {
		select {
		case <-demuxed:
			demuxed = nil
		case <-killed:
			killed, wasKilled = nil, true
		case <-tick.C:
		case <-last:
			return errors.New("its streams have ended, and the engine says that it runs: it ends with the node")
		}
		if (demuxed == nil || wasKilled) && last == nil {
			last = time.After(execEnd)
			tick.Reset(execSettle)
		}
		over, err := c.execOver(ctx, id)
		if !over {
			continue
		}
		if err == nil && wasKilled {
			err = errors.New("it was killed")
		}
		return err
	}
}

// execOver asks once whether an exec has ended, and how.
func (c *cluster) execOver(ctx context.Context, id string) (over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := c.d.api.ContainerExecInspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err), cerrdefs.IsConflict(err):
		return true, errors.New("it has ended with the node")
	case err != nil:
		return true, fmt.Errorf("ask the engine for its end: %w", err)
	case got.Running:
		return false, nil
	case got.ExitCode != 0:
		return true, fmt.Errorf("exit code %d", got.ExitCode)
	}
	return true, nil
}
