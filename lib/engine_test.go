package tutti_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tutti "github.com/tutti-bench/tutti/lib"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial/trialtest"
)

// Which engine is opened, why, and what is let go of again.
func TestEngine(t *testing.T) {
	gone := &target.UnavailableError{What: "reach the Docker engine", Err: errors.New("connection refused"), Hint: "start Docker"}
	for name, c := range map[string]struct {
		flag, scenario string
		ci             bool
		openErr, probe error // of docker
		process        error
		want, why      string
		errs           []string
		released       int // of docker, before the run is closed
	}{
		"docker answers":                {want: "docker", why: "an engine answers"},
		"in CI too":                     {ci: true, want: "docker", why: "an engine answers"},
		"it does not open":              {openErr: gone, want: "process", why: "no Docker engine answers: reach the Docker engine: connection refused"},
		"it does not answer":            {probe: gone, want: "process", why: "no Docker engine answers: reach the Docker engine: connection refused", released: 1},
		"no falling back in CI":         {ci: true, probe: gone, released: 1, errs: []string{"connection refused", "CI is set", "--engine process"}},
		"asked for by flag":             {flag: "docker", want: "docker", why: "asked for"},
		"asked for, does not answer":    {flag: "docker", probe: gone, released: 1, errs: []string{"connection refused", "start Docker"}},
		"asked for by the scenario":     {scenario: "process", want: "process", why: "asked for"},
		"the flag is over the scenario": {flag: "docker", scenario: "process", want: "docker", why: "asked for"},
		"process by flag in CI":         {flag: "process", ci: true, want: "process", why: "asked for"},
		"neither works":                 {openErr: gone, process: errors.New("no loopback"), errs: []string{"no loopback", "connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := twoArms
			if c.scenario != "" {
				text += "engine: " + c.scenario + "\n"
			}
			b := newBench(t, text)
			b.opts.Engine, b.opts.CI = c.flag, c.ci
			released := make(map[string]int)
			opener := func(engine string, openErr, probe error) plan.Opener {
				return func(context.Context, string) (target.Driver, func(context.Context) error, error) {
					if openErr != nil {
						return nil, nil, openErr
					}
					return &trialtest.Fake{ProbeErr: probe, Facts: target.Facts{Driver: engine, Abilities: trialtest.Abilities}},
						func(ctx context.Context) error { released[engine]++; return ctx.Err() }, nil
				}
			}
			b.opts.Kit.Drivers = map[string]plan.Opener{tutti.Docker: opener("docker", c.openErr, c.probe), tutti.Process: opener("process", c.process, nil)}
			p, err := tutti.Prepare(t.Context(), b.parse(t), b.opts)
			if released["docker"] != c.released || released["process"] != 0 {
				t.Errorf("released %v", released)
			}
			if c.want == "" {
				if err == nil {
					t.Fatalf("prepared with %s", p.Facts.Driver)
				}
				for _, part := range c.errs {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q does not say %q", err, part)
					}
				}
				var unavailable *target.UnavailableError
				if !errors.As(err, &unavailable) {
					t.Errorf("%v is not the surroundings' fault", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Facts.Driver != c.want || p.Why != c.why {
				t.Errorf("engine %s because %q, want %s because %q", p.Facts.Driver, p.Why, c.want, c.why)
			}
		})
	}
}

func TestEngineUnknown(t *testing.T) {
	b := newBench(t, twoArms)
	b.opts.Engine = "podman"
	_, err := tutti.Prepare(t.Context(), b.parse(t), b.opts)
	var usage *tutti.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), `"podman"`) {
		t.Errorf("error %v", err)
	}
}

// Told to stop while an engine is looked for, nobody falls back to another.
func TestEngineInterrupted(t *testing.T) {
	b := newBench(t, twoArms)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.opts.Engine = ""
	opened := 0
	b.opts.Kit.Drivers = map[string]plan.Opener{
		tutti.Docker: func(ctx context.Context, _ string) (target.Driver, func(context.Context) error, error) {
			cancel(errEnough)
			return nil, nil, ctx.Err()
		},
		tutti.Process: func(context.Context, string) (target.Driver, func(context.Context) error, error) {
			opened++
			return nil, nil, errors.New("opened")
		},
	}
	if _, err := tutti.Prepare(ctx, b.parse(t), b.opts); err == nil || opened != 0 {
		t.Errorf("error %v, process opened %d times", err, opened)
	}
}

// An engine that takes long to open, since it cleans up after others, still has its time to answer.
func TestEngineSlow(t *testing.T) {
	b := newBench(t, twoArms)
	b.opts.Engine = ""
	b.opts.Kit.Drivers[tutti.Docker] = func(ctx context.Context, run string) (target.Driver, func(context.Context) error, error) {
		select {
		case <-time.After(30 * time.Second):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		_, release, err := b.open(ctx, run)
		return slowProbe{b.Fake}, release, err
	}
	synctest.Test(t, func(t *testing.T) {
		p, err := tutti.Prepare(t.Context(), b.parse(t), b.opts)
		if err != nil {
			t.Fatal(err)
		}
		if p.Why != "an engine answers" {
			t.Errorf("engine because %q", p.Why)
		}
	})
}

type slowProbe struct{ *trialtest.Fake }

func (s slowProbe) Probe(ctx context.Context) (target.Facts, error) {
	select {
	case <-time.After(10 * time.Second):
		return s.Facts, nil
	case <-ctx.Done():
		return target.Facts{}, ctx.Err()
	}
}

// A variable of env that nothing asks for changes nothing: it is misspelled. What includes, what is extended, a default within a default,
// a name that is passed on and a request ask, too.
func TestUnaskedVariables(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"compose.yaml": `
include: [included.yaml]
services:
  app:
    image: "app:${TAG:-${OTHER_TAG:-1}}"
    environment: [PASSED, "DELAY=${DELAY}"]
    env_file: app.env
  also: {extends: {file: base.yaml, service: base}}
`,
		"other.yaml":    "services: {app: {environment: {MODE: \"${MODE-none}\"}}}",
		"included.yaml": "services: {there: {image: \"x:${INCLUDED}\"}}",
		"app.env":       "URL=http://${HOST_OF}/\n",
		"base.yaml":     "services: {base: {image: \"x:${EXTENDED}\"}}",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	const file = `version: 1
name: variables
target:
  compose: compose.yaml
  ingress: "http://app:8080"
  nodes: app
  env: {TAG: "2", OTHER_TAG: "3", INCLUDED: "1", EXTENDED: "1", PASSED: "1", PATH_OF: items, HOST_OF: db, COMPOSE_PARALLEL_LIMIT: "1", TARGET: "1"}
arms:
  single: {scale: {app: 1}, env: {MODE: none, SINGLE: "1"}}
  cluster: {scale: {app: 3}, compose: other.yaml, env: {MODE: all, SINGLE: "1"}}
baseline: single
load: {rate: 10/s, for: 10s, requests: [{GET: "/{{.Env.PATH_OF}}"}]}
mutations:
  slow: {env: {MUTATION: 9ms}}
`
	for name, c := range map[string]struct {
		change []string // pairs
		want   []string
	}{
		"as it should be": {[]string{"TARGET", "DELAY", "SINGLE", "DELAY", "MUTATION", "DELAY"}, nil},
		"in the target":   {[]string{"TARGET", "DELAI", "SINGLE", "DELAY", "MUTATION", "DELAY"}, []string{`:7:136: nothing asks for the variable "DELAI": no Compose file and no request, did you mean "DELAY"?`}},
		"in two arms":     {[]string{"TARGET", "DELAY", "SINGLE", "DELAYED", "MUTATION", "DELAY"}, []string{`:9:47: nothing asks for the variable "DELAYED"`}},
		"in a mutation":   {[]string{"TARGET", "DELAY", "SINGLE", "DELAY", "MUTATION", "MODUS"}, []string{`mutation slow: `, `:14:16: nothing asks for the variable "MODUS": no Compose file and no request, did you mean "MODE"?`}},
	} {
		t.Run(name, func(t *testing.T) {
			at := filepath.Join(dir, "scenario.yaml")
			s, err := scenario.Parse(at, []byte(strings.NewReplacer(c.change...).Replace(file)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = tutti.LoadTargets(t.Context(), s, tutti.ComposeOptions{}); err == nil {
				err = tutti.CheckMutations(t.Context(), s, tutti.Options{})
			}
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wrong, ok := errors.AsType[scenario.Errors](err)
			if !ok || len(wrong) != 1 || wrong[0].Source == "" {
				t.Fatalf("%d errors: %v", len(wrong), err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %s", err, want)
				}
			}
		})
	}
}
