// Package cmd is the command line: one file a subcommand. A command parses its flags, calls
// the library and prints; nothing else is decided here.
//
// Manners: the answer goes to standard output, talk to standard error; messages are lower case and
// have no full stop; a hint stands on its own line; the exit codes are in exit.go.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
)

// An app is what commands share: the kit and the streams.
type app struct {
	kit      Kit
	in       io.Reader
	out, err io.Writer
	args     []string
	teller   teller
	runner   *runner // where one reads what is printed
}

// Main runs the command line and returns the exit code.
func Main(kit Kit, args []string, in io.Reader, out, errw io.Writer) (code int) {
	a := &app{kit: kit, in: in, out: out, err: errw, args: args}
	defer func() { a.runner.close() }()
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(errw, "tutti: internal error: %v\n  this is a bug of tutti; what was started is being removed by the watchdog\n", p)
			code = exitInternal
		}
	}()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	ctx := context.Background()
	if len(args) == 0 || !slices.Contains([]string{"agent", "watchdog", "target"}, args[0]) { // these end in ways of their own
		var stop context.CancelFunc
		ctx, stop = a.interruptible()
		defer stop()
	}
	err := root.ExecuteContext(ctx)
	a.complain(err)
	return exitOf(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tutti",
		Short: "Prove whether more nodes really mean more uptime",
		Long: `tutti starts a local multi-node target, sends open-loop load at it, breaks nodes,
and compares latency and availability with a single-node baseline.

Exit codes: 0 pass or done, 10 an objective failed, 11 a regression, 12 inconclusive,
13 invalid, 20 scenario or command line, 30 the environment, 70 internal, 130 interrupted.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &tutti.UsageError{Err: fmt.Errorf("unknown command %q; tutti --help lists them", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &tutti.UsageError{Err: fmt.Errorf("%w; %s --help lists the flags", err, c.CommandPath())}
	})
	root.AddCommand(
		a.runCommand(), a.demoCommand(), a.validateCommand(), a.planCommand(), a.noiseCommand(), a.compareCommand(), a.baselineCommand(), a.gateCommand(), a.judgeCommand(), a.reportCommand(), a.exportCommand(),
		a.doctorCommand(), a.cleanCommand(), a.schemaCommand(), a.versionCommand(),
		a.agentCommand(), a.helperCommand(), a.watchdogCommand(), a.targetCommand(),
	)
	return root
}

// exactly is cobra.ExactArgs with our exit code, and a message that says what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return &tutti.UsageError{Err: fmt.Errorf("%s takes no argument: usage: %s", c.CommandPath(), c.UseLine())}
		}
		return &tutti.UsageError{Err: fmt.Errorf("%s needs %s: usage: %s", c.CommandPath(), strings.Join(names, " and "), c.UseLine())}
	}
}

// without refuses those of some flags that are on the command line, by name, where they would be ignored.
func without(c *cobra.Command, why string, ignored ...string) error {
	var given []string
	for _, name := range ignored {
		if c.Flags().Changed(name) {
			given = append(given, "no --"+name)
		}
	}
	if len(given) == 0 {
		return nil
	}
	return &tutti.UsageError{Err: fmt.Errorf("%s: it has %s", why, strings.Join(given, " and "))}
}

// interruptible makes a context that the first Ctrl-C, SIGTERM or closed terminal cancels: everything is undone and
// torn down. The second leaves at once; the watchdog cleans up then.
func (a *app) interruptible() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			if n > 1 {
				fmt.Fprintln(a.err, "\ntutti: left at once; the watchdog removes what is left within 15 s")
				os.Exit(exitInterrupted)
			}
			cancel(errInterrupted)
			a.tell("interrupted: undoing faults and removing the target; once more to leave at once")
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// heedless makes a run outlive whoever reads what it says: `| tee` dies by the same Ctrl-C, and a write to a pipe that nobody reads would end
// this program by SIGPIPE, with nothing undone and nothing kept. The signal is not ignored, which our children would inherit.
func heedless() (stop func()) {
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	return func() { signal.Stop(pipe) }
}

// unread is no error if nobody reads what was to be shown: it lies in the run's folder, too.
func unread(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// complain tells an error the way its reader needs it.
func (a *app) complain(err error) {
	var (
		verdict     *verdictError
		wrong       scenario.Errors
		environment *target.UnavailableError
	)
	switch {
	case err == nil, errors.As(err, &verdict):
	case errors.Is(err, errInterrupted) && errors.Is(err, trial.ErrLeft):
		fmt.Fprintf(a.err, "tutti: interrupted, and not everything could be removed; the watchdog goes on for a minute, then tutti clean removes the rest\n%s\n", clean(err.Error()))
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(a.err, "tutti: interrupted; everything was removed")
	case errors.As(err, &wrong):
		fmt.Fprint(a.err, wrong.Pretty())
		fmt.Fprintf(a.err, "\n%s, nothing was %s\n", count(len(wrong), "error"), a.done())
	case errors.As(err, &environment):
		fmt.Fprintf(a.err, "tutti: %s\n", clean(environment.Error()))
	default:
		fmt.Fprintf(a.err, "tutti: %s\n", clean(err.Error()))
	}
}

// done is what a refused file kept from being done.
func (a *app) done() string {
	if len(a.args) > 0 && a.args[0] == "judge" {
		return "judged"
	}
	return "started"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// clean takes what steers a terminal or the order of its letters out of a message: parts of it can come from a target.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return '�'
		}
		return r
	}, s)
}
