package cmd

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/reports"
)

// ciFlags say what the pipeline is that a command runs in.
type ciFlags struct {
	host         string
	inconclusive string
	invalid      string
}

func (f *ciFlags) add(c *cobra.Command) {
	f.addPolicy(c)
	f.addHost(c, "summary, annotations and outputs for its job's page")
	c.Flags().StringVar(&f.invalid, "on-invalid", "", "what an invalid run is to the pipeline: fail, or warn (exit code 0); unset: fail")
}

// addHost adds what the pipeline is, alone: for commands that have an answer of their own instead of one run's verdict.
func (f *ciFlags) addHost(c *cobra.Command, github string) {
	c.Flags().StringVar(&f.host, "ci", "", "github: "+github+"; none; unset: github when GITHUB_ACTIONS is true")
}

// guarded is what --ci github is to commands that tell nothing of a run to the job's page.
const guarded = "its runner takes no commands from what is printed, and what is wrong with the scenario is annotated"

// addPolicy adds what junit.xml depends on.
func (f *ciFlags) addPolicy(c *cobra.Command) {
	c.Flags().StringVar(&f.inconclusive, "on-inconclusive", "", "what an inconclusive run is to the pipeline: fail (a failure in junit.xml, too), warn or pass (exit code 0); unset: exit code 12, skipped in junit.xml")
}

// policy checks the flags, before anything is started.
func (f *ciFlags) policy() (reports.Policy, error) {
	p := reports.Policy{Inconclusive: reports.Stance(f.inconclusive), Invalid: reports.Stance(f.invalid)}
	if err := p.Check(); err != nil {
		return p, &tutti.UsageError{Err: err}
	}
	switch f.host {
	case "", "none", "github":
		return p, nil
	}
	return p, &tutti.UsageError{Err: fmt.Errorf("--ci %s: expected github or none", f.host)}
}

// github reports whether to talk to GitHub's runner.
func (f *ciFlags) github() bool {
	return f.host == "github" || f.host == "" && os.Getenv("GITHUB_ACTIONS") == "true"
}

// placed completes a policy with the place of a run's scenario.
func placed(p reports.Policy, dir string) (reports.Policy, error) {
	folder, err := rundir.Open(dir)
	if err != nil {
		return p, err
	}
	plan, err := folder.Plan()
	p.File = placeOf(plan.File)
	return p, err
}

// placeOf is a scenario's path as the pipeline knows it: below the root of what it has checked out, where it lies there.
func placeOf(file string) string {
	for _, key := range []string{"GITHUB_WORKSPACE", "CI_PROJECT_DIR"} {
		root := os.Getenv(key)
		if root == "" || file == "" {
			continue
		}
		abs, err := filepath.Abs(file)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(root, abs); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
	}
	return filepath.ToSlash(file)
}

// A runner is GitHub's, which reads what a step prints. What comes from a target could be a command to it, so that it is told to take none,
// but for what stands between two tokens.
type runner struct {
	a     *app
	token string // with which commands are taken again; "" while they are
}

// startRunner tells the runner to take no commands. It is nil where there is none.
func (a *app) startRunner(f ciFlags) *runner {
	if !f.github() {
		return nil
	}
	r := &runner{a: a}
	fmt.Fprint(a.out, r.stop())
	a.runner = r
	return r
}

func (r *runner) stop() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	r.token = hex.EncodeToString(b[:])
	return "::stop-commands::" + r.token + "\n"
}

func (r *runner) resume() string {
	if r.token == "" {
		return ""
	}
	s := "::" + r.token + "::\n"
	r.token = ""
	return s
}

// close lets the rest of the step give commands.
func (r *runner) close() {
	if r != nil {
		fmt.Fprint(r.a.out, r.resume())
	}
}

// tell gives the runner a run's annotations, its summary and the step's outputs. That something of it could not be
// written changes no verdict.
func (r *runner) tell(res *tutti.Result, p reports.Policy) {
	if r == nil {
		return
	}
	var b bytes.Buffer
	b.WriteString(r.resume())
	if err := p.Annotations(&b, res); err != nil {
		r.a.tell("github: annotations: %v", err)
	}
	b.WriteString(r.stop())
	if _, err := r.a.out.Write(b.Bytes()); err != nil {
		r.a.tell("github: annotations: %v", err)
	}
	var summary, outputs bytes.Buffer
	err := reports.Markdown(&summary, res)
	if err == nil {
		err = appendTo("GITHUB_STEP_SUMMARY", summary.Bytes())
	}
	if err != nil {
		r.a.tell("github: the job's page has no summary: %v", err)
	}
	for _, o := range [][2]string{
		{"verdict", string(res.Run.Verdict)}, {"run-dir", res.Dir}, {"report", reportPath(res.Dir)},
	} {
		fmt.Fprintf(&outputs, "%s=%s\n", o[0], clean(strings.ReplaceAll(o[1], "\n", "�")))
	}
	if err := appendTo("GITHUB_OUTPUT", outputs.Bytes()); err != nil {
		r.a.tell("github: the step has no outputs: %v", err)
	}
}

// refused annotates what is wrong with a scenario.
func (a *app) refused(f ciFlags, err error) error {
	wrong, ok := errors.AsType[scenario.Errors](err)
	if !ok || !f.github() {
		return err
	}
	var all []reports.Annotation
	for _, e := range wrong {
		all = append(all, reports.Annotation{Level: "error", File: placeOf(e.File), Line: e.Line, Column: e.Column, Title: "tutti: scenario", Message: e.Error()})
	}
	var b bytes.Buffer
	if a.runner != nil {
		b.WriteString(a.runner.resume())
	}
	for _, one := range reports.FewAnnotations(all) {
		b.WriteString(one.String())
	}
	if a.runner != nil {
		b.WriteString(a.runner.stop())
	}
	if _, werr := a.out.Write(b.Bytes()); werr != nil {
		a.tell("github: annotations: %v", werr)
	}
	return err
}

// appendTo appends to the file that a variable of the environment names.
func appendTo(variable string, b []byte) error {
	name := os.Getenv(variable)
	if name == "" {
		return fmt.Errorf("%s is not set", variable)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// verdict ends a command with a run's verdict, or lets through what the policy lets through, and says so.
func (a *app) verdict(r *rundir.Run, p reports.Policy) error {
	err := verdictOf(r)
	if err == nil || !p.Lets(r.Verdict) {
		return err
	}
	a.tell("%s, which --on-%s %s lets through: exit code 0 instead of %d", r.Verdict, r.Verdict, p.Of(r.Verdict), r.ExitCode)
	return nil
}
