package tutti

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/target/compose"
)

// The engines that a scenario may name.
const (
	Docker  = "docker"
	Process = "process"
)

// ComposeOptions are what a user allows a target's files, by name.
type ComposeOptions struct{ Allow []string }

// Limits on the wait for an engine: until it is open, which includes removing what dead runs have left there,
// and for what it says of itself.
const (
	openLimit  = time.Minute
	probeLimit = 15 * time.Second
)

// open opens the engine that was asked for; if none was, docker when one answers, else
// process, which is said and recorded. In CI there is no falling back.
func (p *Prepared) open(ctx context.Context, o Options, wish string) error {
	if wish != "" {
		p.Why = "asked for"
		return p.try(ctx, o, wish)
	}
	err := p.try(ctx, o, Docker)
	if err == nil {
		p.Why = "an engine answers"
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	if o.CI {
		return &target.UnavailableError{
			What: "open an engine", Err: err,
			Hint: "CI is set, so there is no falling back; --engine process asks for child processes by name",
		}
	}
	p.Why = "no Docker engine answers: " + firstLine(err)
	if perr := p.try(ctx, o, Process); perr != nil {
		return errors.Join(perr, err)
	}
	return nil
}

func firstLine(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

func (p *Prepared) try(ctx context.Context, o Options, name string) error {
	opener, ok := o.Kit.Drivers[name]
	if !ok {
		return &UsageError{fmt.Errorf("engine %q: this program has none of that name", name)}
	}
	openCtx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	driver, release, err := opener(openCtx, p.ID)
	if err != nil {
		return err
	}
	probeCtx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	facts, err := driver.Probe(probeCtx)
	if err != nil {
		return errors.Join(err, release(context.WithoutCancel(ctx)))
	}
	p.driver, p.Facts, p.close = driver, facts, release
	return nil
}

// LoadTargets reads each arm's Compose files, and the certificates that the scenario names. A variable of `env` that nothing asks for is
// refused: a misspelled one would leave its arm as it was, and nobody would know.
func LoadTargets(ctx context.Context, s *scenario.Scenario, o ComposeOptions) (map[string]*target.Target, error) {
	dir, err := filepath.Abs(filepath.Dir(s.File))
	if err != nil {
		return nil, err
	}
	if err := loadCertificates(s, dir); err != nil {
		return nil, err
	}
	targets := make(map[string]*target.Target, len(s.Arms))
	asked := make(map[string]bool) // variables, by the files of any arm
	for _, arm := range s.Arms {
		for _, f := range arm.Compose {
			if name := rooted(dir, f); !isFile(name) {
				return nil, &UsageError{fmt.Errorf("%s: arm %s: there is no Compose file %s; its path is relative to the scenario's folder", s.File, arm.Name, name)}
			}
		}
		t, err := compose.Load(ctx, compose.Options{Files: arm.Compose, Dir: dir, Profiles: arm.Profiles, Env: arm.Env, Allow: o.Allow, Uses: func(name string) { asked[name] = true }})
		if err != nil {
			return nil, &UsageError{fmt.Errorf("arm %s: %w", arm.Name, err)}
		}
		targets[arm.Name] = t
	}
	if wrong := unasked(s, targets, asked); len(wrong) > 0 {
		return nil, wrong
	}
	return targets, nil
}

// unasked are errors about the variables that arms set and nothing asks for.
func unasked(s *scenario.Scenario, targets map[string]*target.Target, asked map[string]bool) scenario.Errors {
	near := slices.Sorted(maps.Keys(asked))
	for _, t := range targets {
		for _, service := range t.Services {
			for _, taken := range []map[string]string{service.Environment, service.Image.Args} {
				for name := range taken {
					asked[name] = true
				}
			}
		}
	}
	var wrong scenario.Errors
	for _, arm := range s.Arms {
		for _, name := range slices.Sorted(maps.Keys(arm.Env)) {
			if asked[name] || strings.HasPrefix(name, "COMPOSE_") || inRequests(s, name) {
				continue
			}
			asked[name] = true // told once
			wrong = append(wrong, s.WrongVariable(name, fmt.Sprintf("nothing asks for the variable %q: no Compose file and no request", name), near))
		}
	}
	return wrong
}

var ofRequests = regexp.MustCompile(`\.Env(\.[A-Za-z0-9_]+)?`)

// inRequests reports whether a template of the scenario may ask for a variable: by its name, or for any one.
func inRequests(s *scenario.Scenario, name string) bool {
	return slices.ContainsFunc(ofRequests.FindAllStringSubmatch(string(s.Source), -1), func(found []string) bool {
		return found[1] == "" || found[1] == "."+name
	})
}

// maxCertificates bounds, in bytes, a file of certificates: they go to every agent.
const maxCertificates = 1 << 20

func loadCertificates(s *scenario.Scenario, dir string) error {
	t := s.Load.Client.TLS
	if t == nil || t.CA == "" {
		return nil
	}
	name := rooted(dir, t.CA)
	wrong := func(msg string) error { return scenario.Errors{t.WrongCA(msg)} }
	info, err := os.Stat(name)
	switch {
	case err != nil || !info.Mode().IsRegular():
		return wrong(fmt.Sprintf("there is no file %s; its path is relative to the scenario's folder", name))
	case info.Size() == 0:
		return wrong(name + " is empty")
	case info.Size() > maxCertificates:
		return wrong(fmt.Sprintf("%s has %d bytes: certificates have at most %d", name, info.Size(), maxCertificates))
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return wrong(fmt.Sprintf("read certificates: %v", err))
	}
	t.Certificates = string(b)
	if err := (&load.TLS{CA: t.Certificates}).Check(); err != nil {
		return wrong(fmt.Sprintf("%s %v", name, err))
	}
	return nil
}

func rooted(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// notesOf gathers what is rewritten, each note once, with the arms it is about.
func notesOf(s *scenario.Scenario, targets map[string]*target.Target) []string {
	var notes []string
	for _, arm := range s.Arms {
		for _, n := range targets[arm.Name].Notes {
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	return notes
}

// Host is what of a run's provenance is known before it begins: the program, the engine and the machine.
func (p *Prepared) Host() rundir.Provenance {
	return rundir.Provenance{Tutti: p.about.Version, Engine: p.Facts.Driver, Details: p.Facts.Details, Host: hostFacts()}
}

func (r *running) provenance() rundir.Provenance {
	s := r.Plan.Scenario
	return rundir.Provenance{
		Tutti: r.o.About.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Engine: r.Facts.Driver, Reason: r.Why, Details: r.Facts.Details, Images: r.images, Versions: r.versions,
		Seed: s.Seed, Scenario: filepath.Base(s.File), SHA256: digest(s.Source),
		Started: r.began.UTC(), Command: r.o.About.Command, Host: hostFacts(), Notes: r.Notes,
	}
}
