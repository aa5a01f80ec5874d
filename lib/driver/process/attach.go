package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tutti-bench/tutti/lib/target"
)

// Attach starts our own binary beside the nodes. ctx bounds the start alone. Down ends it and
// closes its streams; until then what it wrote to Stdout can be read.
func (c *cluster) Attach(ctx context.Context, args ...string) (*target.Process, error) {
	what := "start a process beside the nodes"
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	path, err := c.driver.executable()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	stdin, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	reader, stdout, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, errors.Join(err, stdin.Close(), writer.Close()))
	}
	cmd := command(path, args)
	cmd.Dir, cmd.Env = c.dir, c.environ(c.dir, c.hostsFile(""))
	cmd.Stdin, cmd.Stdout = stdin, stdout
	stderr := &nodeLog{last: make([]byte, maxTail)}
	ch, err := c.spawn(cmd, stderr, c.register, nil)
	err = errors.Join(err, stdin.Close(), stdout.Close()) // the child has its own
	if ch == nil {
		return nil, fmt.Errorf("%s: %w", what, errors.Join(err, reader.Close(), writer.Close()))
	}
	c.mu.Lock()
	c.streams = append(c.streams, reader, writer)
	c.mu.Unlock()
	wait := func() error {
		<-ch.done
		if ch.state.Success() {
			return nil
		}
		return fmt.Errorf("%s %v: %s: %s", cmd.Args[0], args, ended(ch.state), stderr.end())
	}
	kill := func() { _ = c.kill(ch) } // Wait will tell
	return &target.Process{Stdin: writer, Stdout: reader, Wait: wait, Kill: kill}, err
}
