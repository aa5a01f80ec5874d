package cmd

import (
	"fmt"
	"os"
	"runtime/debug"

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
			// any rate whose requests do not pile up. Where they do, the limit collects earlier.
			debug.SetGCPercent(400)
			debug.SetMemoryLimit(agentHeap)
			return agent.Serve(c.Context(), a.in, a.out, a.kit.Generator)
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
			_, err := fmt.Fprintf(a.out, "tutti %s\nverbs    %s\nengines  %s\n", Version(), names(a.kit.Faults), names(a.kit.Drivers))
			return err
		},
	}
}
