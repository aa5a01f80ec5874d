package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/tutti-bench/tutti/lib/driver/docker"
	"github.com/tutti-bench/tutti/lib/driver/process"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/watchdog"
)

// openDocker opens the Docker driver for a run: first the run's lock and the watchdog, then the
// engine. What dead runs have left there is removed on the way.
func openDocker(ctx context.Context, run string) (target.Driver, func(context.Context) error, error) {
	d, err := newDocker(ctx)
	if err != nil {
		return nil, nil, err
	}
	_, release, err := guard(ctx, watchdog.Order{Run: run, Driver: "docker", Env: d.Env()})
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	if _, err := d.Probe(ctx); err != nil { // no waiting for an engine that is not there to list what it has
		return nil, nil, errors.Join(err, release(context.WithoutCancel(ctx)), d.Close())
	}
	reap(ctx, d)
	return d, func(ctx context.Context) error { return errors.Join(release(ctx), d.Close()) }, nil
}

func newDocker(ctx context.Context) (*docker.Driver, error) {
	host, err := watchdog.HostID()
	if err != nil {
		return nil, atCache("tell this machine's things from others' on the engine", err)
	}
	return docker.New(ctx, docker.Config{Host: host})
}

// reapLimit bounds the courtesy of removing what dead runs have left.
const reapLimit = 30 * time.Second

// reap removes what runs have left that are not alive. It is a courtesy: what stays is the next run's or
// `tutti clean`'s.
func reap(ctx context.Context, d *docker.Driver) {
	ctx, cancel := context.WithTimeout(ctx, reapLimit)
	defer cancel()
	runs, err := d.Runs(ctx)
	if err != nil {
		return
	}
	for run := range runs {
		if !watchdog.Held(run) {
			_, _ = d.Sweep(ctx, run)
		}
	}
}

// openProcess opens the process driver for a run, with a watchdog that knows every child.
func openProcess(ctx context.Context, run string) (target.Driver, func(context.Context) error, error) {
	dog, release, err := guard(ctx, watchdog.Order{Run: run, Driver: "process"})
	if err != nil {
		return nil, nil, err
	}
	d := process.New(process.Config{Register: dog.Pid, Temp: dog.Temp})
	return d, release, nil
}

// atCache is an error of the folder in which we keep what outlives a run.
func atCache(what string, err error) error {
	return &target.UnavailableError{What: what, Err: err, Hint: "TUTTI_CACHE names a folder that can be written"}
}

// guard takes the run's lock and starts its watchdog.
func guard(ctx context.Context, o watchdog.Order) (*watchdog.Dog, func(context.Context) error, error) {
	const what = "start the watchdog, which cleans up if this program is killed"
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	unlock, err := watchdog.Lock(o.Run)
	if err != nil {
		return nil, nil, atCache("mark run "+o.Run+" as alive", err)
	}
	dog, err := watchdog.Start(ctx, exe, []string{"watchdog"}, o)
	if err != nil {
		unlock()
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	return dog, func(ctx context.Context) error {
		defer unlock()
		return dog.Release(ctx)
	}, nil
}

// watchdogCommand is the watchdog's own process.
func (a *app) watchdogCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watchdog", Hidden: true, Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			return watchdog.Serve(a.in, a.out, map[string]watchdog.Sweeper{"docker": sweepDocker, "process": nil})
		},
	}
}

func sweepDocker(ctx context.Context, o watchdog.Order) (int, error) {
	d, err := newDocker(ctx)
	if err != nil {
		return 0, err
	}
	found, err := d.Sweep(ctx, o.Run)
	return found, errors.Join(err, d.Close())
}

func (a *app) cleanCommand() *cobra.Command {
	return &cobra.Command{
		Use: "clean", Short: "Remove what killed runs have left on the engine",
		Long: `Clean removes containers, networks and volumes that carry our label and belong to
runs of this machine that are not alive, and, while no run is, the images that we made.
A run that is under way is left alone, and nothing without our label is ever touched.`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := newDocker(c.Context())
			if err != nil {
				return err
			}
			return errors.Join(a.clean(c.Context(), d), d.Close())
		},
	}
}

func (a *app) clean(ctx context.Context, d *docker.Driver) error {
	if _, err := d.Probe(ctx); err != nil {
		return err
	}
	runs, err := d.Runs(ctx)
	if err != nil {
		return &target.UnavailableError{What: "list what runs have left", Err: err}
	}
	var errs []error
	alive := false
	for _, run := range slices.Sorted(maps.Keys(runs)) {
		r := runs[run]
		if watchdog.Held(run) {
			alive = true
			fmt.Fprintf(a.out, "run %s is alive: left alone\n", run)
			continue
		}
		if _, err := d.Sweep(ctx, run); err != nil {
			errs = append(errs, &target.UnavailableError{
				What: "remove what run " + run + " has left", Err: err,
				Hint: "if the engine calls a network in use that no container is in, it has miscounted, and a restart of the engine mends that",
			})
			continue
		}
		fmt.Fprintf(a.out, "run %s: removed %s, %s, %s\n", run,
			count(r.Containers, "container"), count(r.Networks, "network"), count(r.Volumes, "volume"))
	}
	if len(runs) == 0 {
		fmt.Fprintln(a.out, "nothing is left of any run")
	}
	if !alive { // a run that has just begun may not have used its image yet
		n, err := d.Prune(ctx)
		if errs = append(errs, err); n > 0 {
			fmt.Fprintf(a.out, "removed %s of ours; they are made again when they are needed\n", count(n, "image"))
		}
	}
	return errors.Join(errs...)
}
