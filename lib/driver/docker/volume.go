package docker

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/tutti-bench/tutti/lib/agent"
)

// makeVolumes makes the trial's own volumes. One that has to have a size is a file system in memory: nothing else
// that an engine can make has one, and a full one harms nobody else.
func (c *cluster) makeVolumes(ctx context.Context) error {
	for _, name := range sortedKeys(c.spec.Target.Volumes) {
		v := c.spec.Target.Volumes[name]
		o := volume.CreateOptions{Name: c.volumeName(name), Driver: v.Driver, DriverOpts: v.Opts, Labels: c.labels("volume")}
		o.Labels["com.docker.compose.volume"] = name
		if size := c.spec.Bounded[name]; size > 0 {
			if len(v.Opts) > 0 || v.Driver != "" && v.Driver != "local" {
				return fmt.Errorf("volume %s: it cannot be given a size of %d bytes: the Compose file says how it is made", name, size)
			}
			o.Driver = "local"
			o.DriverOpts = map[string]string{"type": "tmpfs", "device": "tmpfs", "o": fmt.Sprintf("size=%d", size)}
		}
		if err := c.makeVolume(ctx, name, o); err != nil {
			return err
		}
	}
	return c.keepVolumes(ctx)
}

func (c *cluster) makeVolume(ctx context.Context, name string, o volume.CreateOptions) error {
	ctx, cancel := whole(ctx)
	defer cancel()
	if _, err := c.d.api.VolumeCreate(ctx, o); err != nil {
		return fmt.Errorf("create volume %s: %w", name, err)
	}
	return nil
}

// keepVolumes keeps the bounded volumes mounted through the trial. The engine mounts a volume while a container that has it
// runs, and what is in memory would be gone with the last of them: a killed node would have lost its data, and so would
// what the image puts into a new volume, which the engine copies before the first start.
func (c *cluster) keepVolumes(ctx context.Context) error {
	var mounts []mount.Mount
	for _, name := range sortedKeys(c.spec.Bounded) {
		if _, ok := c.spec.Target.Volumes[name]; !ok {
			return fmt.Errorf("volume %s: it is to have a size, and the target has no such volume", name)
		}
		mounts = append(mounts, mount.Mount{
			Type: mount.TypeVolume, Source: c.volumeName(name), Target: fmt.Sprintf("%s/%d", volumeAt, len(mounts)),
			VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		})
	}
	if len(mounts) == 0 {
		return nil
	}
	host := ownHost(helperMemory, helperPids)
	host.Mounts = mounts
	// Any helper waits for its input to end; this one is never given anything to do.
	p, err := c.launch(ctx, launch{
		name: "tutti-keeper", config: ownConfig([]string{"helper", signalWorker}, c.labels("helper")), host: host, over: func() {},
	})
	if err == nil {
		c.keeper, err = agent.DialHelper(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("keep the volumes %s mounted: %w", strings.Join(sortedKeys(c.spec.Bounded), ", "), err)
	}
	return nil
}

// boundedNotes say what is different about the volumes that have a size.
func (c *cluster) boundedNotes() []string {
	var notes []string
	for _, name := range sortedKeys(c.spec.Bounded) {
		notes = append(notes, fmt.Sprintf("volume %s: it is %d bytes of memory, for the fault that fills it: writes to it are as fast as memory, and count as memory of who writes",
			name, c.spec.Bounded[name]))
	}
	return notes
}
