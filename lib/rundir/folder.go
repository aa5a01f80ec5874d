package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// Names of what is in a run's folder.
const (
	planFile      = "plan.json"
	endFile       = "end.json"
	baselineFile  = "baseline.json"
	runFile       = "run.json"
	scenarioFile  = "scenario.yaml"
	trialsDir     = "trials"
	recordingFile = "recording.jsonl.gz"
	logsDir       = "logs"
	journalFile   = "faults.journal.jsonl"
)

// A Folder is a run's folder on disk.
type Folder struct{ dir string }

// A Plan is plan.json: what was decided before the first trial. With the scenario
// and the recordings, run.json can be made from it again.
type Plan struct {
	Schema     string              `json:"schema"`
	ID         string              `json:"id"`
	File       string              `json:"file"`           // the scenario, as given on the command line
	Repeats    int                 `json:"repeats"`        // as run, the command line's over the file's
	Most       int                 `json:"most,omitempty"` // blocks up to which they may be extended
	Only       string              `json:"only,omitempty"`
	Against    string              `json:"against,omitempty"` // the baseline file, as given; baseline.json is what it said
	Variation  *Variation          `json:"variation,omitempty"`
	Kept       string              `json:"kept_sha256"` // of the scenario as it lies in the folder, secrets masked
	Blocks     map[string][]string `json:"order"`       // by block: its arms, in the order in which they run
	Provenance Provenance          `json:"provenance"`
}

// An End is end.json: how the run came to its end.
type End struct {
	Ended       time.Time `json:"ended"`
	Interrupted bool      `json:"interrupted,omitempty"`
	Error       string    `json:"error,omitempty"`   // why it could not be carried out
	Stopped     string    `json:"stopped,omitempty"` // why there are fewer blocks than asked for
}

// Create makes a run's folder. It refuses one that is there and not empty.
func Create(dir string) (*Folder, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("create the run's folder %s: it is there and not empty; name another with --out", dir)
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil { // of two that come at once one has it
		err = os.Mkdir(filepath.Join(dir, trialsDir), 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("create the run's folder: %w", err)
	}
	return &Folder{dir}, nil
}

// Open opens the folder of a run that is there.
func Open(dir string) (*Folder, error) {
	if _, err := os.Stat(filepath.Join(dir, planFile)); err != nil {
		return nil, fmt.Errorf("open run %s: it has no %s, so it is no run's folder: %w", dir, planFile, err)
	}
	return &Folder{dir}, nil
}

// Path returns the path of something in the folder.
func (f *Folder) Path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

// TrialDir is the folder of one trial, relative to the run's. It does not make it.
func TrialDir(arm string, block int) string {
	return filepath.ToSlash(filepath.Join(trialsDir, fmt.Sprintf("%s-%d", arm, block)))
}

// LogDir makes and returns the folder for the logs of a trial's nodes.
func (f *Folder) LogDir(arm string, block int) (string, error) {
	dir := f.Path(TrialDir(arm, block), logsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder for logs: %w", err)
	}
	return dir, nil
}

// Journal opens the journal of a trial's faults, to append to. Who opened it closes it.
func (f *Folder) Journal(arm string, block int) (*os.File, error) {
	dir := f.Path(TrialDir(arm, block))
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var file *os.File
		if file, err = os.OpenFile(filepath.Join(dir, journalFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
			return file, nil
		}
	}
	return nil, fmt.Errorf("open the journal of faults: %w", err)
}

// SaveRecording writes a trial's recording.
func (f *Folder) SaveRecording(r *record.Recording) error {
	dir := f.Path(TrialDir(r.Arm, r.Block))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save recording: %w", err)
	}
	return r.Save(filepath.Join(dir, recordingFile))
}

// Recordings reads every recording there is, in the order in which the trials ran.
func (f *Folder) Recordings() ([]*record.Recording, error) {
	trials, err := os.ReadDir(f.Path(trialsDir)) // no pattern: the folder's own name may look like one
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the recordings: %w", err)
	}
	all := make([]*record.Recording, 0, len(trials))
	for _, t := range trials {
		if !t.IsDir() {
			continue // what file managers leave
		}
		r, err := record.Load(f.Path(trialsDir, t.Name(), recordingFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the trial was cut off
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Order < all[j].Order })
	return all, nil
}

// WriteScenario keeps the scenario as run.
func (f *Folder) WriteScenario(src []byte) error { return f.WriteFile(scenarioFile, src) }

// Scenario reads the scenario as run.
func (f *Folder) Scenario() ([]byte, error) { return os.ReadFile(f.Path(scenarioFile)) }

// WritePlan writes plan.json.
func (f *Folder) WritePlan(p Plan) error { return f.writeJSON(planFile, p) }

// Plan reads plan.json.
func (f *Folder) Plan() (Plan, error) {
	var p Plan
	err := f.readJSON(planFile, &p)
	if err == nil && p.Schema != Schema {
		err = f.otherSchema(planFile, p.Schema)
	}
	return p, err
}

// WriteEnd writes end.json.
func (f *Folder) WriteEnd(e End) error { return f.writeJSON(endFile, e) }

// End reads end.json. A run that was killed has none: it counts as interrupted.
func (f *Folder) End() (End, error) {
	var e End
	err := f.readJSON(endFile, &e)
	if errors.Is(err, fs.ErrNotExist) {
		return End{Interrupted: true}, nil
	}
	return e, err
}

// WriteRun writes run.json.
func (f *Folder) WriteRun(r *Run) error { return f.writeJSON(runFile, r) }

// Run reads run.json.
func (f *Folder) Run() (*Run, error) {
	var r Run
	if err := f.readJSON(runFile, &r); err != nil {
		return nil, err
	}
	if r.Schema != Schema {
		return nil, f.otherSchema(runFile, r.Schema)
	}
	return &r, nil
}

func (f *Folder) otherSchema(name, schema string) error {
	return fmt.Errorf("%s: schema is %q, this program reads %q", f.Path(name), schema, Schema)
}

func (f *Folder) writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.WriteFile(name, append(b, '\n'))
}

func (f *Folder) readJSON(name string, v any) error {
	b, err := os.ReadFile(f.Path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return nil
}

// WriteFile writes a file into the folder, whole or not at all.
func (f *Folder) WriteFile(name string, b []byte) error {
	tmp, err := os.CreateTemp(f.dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, werr := tmp.Write(b)
	if err := errors.Join(werr, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(tmp.Name())))
	}
	if err := os.Rename(tmp.Name(), f.Path(name)); err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
