package tutti

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
)

// Options say how a scenario is run, over what its file says.
type Options struct {
	Kit     plan.Kit
	Compose ComposeOptions
	Dir     string            // the run's folder; "" is runs/NAME-TIMESTAMP below the working folder
	Engine  string            // docker, process; "" is the scenario's, or what answers
	CI      bool              // a missing engine is an error: no falling back
	Repeats int               // blocks; 0 is the scenario's
	Most    int               // blocks up to which Repeats may be extended, where that is not 0; 0: not
	Only    string            // run this arm alone
	Against *Against          // a baseline file; nil: none
	Vary    *rundir.Variation // what is changed before it is planned; nil: nothing
	Record  load.Format       // write every request down, in this encoding; "": none
	MaxTime time.Duration     // no block is begun that would end later; 0 is no limit
	About   About
	Hooks   Hooks
}

// About is what provenance says of the program.
type About struct {
	Version string
	Command []string
}

// Hooks tell a live view what happens. Each may be nil; none may block.
type Hooks struct {
	Engine func(facts target.Facts, why string)
	Trial  func(t plan.Trial, of int, left time.Duration) // a trial begins
	Within trial.Hooks                                    // what happens in it
	Done   func(t plan.Trial, a *analysis.Trial, err error)
	Look   func(blocks int, open []string) // a look of a planned extension: the objectives that are undecided
}

// PerTrial is what starting and removing a target takes, until a run knows better.
const PerTrial = 6 * time.Second

// A Prepared run is planned, and nothing of it has started.
type Prepared struct {
	Plan   *plan.Plan
	Facts  target.Facts
	Why    string   // why this engine
	Notes  []string // what is rewritten in the Compose files
	ID     string
	about  About
	driver target.Driver
	close  func(context.Context) error
}

// Close releases the driver. It may be called twice. After a run that could not remove everything it does
// nothing: whoever watches over the run sees this program end without a release, and goes on removing.
func (p *Prepared) Close(ctx context.Context) error {
	if p.close == nil {
		return nil
	}
	release := p.close
	p.close = nil
	return release(ctx)
}

// Prepare reads the target's files, opens an engine and plans. Where a verb asks for it, what the engine's kernel can do is
// tried in a scratch namespace; nothing of the target is started. The caller closes what it returns.
func Prepare(ctx context.Context, s *scenario.Scenario, o Options) (_ *Prepared, err error) {
	if err := override(s, o); err != nil {
		return nil, err
	}
	if o.Against != nil {
		if err := differsFrom(o.Against.File, o.Against.Baseline, s, o.Kit); err != nil {
			return nil, err
		}
	}
	if err := vary(s, o.Vary, o.Kit.Faults); err != nil {
		return nil, err
	}
	p := &Prepared{ID: newID(), about: o.About}
	targets, err := LoadTargets(ctx, s, o.Compose)
	if err != nil {
		return nil, err
	}
	p.Notes = notesOf(s, targets)
	wish := o.Engine
	if wish == "" {
		wish = s.Engine
	}
	if err := p.open(ctx, o, wish); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close(context.WithoutCancel(ctx)))
		}
	}()
	if plan.NeedsPrimitives(s, o.Kit.Faults) {
		if p.Facts.Primitives, err = primitives(ctx, p.driver, p.ID); err != nil {
			return nil, err
		}
	}
	if o.Hooks.Engine != nil {
		o.Hooks.Engine(p.Facts, p.Why)
	}
	if p.Plan, err = plan.Build(s, targets, o.Kit.Faults, p.Facts); err != nil {
		return nil, err
	}
	return p, nil
}

// override applies the command line to the scenario.
func override(s *scenario.Scenario, o Options) error {
	if o.Record != "" && s.Load.Capacity != nil {
		return &UsageError{fmt.Errorf("--record %s: a search for capacity has many loads, and its requests are not written down one by one", o.Record)}
	}
	if o.Repeats > 0 {
		s.Repeats, s.Most = o.Repeats, o.Most
	}
	if o.Only == "" {
		return nil
	}
	var names []string
	for _, a := range s.Arms {
		if a.Name == o.Only {
			s.Arms = []scenario.Arm{a}
			return nil
		}
		names = append(names, a.Name)
	}
	return &UsageError{fmt.Errorf("--only %s: the scenario has no such arm; it has %s", o.Only, strings.Join(names, ", "))}
}

// A UsageError is a command line that cannot be: exit code 20.
type UsageError struct{ Err error }

// Error returns the cause's text.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// newID makes the name of a run: when it began, and enough chance to be the only one.
func newID() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return time.Now().UTC().Format("20060102t150405") + "-" + hex.EncodeToString(b[:])
}

// Run carries out a prepared run and judges it. From the plan on a folder is written; it is
// whole in every case but a SIGKILL. The result is nil only if the folder could not be made, or not be read again.
// An error beside a result says why the run is not complete: context.Cause of ctx where it
// was interrupted, a [target.UnavailableError] where the environment failed.
func Run(ctx context.Context, p *Prepared, o Options) (*Result, error) {
	s := p.Plan.Scenario
	dir := o.Dir
	if dir == "" {
		dir = filepath.Join("runs", s.Name+"-"+time.Now().UTC().Format("20060102T150405"))
	}
	folder, err := rundir.Create(dir)
	if err != nil && o.Dir == "" { // another run began in the same second
		folder, err = rundir.Create(dir + p.ID[strings.LastIndexByte(p.ID, '-'):])
	}
	if err != nil {
		return nil, &UsageError{err}
	}
	dir = folder.Path()
	r := &running{Prepared: p, o: o, folder: folder, good: make(map[string]bool)}
	runErr := r.all(ctx)
	if errors.Is(runErr, trial.ErrLeft) {
		p.close = nil
	}
	end := rundir.End{Ended: time.Now().UTC(), Stopped: r.stopped}
	if runErr != nil {
		if end.Interrupted = ctx.Err() != nil; end.Interrupted && !errors.Is(runErr, context.Cause(ctx)) {
			runErr = errors.Join(context.Cause(ctx), runErr)
		}
		end.Error = runErr.Error()
	}
	if err := kept(folder.WriteEnd(end)); err != nil {
		return nil, errors.Join(runErr, err)
	}
	res, err := Judge(dir, o.Kit)
	return res, errors.Join(runErr, err)
}

// kept marks an error of the run's folder as the surroundings' fault: a full disk, a permission.
func kept(err error) error {
	if err == nil {
		return nil
	}
	return &target.UnavailableError{What: "keep what was measured", Err: err, Hint: "see to the disk, or name another folder with --out"}
}

// A running run.
type running struct {
	*Prepared
	o        Options
	folder   *rundir.Folder
	images   map[string]string
	versions map[string]string
	good     map[string]bool // arms that have had a trial that got ready
	took     time.Duration   // of the last trial, from its beginning to its end
	began    time.Time
	stopped  string
	trials   []*analysis.Trial // for the looks of an extension
}

// all runs every block, spare ones for those that turn out invalid, and those of an extension until a look decides.
func (r *running) all(ctx context.Context) error {
	r.began = time.Now()
	if err := r.writePlan(); err != nil {
		return err
	}
	if err := r.prepareImages(ctx); err != nil {
		return err
	}
	if err := r.writePlan(); err != nil { // now with the images' digests
		return err
	}
	valid := 0
	for block := 1; block <= r.last(valid) && valid < r.Plan.Blocks(); block++ {
		if why := r.outOfTime(block); why != "" {
			r.stopped = why
			return nil
		}
		ok, err := r.block(ctx, block)
		if err != nil {
			return err
		}
		if ok {
			valid++
		}
		if ok && r.decided(valid) {
			return nil
		}
	}
	return nil
}

func (r *running) prepareImages(ctx context.Context) error {
	r.images, r.versions = make(map[string]string), make(map[string]string)
	stage := r.o.Hooks.Within.Stage
	if stage == nil {
		stage = func(string) {}
	}
	for _, arm := range r.Plan.Scenario.Arms {
		digests, err := r.driver.Prepare(ctx, r.Plan.Targets[arm.Name], stage)
		if err != nil {
			return environment(ctx, "prepare the images of arm "+arm.Name, err, "nothing was started")
		}
		maps.Copy(r.images, digests)
		if v, ok := r.driver.(target.Versioner); ok {
			versions, err := v.Versions(ctx, r.Plan.Targets[arm.Name])
			if err != nil {
				return environment(ctx, "ask the images of arm "+arm.Name+" for their versions", err, "nothing was started")
			}
			maps.Copy(r.versions, versions)
		}
	}
	return nil
}

// outOfTime says why block is not begun, or nothing.
func (r *running) outOfTime(block int) string {
	if r.o.MaxTime == 0 {
		return ""
	}
	s := r.Plan.Scenario
	one := max(r.took, r.leastLoad()) * time.Duration(len(s.Arms))
	if time.Since(r.began)+one <= r.o.MaxTime {
		return ""
	}
	return fmt.Sprintf("block %d was not begun: it would have ended after --max-time %v", block, r.o.MaxTime)
}

// block runs the trials of one block, and reports whether all of them are valid.
func (r *running) block(ctx context.Context, n int) (valid bool, err error) {
	trials, err := r.Plan.Block(r.o.Kit.Faults, n)
	if err != nil {
		return false, err
	}
	valid = true
	for _, t := range trials {
		if ctx.Err() != nil {
			return false, context.Cause(ctx) // between two trials: the next one is not begun
		}
		a, err := r.trial(ctx, t)
		if err != nil {
			return false, err
		}
		valid = valid && len(a.Problems()) == 0
	}
	return valid, nil
}

// trial runs one trial and keeps its recording.
func (r *running) trial(ctx context.Context, t plan.Trial) (*analysis.Trial, error) {
	began := time.Now()
	s := r.Plan.Scenario
	of := s.Repeats * len(s.Arms)
	if t.Block > s.Repeats && s.Most > 0 {
		of = s.Most * len(s.Arms)
	}
	if r.o.Hooks.Trial != nil {
		r.o.Hooks.Trial(t, max(of, t.Order), r.left(max(of, t.Order)-t.Order+1))
	}
	arm := armNamed(s, t.Arm)
	logs, err := r.folder.LogDir(t.Arm, t.Block)
	if err != nil {
		return nil, kept(err)
	}
	var journal trial.Journal
	if len(t.Steps) > 0 {
		file, err := r.folder.Journal(t.Arm, t.Block)
		if err != nil {
			return nil, kept(err)
		}
		defer func() { _ = file.Close() }() // every line of it was synced
		journal = file
	}
	spec := r.Plan.Spec(arm)
	spec.Run, spec.Trial, spec.LogDir = r.ID, fmt.Sprintf("%s-%d", t.Arm, t.Block), logs
	rec, err := trial.Run(ctx, trial.Config{
		Driver: r.driver, Spec: spec, Plan: t, Ready: arm.Ready, Nodes: arm.Nodes, Images: r.images, Hooks: r.o.Hooks.Within,
		Journal: journal, Results: r.results(t),
	})
	switch {
	case err == nil:
		r.good[t.Arm] = true
	case ctx.Err() == nil && errors.Is(err, trial.ErrNotReady) && !errors.Is(err, trial.ErrLeft) && r.good[t.Arm]:
		// It got ready before: this trial is not to be trusted, the others are.
		rec.Problems = append(rec.Problems, oneLine(err.Error()))
		err = nil
	default:
		rec.Problems = append(rec.Problems, "the trial was not carried out: "+oneLine(err.Error()))
		hint := "what the nodes said is in " + logs
		if errors.Is(err, trial.ErrLeft) {
			hint = "the watchdog goes on removing it for a minute; then tutti clean removes it"
		}
		err = environment(ctx, fmt.Sprintf("run arm %s in block %d", t.Arm, t.Block), err, hint)
	}
	r.took = time.Since(began)
	err = errors.Join(err, kept(r.folder.SaveRecording(rec)))
	a := analysis.Of(rec)
	if s.Most > 0 {
		r.trials = append(r.trials, a)
	}
	if r.o.Hooks.Done != nil {
		r.o.Hooks.Done(t, a, err)
	}
	return a, err
}

// results are where every request of a trial is written down; nil where that was not asked for.
func (r *running) results(t plan.Trial) *load.Results {
	if r.o.Record == "" {
		return nil
	}
	return &load.Results{Format: r.o.Record, Attack: t.Arm, Open: func(part load.Part) (io.WriteCloser, error) {
		agent := 0
		if part.Of > 1 {
			agent = part.Index + 1
		}
		return r.folder.Results(t.Arm, t.Block, agent, r.o.Record.Extension())
	}}
}

// leastLoad is how long the load of a trial takes at the least: how long a search does is not known beforehand.
func (r *running) leastLoad() time.Duration {
	if r.Plan.Scenario.Load.Capacity != nil {
		return 0
	}
	return r.Plan.TrialLoad()
}

// left estimates how long n trials take.
func (r *running) left(n int) time.Duration {
	one := r.took
	if one == 0 {
		one = r.Plan.TrialLoad() + r.Plan.Verifying() + PerTrial
	}
	return time.Duration(n) * one
}

func armNamed(s *scenario.Scenario, name string) scenario.Arm {
	i := slices.IndexFunc(s.Arms, func(a scenario.Arm) bool { return a.Name == name })
	return s.Arms[i]
}

// environment marks an error as the surroundings' fault, unless we were told to stop.
func environment(ctx context.Context, what string, err error, hint string) error {
	var known *target.UnavailableError
	if ctx.Err() != nil || errors.As(err, &known) {
		return err
	}
	return &target.UnavailableError{What: what, Err: err, Hint: hint}
}

func (r *running) writePlan() error {
	s := r.Plan.Scenario
	blocks := make(map[string][]string)
	for n := 1; n <= r.Plan.Last(); n++ {
		trials, err := r.Plan.Block(r.o.Kit.Faults, n)
		if err != nil {
			return err
		}
		for _, t := range trials {
			blocks[fmt.Sprintf("%03d", n)] = append(blocks[fmt.Sprintf("%03d", n)], t.Arm)
		}
	}
	masked := rundir.Mask(s.Source)
	against := ""
	if r.o.Against != nil {
		against = r.o.Against.File
		if err := kept(r.folder.WriteBaseline(r.o.Against.Baseline)); err != nil {
			return err
		}
	}
	return kept(errors.Join(
		r.folder.WriteScenario(masked),
		r.folder.WritePlan(rundir.Plan{
			Schema: rundir.Schema, ID: r.ID, File: s.File, Repeats: s.Repeats, Most: s.Most, Only: r.o.Only, Against: against, Variation: r.o.Vary, Kept: digest(masked),
			Blocks: blocks, Provenance: r.provenance(),
		})))
}
