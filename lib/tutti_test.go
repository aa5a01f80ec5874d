package tutti_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
	"github.com/tutti-bench/tutti/lib/trial/trialtest"
)

// twoArms loses one of one, and one of two nodes, for 5 of 30 s.
const twoArms = `version: 1
name: two-arms
hypothesis: Two are more than one.
target: {compose: compose.yaml, ingress: "http://app:8080", ready: {within: 5s}, nodes: app, node_header: X-Node, env: {DB_PASSWORD: hunter22}}
arms:
  one: {scale: {app: 1}}
  two: {scale: {app: 2}}
baseline: one
load: {rate: 10/s, for: 30s, warmup: 1s, timeout: 1s, requests: [GET /, {name: other, GET: /other}]}
faults:
  - {name: crash, at: 10050ms, kill: app, for: 5s}
objectives:
  - two.availability >= 90%
  - one.availability < 90%
  - two.p90 <= 100ms
repeats: 2
seed: 7
`

const composeFile = "services:\n  app: {image: tutti, environment: [DB_PASSWORD, SLOW, BROKEN]}\n"

// A bench is a scenario with a fake to run it on.
type bench struct {
	*trialtest.Fake
	scenario string // its text
	file     string
	opts     tutti.Options
	opened   int
	released int
	planted  []string
}

// newBench writes the files of a run. The ingress answers; the fake is one whole engine.
func newBench(t *testing.T, text string) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{Fake: &trialtest.Fake{Facts: target.Facts{Driver: "fake", Abilities: trialtest.Abilities, Details: map[string]string{"engine": "1"}}}, scenario: text, file: filepath.Join(dir, "two-arms.yaml")}
	write(t, filepath.Join(dir, "compose.yaml"), composeFile)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	hosts(t, l.Addr().String())
	b.opts = tutti.Options{
		Dir: filepath.Join(dir, "run"), Engine: tutti.Docker, About: tutti.About{Version: "v0", Command: []string{"tutti", "run"}},
		Kit: plan.Kit{Faults: fault.Kinds{"kill": node.KillKind(), "scale": node.ScaleKind()}, Drivers: map[string]plan.Opener{tutti.Docker: b.open}},
	}
	return b
}

// hosts makes app resolve to an address.
func hosts(t *testing.T, addr string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hosts.json")
	write(t, name, fmt.Sprintf(`{"app": [%q]}`, addr))
	t.Setenv(target.EnvHosts, name)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) open(context.Context, string) (target.Driver, func(context.Context) error, error) {
	b.opened++
	return b.Fake, func(ctx context.Context) error { b.released++; return ctx.Err() }, nil
}

func (b *bench) parse(t *testing.T) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse(b.file, []byte(b.scenario), b.opts.Kit.Faults)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run prepares, runs and closes, all on the bubble's clock.
func (b *bench) run(ctx context.Context, t *testing.T) (*tutti.Result, error) {
	t.Helper()
	p, err := tutti.Prepare(ctx, b.parse(t), b.opts)
	if err != nil {
		t.Fatal(err)
	}
	res, err := tutti.Run(ctx, p, b.opts)
	if b.released != 0 {
		t.Error("the driver was released by Run")
	}
	for range 2 {
		if err := p.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}
	want := 1
	if errors.Is(err, trial.ErrLeft) {
		want = 0 // so that the watchdog goes on
	}
	if b.released != want {
		t.Errorf("the driver was released %d times, want %d", b.released, want)
	}
	if res != nil {
		conforms(t, res.Dir)
	}
	if ups, downs := len(b.Ups()), b.Downs(); downs > ups {
		t.Errorf("%d targets were started, %d removed", ups, downs)
	}
	return res, err
}

// says checks a list of sentences for one that has all parts.
func says(t *testing.T, what string, sentences []string, parts ...string) {
	t.Helper()
	for _, s := range sentences {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) }) {
			return
		}
	}
	t.Errorf("%s: none of %q says %q", what, sentences, parts)
}

func verdict(t *testing.T, r *rundir.Run, want rundir.Verdict, code int) {
	t.Helper()
	if r.Verdict != want || r.ExitCode != code {
		t.Errorf("verdict %s (exit code %d) because %q, want %s (%d)", r.Verdict, r.ExitCode, r.Reasons, want, code)
	}
}

func isValue(t *testing.T, what string, got rundir.Value, want float64, n int) {
	t.Helper()
	if got.State != analysis.OK || got.Value == nil || got.N != n {
		t.Fatalf("%s is %+v, want %v of %d", what, got, want, n)
	}
	if math.Abs(*got.Value-want) > 1e-9 {
		t.Errorf("%s is %v, want %v", what, *got.Value, want)
	}
}

// readJSON reads a file of the run as anybody else would.
func readJSON(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// conforms holds a run.json against the published schema, with no key that the schema does not know.
func conforms(t *testing.T, dir string) {
	t.Helper()
	b, err := rundir.JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	shut(doc)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("run.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("run.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(any(readJSON(t, filepath.Join(dir, "run.json")))); err != nil {
		t.Errorf("run.json is not what its schema says: %v", err)
	}
}

// shut makes a schema refuse keys that it does not know.
func shut(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	if _, properties := m["properties"]; properties && m["type"] == "object" {
		m["additionalProperties"] = false
	}
	for _, c := range m {
		shut(c)
	}
}

var errEnough = errors.New("enough")

// after cancels a context with errEnough.
func after(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(d, func() { cancel(errEnough) })
	t.Cleanup(func() { timer.Stop() })
	return ctx
}
