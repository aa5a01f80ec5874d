// Command shop is every program of the sample target shop: its nodes, a balancer that finds them in a discovery service, and
// the probes for healthchecks and faults.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

// A program is a subcommand. It ends when ctx does.
type program func(ctx context.Context, args []string, stderr io.Writer) error

// run returns the exit code: 0 for an orderly end, 1 for any other, 20 for a command line that it does not take.
func run(args []string, stderr io.Writer) int {
	programs := map[string]program{"node": runNode, "balancer": runBalancer, "check": runCheck, "bug": runBug}
	if len(args) == 0 || programs[args[0]] == nil {
		fmt.Fprintln(stderr, "usage: shop node|balancer|check|bug [flags]")
		return 20
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	err := programs[args[0]](ctx, args[1:], stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, err)
		return 20
	}
	fmt.Fprintf(stderr, "shop %s: %v\n", args[0], err)
	return 1
}
