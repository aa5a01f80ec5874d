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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/cmd"
	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
)

// maxAgain is how often a run is done again that came out invalid.
const maxAgain = 2

// What a run takes beside load: for each trial, and once.
const (
	perTrial = 15 * time.Second
	perRun   = 30 * time.Second
	atLeast  = 10 * time.Minute
	dying    = time.Minute // for undoing and removing, once it was told to end
)

// A job is one scenario to be run.
type job struct {
	name     string // of its folder
	file     string
	scenario *scenario.Scenario
	targets  map[string]*target.Target
	repeats  int
	block    time.Duration         // what a block takes, about
	says     func(*outcome) string // how an outcome is told; nil is its verdict
}

// An outcome is what is known of one job. Its exported fields are what is kept beside the run's folder.
type outcome struct {
	Key     string   `json:"key"`               // of what was run
	Repeats int      `json:"repeats"`           // blocks asked for
	Spoiled []string `json:"spoiled,omitempty"` // why earlier runs of the same were invalid
	Skipped string   `json:"-"`                 // why nothing was tried; then Run is nil
	Failed  string   `json:"-"`                 // why there is no run although it was tried; then Run is nil

	job *job
	Run *rundir.Run `json:"-"`
}

// judged reports whether there is a verdict that counts.
func (o *outcome) judged() bool {
	return o.Run != nil && slices.Contains([]rundir.Verdict{rundir.Pass, rundir.Fail, rundir.Inconclusive}, o.Run.Verdict)
}

// broken reports whether a run was tried and there is no verdict that counts.
func (o *outcome) broken() bool {
	return o.Run != nil && !o.judged() || o.Failed != ""
}

// unrun says why there is no run.
func (o *outcome) unrun() string {
	if o.Failed != "" {
		return "it could not be run: " + o.Failed
	}
	return o.Skipped
}

// A suite runs jobs, one at a time.
type suite struct {
	dir     string
	tutti   string // the program
	program string // what it is made of
	kit     plan.Kit
	until   time.Time
	out     io.Writer
}

// newSuite builds tutti into dir.
func newSuite(ctx context.Context, dir string, until time.Time, out io.Writer) (*suite, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(filepath.Join(dir, "tutti"))
	if err != nil {
		return nil, err
	}
	if err := build(ctx, ".", bin); err != nil {
		return nil, err
	}
	program, err := sources(ctx, ".")
	if err != nil {
		return nil, err
	}
	return &suite{dir: dir, tutti: bin, program: program, kit: cmd.Builtin().Kit, until: until, out: out}, nil
}

// build builds tutti, static, so that it can go into an image.
func build(ctx context.Context, root, bin string) error {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/tutti-bench/tutti/cmd.version="+os.Getenv("VERSION"), "-o", bin, "./cmd/tutti")
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build tutti: %w\n%s", err, out)
	}
	return nil
}

// shipped are the jobs of all shipped scenarios.
func (s *suite) shipped(ctx context.Context, repeats int) ([]*job, error) {
	files, err := filepath.Glob("scenarios/*.yaml")
	if err != nil {
		return nil, err
	}
	var jobs []*job
	for _, f := range files {
		j, err := s.job(ctx, f, strings.TrimSuffix(filepath.Base(f), ".yaml"), repeats)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// job reads a scenario and its target.
func (s *suite) job(ctx context.Context, file, name string, repeats int) (*job, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sc, err := scenario.Parse(file, src, s.kit.Faults)
	if err != nil {
		return nil, err
	}
	if sc.Name != strings.TrimSuffix(filepath.Base(file), ".yaml") {
		return nil, fmt.Errorf("%s: its name is %s; a shipped scenario is called as its file is", file, sc.Name)
	}
	targets, err := tutti.LoadTargets(ctx, sc, tutti.ComposeOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	// Planned as for an engine that can do everything: what this one cannot, tutti says.
	p, err := plan.Build(sc, targets, s.kit.Faults, target.Facts{Driver: "any", Abilities: ^target.Ability(0)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if repeats == 0 {
		repeats = sc.Repeats
	}
	block := p.Duration(perTrial) / time.Duration(sc.Repeats)
	return &job{name: name, file: file, scenario: sc, targets: targets, repeats: repeats, block: block}, nil
}

// estimate is how long a run of the job takes, about.
func (j *job) estimate() time.Duration {
	return perRun + time.Duration(j.repeats)*j.block
}

// limit is when a run is ended.
func (j *job) limit() time.Duration {
	limit := max(3*j.estimate(), atLeast)
	for _, a := range j.scenario.Arms {
		limit += time.Duration(j.repeats) * a.Ready.Within
	}
	return limit
}

// folder is the run's.
func (s *suite) folder(j *job) string { return filepath.Join(s.dir, j.name) }

// finished returns what is there of the same job with at least its blocks, or nil.
func (s *suite) finished(j *job) *outcome {
	if o := s.kept(j); o != nil && o.Repeats >= j.repeats {
		return o
	}
	return nil
}

// kept returns what is there of the same job, however many blocks it has, or nil: its own run, or else the one of the gate's
// self-test in which nothing is broken.
func (s *suite) kept(j *job) *outcome {
	if o := s.keptRun(j); o != nil {
		return o
	}
	return s.asIs(j)
}

// asIs returns what the self-test of the job's gate found with nothing broken, or nil.
func (s *suite) asIs(j *job) *outcome {
	dir := filepath.Join(s.dir, gatesFolder, j.name)
	found := readGate(dir)
	key, err := s.key(j)
	if found == nil || err != nil || keptKey(dir) != key {
		return nil
	}
	o := &outcome{job: j, Key: key, Repeats: found.Blocks, Run: readRun(filepath.Join(dir, "as-is"))}
	if !o.judged() {
		return nil
	}
	return o
}

func (s *suite) keptRun(j *job) *outcome {
	o := &outcome{job: j}
	b, err := os.ReadFile(s.folder(j) + ".json")
	if err != nil || json.Unmarshal(b, o) != nil {
		return nil
	}
	if key, err := s.key(j); err != nil || key != o.Key {
		return nil
	}
	o.Run = readRun(s.folder(j))
	if !o.judged() {
		return nil
	}
	return o
}

// readRun reads run.json, and returns nil if there is none.
func readRun(dir string) *rundir.Run {
	f, err := rundir.Open(dir)
	if err != nil {
		return nil
	}
	r, err := f.Run()
	if err != nil {
		return nil
	}
	return r
}

// do runs a job, unless it is finished or cannot be run, and tells about it in one line.
func (s *suite) do(ctx context.Context, j *job) *outcome {
	if o := s.finished(j); o != nil {
		s.tell(o, "finished before")
		return o
	}
	began := time.Now()
	o := &outcome{job: j}
	switch missing := missingImages(ctx, j.targets); {
	case ctx.Err() != nil:
		o.Skipped = "not run: interrupted"
	case began.Add(j.estimate()).After(s.until):
		o.Skipped = fmt.Sprintf("not run: it takes about %v, and would have ended after the limit", j.estimate().Round(10*time.Second))
	case len(missing) > 0:
		o.Skipped = "not run: the engine does not have " + strings.Join(missing, ", ") + "; `make parts` builds what comes with tutti"
	}
	if o.Skipped != "" {
		s.tell(o, "")
		return o
	}
	if err := s.tries(ctx, o); err != nil {
		o.Run, o.Failed = nil, oneLine(err.Error())
		s.tell(o, o.Failed)
		return o
	}
	s.tell(o, time.Since(began).Round(time.Second).String())
	return o
}

// tries runs a job until it is not invalid, at most maxAgain times more, and keeps what came of it.
func (s *suite) tries(ctx context.Context, o *outcome) (err error) {
	if o.Key, err = s.key(o.job); err != nil {
		return err
	}
	o.Repeats = o.job.repeats
	for {
		if err := s.clear(o.job); err != nil {
			return err
		}
		said := s.once(ctx, o.job)
		if o.Run = readRun(s.folder(o.job)); o.Run == nil {
			return errors.Join(said, errors.New("there is no run.json"))
		}
		if o.Run.Verdict != rundir.Invalid || len(o.Spoiled) == maxAgain || ctx.Err() != nil {
			break
		}
		o.Spoiled = append(o.Spoiled, first(o.Run.Reasons))
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(s.folder(o.job)+".json", append(b, '\n'), 0o600)
}

// clear removes what another run of the job has left, also one that was cut off before its plan was written. A folder that
// has anything else in it is left alone; then tutti refuses it.
func (s *suite) clear(j *job) error {
	dir := s.folder(j)
	if err := os.Remove(dir + ".json"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := rundir.Open(dir); err == nil || len(entries) == 1 && entries[0].Name() == "trials" {
		return os.RemoveAll(dir)
	}
	return nil
}

// once runs tutti. Its exit code says what run.json says; the error is for where there is none.
func (s *suite) once(ctx context.Context, j *job) (err error) {
	log, err := os.OpenFile(s.folder(j)+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, j.limit())
	defer cancel()
	args := []string{"run", "--out", s.folder(j), "--repeats", strconv.Itoa(j.repeats)}
	if j.scenario.Engine == "" {
		args = append(args, "--engine", "docker") // what is shipped is about nodes that can lose their network
	}
	c := exec.CommandContext(ctx, s.tutti, append(args, j.file)...)
	var last tail
	c.Stdout = io.MultiWriter(log, &last)
	c.Stderr = c.Stdout
	c.SysProcAttr = alone() // a Ctrl-C comes to it once, from us
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = dying
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s (%w)", last.text(), err)
	}
	return nil
}

// maxTail is how much of what a program said last is told, in bytes.
const maxTail = 300

// A tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	*t = (*t)[max(len(*t)-maxTail, 0):]
	return len(b), nil
}

// text is the last lines that are whole, in one.
func (t *tail) text() string {
	s := string(*t)
	if len(s) == maxTail {
		_, s, _ = strings.Cut(s, "\n")
	}
	return oneLine(strings.ToValidUTF8(s, ""))
}

// missingImages lists what the engine does not have of images that are neither ours nor built from a folder. Without a
// Docker command line nothing is known to be missing.
func missingImages(ctx context.Context, targets map[string]*target.Target) []string {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil
	}
	var missing []string
	for _, ref := range references(targets) {
		if exec.CommandContext(ctx, "docker", "image", "inspect", ref).Run() != nil {
			missing = append(missing, ref)
		}
	}
	return missing
}

// references are the images of targets that an engine must have, in order.
func references(targets map[string]*target.Target) []string {
	var refs []string
	for _, t := range targets {
		for _, svc := range t.Services {
			if svc.Image.Kind == target.ImageRef && !slices.Contains(refs, svc.Image.Ref) {
				refs = append(refs, svc.Image.Ref)
			}
		}
	}
	slices.Sort(refs)
	return refs
}

// lineWidth is what a line of progress has.
const lineWidth = 80

// tell prints one line about an outcome.
func (s *suite) tell(o *outcome, note string) {
	word := o.word()
	if o.job.says != nil && o.judged() {
		word = o.job.says(o)
	}
	if len(o.Spoiled) > 0 {
		note += fmt.Sprintf(", %d invalid before", len(o.Spoiled))
	}
	line := fmt.Sprintf("%s  %-22s %-12s %s", time.Now().Format("15:04:05"), o.job.name, word, oneLine(note+o.Skipped))
	if r := []rune(line); len(r) > lineWidth {
		line = string(r[:lineWidth-1]) + "…"
	}
	fmt.Fprintln(s.out, strings.TrimRight(line, " "))
}

// word is an outcome in one word.
func (o *outcome) word() string {
	switch {
	case o.Skipped != "":
		return "not run"
	case o.Run == nil:
		return "error"
	}
	return string(o.Run.Verdict)
}

func first(list []string) string {
	if len(list) == 0 {
		return "no reason given"
	}
	return list[0]
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
