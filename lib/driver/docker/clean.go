package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"github.com/tutti-bench/tutti/lib/target"
)

const (
	removeTimeout = 60 * time.Second
	removeTries   = 20
	removePause   = 250 * time.Millisecond
)

// Sweep removes what carries a run's label: containers, then networks and volumes.
// Images stay: they are named by their content. It returns how many things it found,
// and so 0 when nothing was there any more. A thing that the engine was still
// creating is found by a later sweep: call it until it has found nothing for a while.
func (d *Driver) Sweep(ctx context.Context, run string) (found int, err error) {
	if run == "" {
		return 0, errors.New("sweep: no run given")
	}
	return d.remove(ctx, filters.NewArgs(filters.Arg("label", target.LabelRun+"="+run)))
}

// Remains are what a run has on an engine.
type Remains struct {
	Containers, Networks, Volumes int
}

// Runs lists the runs of this host that have anything on the engine.
func (d *Driver) Runs(ctx context.Context) (map[string]Remains, error) {
	things, err := d.list(ctx, filters.NewArgs(
		filters.Arg("label", target.LabelRun),
		filters.Arg("label", target.LabelHost+"="+d.cfg.Host)))
	if err != nil {
		return nil, err
	}
	runs := make(map[string]Remains)
	for _, t := range things {
		r := runs[t.run]
		switch t.kind {
		case "container":
			r.Containers++
		case "network":
			r.Networks++
		case "volume":
			r.Volumes++
		}
		runs[t.run] = r
	}
	return runs, nil
}

// Prune removes the images that we made and that no container uses, and returns how
// many. They are made again when they are needed.
func (d *Driver) Prune(ctx context.Context) (removed int, err error) {
	images, err := d.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelImage))})
	if err != nil {
		return 0, fmt.Errorf("list images: %w", err)
	}
	var errs []error
	for _, i := range images {
		_, err := d.api.ImageRemove(ctx, i.ID, image.RemoveOptions{PruneChildren: true})
		switch {
		case err == nil:
			removed++
		case !cerrdefs.IsConflict(err) && !cerrdefs.IsNotFound(err): // in use, or gone already
			errs = append(errs, fmt.Errorf("remove image %s: %w", i.ID, err))
		}
	}
	return removed, errors.Join(errs...)
}

// thing is something on the engine that carries our label.
type thing struct{ kind, id, name, run string }

func (t thing) String() string { return t.kind + " " + t.name }

// list finds everything that carries labels, in the order in which it can be removed.
func (d *Driver) list(ctx context.Context, args filters.Args) ([]thing, error) {
	containers, err := d.api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	networks, err := d.api.NetworkList(ctx, network.ListOptions{Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	volumes, err := d.api.VolumeList(ctx, volume.ListOptions{Filters: args})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var things []thing
	for _, c := range containers {
		name := c.ID[:min(12, len(c.ID))]
		if len(c.Names) > 0 {
			name = strings.TrimPrefix(c.Names[0], "/")
		}
		things = append(things, thing{"container", c.ID, name, c.Labels[target.LabelRun]})
	}
	for _, n := range networks {
		things = append(things, thing{"network", n.ID, n.Name, n.Labels[target.LabelRun]})
	}
	for _, v := range volumes.Volumes {
		things = append(things, thing{"volume", v.Name, v.Name, v.Labels[target.LabelRun]})
	}
	return things, nil
}

// remove removes once what carries labels. What somebody else has removed meanwhile is no error.
func (d *Driver) remove(ctx context.Context, args filters.Args) (found int, err error) {
	things, err := d.list(ctx, args)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, kind := range []string{"container", "network", "volume"} {
		var all errgroup.Group
		all.SetLimit(atOnce)
		for _, t := range things {
			if t.kind == kind {
				all.Go(func() error { return d.removeThing(ctx, t) })
			}
		}
		errs = append(errs, all.Wait())
	}
	return len(things), errors.Join(errs...)
}

func (d *Driver) removeThing(ctx context.Context, t thing) error {
	var err error
	switch t.kind {
	case "container":
		// With its anonymous volumes: an image may declare some, and those carry no label.
		err = d.api.ContainerRemove(ctx, t.id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	case "network":
		err = d.api.NetworkRemove(ctx, t.id)
	case "volume":
		err = d.api.VolumeRemove(ctx, t.id, true)
	}
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove %v: %w", t, err)
}

// removeAll removes until nothing is left, within bounds, and names what is left.
func (d *Driver) removeAll(ctx context.Context, args filters.Args) error {
	var last error
	for try := range removeTries {
		if try > 0 {
			select {
			case <-time.After(removePause):
			case <-ctx.Done():
				return errors.Join(ctx.Err(), last)
			}
		}
		found, err := d.remove(ctx, args)
		if err == nil && found == 0 {
			return nil
		}
		last = err
		if err == nil {
			// Look again at once: most often everything is gone now.
			if left, err := d.list(ctx, args); err == nil && len(left) == 0 {
				return nil
			}
		}
	}
	left, err := d.list(ctx, args)
	if err != nil {
		return errors.Join(last, err)
	}
	names := make([]string, len(left))
	for i, t := range left {
		names[i] = t.String()
	}
	return errors.Join(fmt.Errorf("left on the engine: %s (`tutti clean` removes them)", strings.Join(names, ", ")), last)
}
