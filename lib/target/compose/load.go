// Package compose reads Compose files into a [target.Target]. The Compose
// specification's own library does the reading; this package decides what
// each field becomes: honoured, noted as ignored, or refused by name. There is
// no fourth way: a field that the tables do not know is refused.
package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tutti-bench/tutti/lib/target"
)

// Options say what to read.
type Options struct {
	Files    []string          // merged left to right; absolute, or relative to Dir
	Dir      string            // "" is the current folder
	Profiles []string          // active ones; none: COMPOSE_PROFILES, as in Docker Compose
	Env      map[string]string // for interpolation, over the process's environment and .env
	// Allow names the dangers that the user accepts: privileged, docker-socket,
	// host-namespaces, unconfined, cap-add:NAME, writable-bind:PATH.
	Allow []string
}

// Load reads Compose files with interpolation, profiles, extends, include, merging
// and .env as in Docker Compose, and returns what they describe. Its error joins one
// error for every field that cannot be honoured, each with file, service and field; neither
// errors nor the target's notes hold values that may be secret.
func Load(ctx context.Context, o Options) (*target.Target, error) {
	if len(o.Files) == 0 {
		return nil, errors.New("read the target: no Compose file is named; name at least one")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the target: %w", err)
	}
	allow, err := parseAllow(o.Allow, dir)
	if err != nil {
		return nil, fmt.Errorf("read the target: %w", err)
	}
	files := make([]string, len(o.Files))
	for i, f := range o.Files {
		files[i] = f
		if !filepath.IsAbs(f) {
			files[i] = filepath.Join(dir, f)
		}
	}
	project, unset, err := read(ctx, files, o)
	if err != nil {
		return nil, fmt.Errorf("read %s: %s", strings.Join(files, ", "), mask(err.Error()))
	}
	c := &converter{
		finder: newFinder(files),
		allow:  allow,
		dir:    filepath.Dir(files[0]),
		home:   realPath(filepath.Dir(files[0])),
	}
	for _, name := range unset {
		c.notes = append(c.notes, fmt.Sprintf("the variable %s is not set; it is blank, as in Docker Compose", name))
	}
	t := c.target(project)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return t, nil
}

// read runs compose-go. It also returns the names of variables that were used
// but not set, because the library would only print them.
func read(ctx context.Context, files []string, o Options) (*types.Project, []string, error) {
	unset := make(map[string]bool)
	var env []string
	for _, k := range slices.Sorted(maps.Keys(o.Env)) {
		env = append(env, k+"="+o.Env[k])
	}
	options, err := cli.NewProjectOptions(files,
		cli.WithEnv(env),
		cli.WithOsEnv,
		cli.WithEnvFiles(),
		cli.WithDotEnv,
		cli.WithDefaultProfiles(o.Profiles...),
		cli.WithDiscardEnvFile,
		cli.WithLoadOptions(func(lo *loader.Options) {
			if lo.Interpolate == nil {
				return // the call that only finds the files
			}
			lo.Interpolate.Substitute = func(s string, m template.Mapping) (string, error) {
				return substitute(s, m, unset)
			}
		}),
	)
	if err != nil {
		return nil, nil, err
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return nil, nil, err
	}
	return project, slices.Sorted(maps.Keys(unset)), nil
}

// substitute interpolates one string and adds the variables that were blank for
// want of a value to unset.
func substitute(s string, m template.Mapping, unset map[string]bool) (string, error) {
	replace := func(part string, m template.Mapping, cfg *template.Config) (string, error) {
		var missing string
		value, applied, err := template.DefaultReplacementAppliedFunc(part, func(name string) (string, bool) {
			v, ok := m(name)
			if !ok {
				missing = name
			}
			return v, ok
		}, cfg)
		if err == nil && !applied && missing != "" {
			unset[missing] = true
		}
		return value, err
	}
	return template.SubstituteWithOptions(s, m, template.WithoutLogging, template.WithReplacementFunction(replace))
}

// Texts of a .env file's parser, and of casts, quote what they could not
// read, and that may be a password.
var quoted = regexp.MustCompile(`(?s)(near|parsing|value|line|name|template:) +("(?:[^"\\]|\\.)*"|` + "`[^`]*`)")

func mask(s string) string { return quoted.ReplaceAllString(s, "$1 (not shown)") }
