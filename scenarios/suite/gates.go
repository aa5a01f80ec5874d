package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
)

// gatesFolder is where the self-tests are, in the folder of the runs.
const gatesFolder = "gates"

// A gate is what is known of the self-test of one scenario.
type gate struct {
	job    *job
	found  *tutti.SelfTest // nil: there is none
	why    string          // there is none; "": nobody has asked for it
	failed bool            // it was tried in vain
	row    string          // of the table before, for what is not run
}

// runGates tries whether the objectives of the shipped scenarios can fail. That some cannot is a finding, and no error.
func runGates(ctx context.Context, set settings, out io.Writer) error {
	s, err := newSuite(ctx, filepath.Join(set.dir, gatesFolder), time.Now().Add(set.limit), out)
	if err != nil {
		return err
	}
	jobs, err := s.shipped(ctx, max(set.repeats, 1))
	if err != nil {
		return err
	}
	chosen, err := choose(set.names, jobs)
	if err != nil {
		return err
	}
	const table = "scenarios/README.md"
	b, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	before := gateMarks().rows(string(b))
	failed := 0
	gates := make([]*gate, len(jobs))
	for i, j := range jobs {
		if gates[i] = (&gate{job: j, row: before[j.name]}); chosen[j.name] {
			s.tryGate(ctx, gates[i])
		}
		if gates[i].failed {
			failed++
		}
	}
	if err := gateMarks().rewrite(table, gateTable(gates)); err != nil {
		return err
	}
	fmt.Fprintln(out, "the table is in scenarios/README.md")
	if failed > 0 {
		return fmt.Errorf("%d of %d could not be tried; what tutti said is in %s/NAME.log", failed, len(chosen), s.dir)
	}
	return ctx.Err()
}

// runsOfGate is how many runs a self-test has: as it is, equal arms, the built-in mutations and the scenario's.
func runsOfGate(j *job) int { return 5 + len(j.scenario.Mutations) }

// tryGate runs one self-test, unless it is finished.
func (s *suite) tryGate(ctx context.Context, g *gate) {
	j := g.job
	key, err := s.key(j)
	dir := s.folder(j)
	if g.found = readGate(dir); err == nil && complete(g.found) && g.found.Blocks >= j.repeats && keptKey(dir) == key {
		fmt.Fprintf(s.out, "%s  %-22s %s, finished before\n", time.Now().Format("15:04:05"), j.name, g.found.Verdict)
		return
	}
	long := time.Duration(runsOfGate(j)) * j.estimate()
	missing := missingImages(ctx, j.targets)
	g.found = nil
	switch {
	case err != nil:
		g.why, g.failed = err.Error(), true
	case ctx.Err() != nil:
		g.why = "interrupted"
	case time.Now().Add(long).After(s.until):
		g.why = fmt.Sprintf("it takes about %v, and would have ended after the limit", long.Round(time.Minute))
	case len(missing) > 0:
		g.why = "the engine does not have " + strings.Join(missing, ", ")
	default:
		if err := s.selfTest(ctx, j, dir, key); err != nil {
			g.why, g.failed = oneLine(err.Error()), true
		} else {
			g.found = readGate(dir)
		}
	}
	word := g.why
	if g.found != nil {
		word = string(g.found.Verdict)
	}
	fmt.Fprintf(s.out, "%s  %-22s %s\n", time.Now().Format("15:04:05"), j.name, word)
}

// selfTest runs tutti. That a gate does not bite is no error.
func (s *suite) selfTest(ctx context.Context, j *job, dir, key string) error {
	if readGate(dir) != nil || keptKey(dir) != "" { // ours
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(runsOfGate(j))*j.limit())
	defer cancel()
	args := []string{"gate", "--self-test", "--out", dir, "--repeats", strconv.Itoa(j.repeats)}
	if j.scenario.Engine == "" {
		args = append(args, "--engine", "docker")
	}
	c := exec.CommandContext(ctx, s.tutti, append(args, j.file)...)
	c.SysProcAttr = alone()
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = dying
	said, err := c.CombinedOutput()
	err = errors.Join(ctx.Err(), os.WriteFile(dir+".log", said, 0o600), unlessFound(dir, said, err))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "key"), []byte(key), 0o600)
}

// unlessFound is an error where nothing was found, or not all of it: else exit codes say what selftest.json says.
func unlessFound(dir string, said []byte, err error) error {
	found := readGate(dir)
	switch {
	case complete(found):
		return nil
	case found != nil:
		return errors.New(first(append(found.Reasons, "the self-test broke off")))
	case err == nil:
		return errors.New("tutti ended well and wrote no selftest.json")
	}
	var last tail
	_, _ = last.Write(said) // it never fails
	return fmt.Errorf("%s (%w)", last.text(), err)
}

func readGate(dir string) *tutti.SelfTest {
	b, err := os.ReadFile(filepath.Join(dir, "selftest.json"))
	var found tutti.SelfTest
	if err != nil || json.Unmarshal(b, &found) != nil || found.Schema != tutti.SelfTestSchema {
		return nil
	}
	return &found
}

// complete reports whether all runs of a self-test were carried out. One that broke off says nothing of what it has not run.
func complete(found *tutti.SelfTest) bool {
	return found != nil && found.Verdict != rundir.Errored && found.Verdict != rundir.Interrupted
}

func keptKey(dir string) string {
	b, _ := os.ReadFile(filepath.Join(dir, "key")) // none is another key
	return string(b)
}

// gateTable is which objectives notice what is broken. What was not run has its row of before.
func gateTable(gates []*gate) string {
	var b strings.Builder
	b.WriteString("| scenario | noticed, by objective | not noticed | no verdict | false alarms | objectives that never failed |\n|---|---|---|---|---|---|\n")
	var notes, yet []string
	for _, g := range gates {
		switch {
		case g.found != nil:
			fmt.Fprintf(&b, "| [%s](%s.yaml) | %s |\n", g.job.name, g.job.name, strings.Join(gateRow(g.job.scenario, g.found), " | "))
		case g.row != "" && !g.failed:
			b.WriteString(g.row + "\n")
		case g.why == "":
			yet = append(yet, g.job.name)
		default:
			notes = append(notes, fmt.Sprintf("- %s: %s", g.job.name, cell(g.why)))
		}
	}
	if len(yet) > 0 {
		fmt.Fprintf(&b, "\nNot run yet: %s.\n", strings.Join(yet, ", "))
	}
	list(&b, "Not run:", notes)
	return b.String()
}

// mute are the objectives, by number, whose failing notices nothing: they only warn, or fail with nothing broken.
func mute(of *scenario.Scenario, s *tutti.SelfTest) map[int]bool {
	mute := make(map[int]bool)
	for i, o := range of.Objectives {
		mute[i+1] = o.Severity == slo.SeverityWarn
	}
	for _, r := range s.Runs {
		for _, b := range r.Bites {
			if r.Kind == tutti.AsIs {
				mute[b.Number] = true
			}
		}
	}
	return mute
}

// gateRow are the cells of the self-test of a scenario.
func gateRow(of *scenario.Scenario, s *tutti.SelfTest) []string {
	by := make(map[tutti.Outcome][]string)
	mute := mute(of, s)
	for _, r := range s.Runs {
		text := cell(r.Name)
		var sure, likely []string
		for _, bite := range r.Bites {
			switch {
			case mute[bite.Number]:
			case bite.Beyond:
				likely = append(likely, strconv.Itoa(bite.Number))
			default:
				sure = append(sure, strconv.Itoa(bite.Number))
			}
		}
		if r.Outcome == tutti.Caught || r.Outcome == tutti.Likely {
			text += ": " + strings.Join(sure, ", ")
			if len(likely) > 0 {
				text = strings.TrimSpace(text) + " (" + strings.Join(likely, ", ") + ")"
			}
		}
		by[r.Outcome] = append(by[r.Outcome], text)
	}
	var never []string
	for _, n := range s.Never {
		never = append(never, strconv.Itoa(n.Number))
	}
	cells := []string{
		strings.Join(append(by[tutti.Caught], by[tutti.Likely]...), "<br>"), strings.Join(by[tutti.Missed], "<br>"),
		strings.Join(by[tutti.Unknown], "<br>"), strings.Join(by[tutti.Alarm], "<br>"), strings.Join(never, ", "),
	}
	for i := range cells {
		if cells[i] == "" {
			cells[i] = "–"
		}
	}
	return cells
}
