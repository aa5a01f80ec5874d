package cmd

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/targets/web"
)

// agentHeap is where the agent begins to save memory: half of what its container may use.
const agentHeap = 512 << 20

// agentCommand is what runs inside the target's network: a plan on standard input, records on
// standard output.
func (a *app) agentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "agent", Hidden: true, Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			// Few collections disturb the schedule less, and a floor of 16 MiB for the heap makes memory the same at
			// any rate whose requests do not pile up. Where they do, the limit collects earlier, and turbo, which makes little garbage, does throughout.
			debug.SetGCPercent(400)
			debug.SetMemoryLimit(agentHeap)
			return agent.Serve(c.Context(), a.in, a.out, a.kit.Generator)
		},
	}
}

// helperAge is the longest that a helper lives, whatever becomes of the harness: longer than any load may last.
const helperAge = 25 * time.Hour

// helperCommand is what runs beside a node for a fault: parts on standard input, what came of them on standard output.
func (a *app) helperCommand() *cobra.Command {
	return &cobra.Command{
		Use: "helper WORKER", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			make, ok := a.kit.Workers[args[0]]
			if !ok {
				return fmt.Errorf("helper: this program has no worker %q; it has %s", args[0], names(a.kit.Workers))
			}
			w, err := make()
			if err != nil {
				return fmt.Errorf("helper %s: %w", args[0], err)
			}
			return agent.Help(c.Context(), a.in, a.out, w, helperAge)
		},
	}
}

// targetCommand has the node programs of targets/web, which parse their own flags.
func (a *app) targetCommand() *cobra.Command {
	parent := &cobra.Command{Use: "target", Short: "Node programs of the shipped targets", Hidden: true}
	for name, run := range web.Programs() {
		parent.AddCommand(&cobra.Command{
			Use: name, DisableFlagParsing: true,
			RunE: func(c *cobra.Command, args []string) error {
				if code := run(c.Context(), args, a.out, a.err); code != 0 {
					os.Exit(code) // a node program's exit code is its own
				}
				return nil
			},
		})
	}
	return parent
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version and what this program knows", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "tutti %s\nverbs    %s\nengines  %s\n", Version(), indent(names(a.kit.Faults), 9, 80), names(a.kit.Drivers))
			return err
		},
	}
}

// indent breaks a list at its spaces, so that no line with so many spaces before it is wider than width.
func indent(list string, before, width int) string {
	var b strings.Builder
	at := before
	for i, word := range strings.Fields(list) {
		switch {
		case i > 0 && at+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", before))
			at = before
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}
