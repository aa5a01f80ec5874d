package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Limits on what the docker command is asked for.
const (
	askLimit   = time.Minute
	pullLimit  = 5 * time.Minute
	buildLimit = 20 * time.Minute
	endLimit   = 10 * time.Second // from the end of a context to SIGKILL
)

// engine is a container engine, by its command line: whoever has an engine that the harness
// can use has that command too, and it knows credentials and contexts.
type engine struct{}

// check fails with what to do if no engine answers.
func (e engine) check(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("there is no docker command on this machine; install Docker, or podman with its docker command")
	}
	if _, err := e.ask(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("reach the Docker engine: %w\n  start Docker, or choose another engine with `docker context use` or DOCKER_HOST", err)
	}
	return nil
}

// ask runs a command that answers at once and returns what it prints.
func (e engine) ask(ctx context.Context, args ...string) (string, error) {
	return e.run(ctx, askLimit, nil, args...)
}

// run runs a docker command and returns its standard output. The error holds the end of what it said.
func (engine) run(ctx context.Context, limit time.Duration, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := command(ctx, "docker", args...)
	// The classic builder: every engine has it, and it needs no plug-in of the command's.
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	cmd.Stdin = stdin
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", failure(ctx, limit, err, said.String()+out.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// image returns an image's id and labels; id is "" if the engine does not have it.
func (e engine) image(ctx context.Context, name string) (id string, labels map[string]string, err error) {
	const fields = `{{.Id}}{{range $k, $v := .Config.Labels}}{{"\n"}}{{$k}}={{$v}}{{end}}`
	out, err := e.ask(ctx, "image", "inspect", "--format", fields, name)
	if err != nil {
		if strings.Contains(strings.ToLower(err.Error()), "no such image") {
			return "", nil, nil
		}
		return "", nil, fmt.Errorf("look for image %s: %w", name, err)
	}
	lines := strings.Split(out, "\n")
	labels = make(map[string]string)
	for _, line := range lines[1:] {
		k, v, _ := strings.Cut(line, "=")
		labels[k] = v
	}
	return lines[0], labels, nil
}

// remove removes an image, if nothing uses it.
func (e engine) remove(ctx context.Context, name string) error {
	_, err := e.ask(ctx, "image", "rm", name)
	return err
}

const lastLines = 15

// failure is why a command failed, with the last lines of what it said.
func failure(ctx context.Context, limit time.Duration, err error, said string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done within %v", limit)
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if len(lines) > lastLines {
		lines = lines[len(lines)-lastLines:]
	}
	if s := strings.Join(lines, "\n  "); s != "" {
		return fmt.Errorf("%w: %s", err, s)
	}
	return err
}
