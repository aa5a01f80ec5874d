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
	"os"
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
	// Uses is called with the name of every variable that the files, and files of variables beside them, ask for, whether it has a value or
	// not; nil if nobody wants to know. A service's environment and a build's arguments may take further ones by their names alone.
	Uses func(variable string)
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
	v := variables{unset: make(map[string]bool), used: make(map[string]bool), asked: o.Uses}
	v.inEnvFiles(files)
	project, err := read(ctx, files, o, v)
	if err != nil {
		return nil, fmt.Errorf("read %s: %s", strings.Join(files, ", "), v.mask(err.Error()))
	}
	c := &converter{
		finder: newFinder(files),
		allow:  allow,
		dir:    filepath.Dir(files[0]),
		home:   realPath(filepath.Dir(files[0])),
	}
	for _, name := range slices.Sorted(maps.Keys(v.unset)) {
		c.notes = append(c.notes, fmt.Sprintf("the variable %s is not set; it is blank, as in Docker Compose", name))
	}
	t := c.target(project)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return t, nil
}

// variables is what is learnt of variables while files are read.
type variables struct {
	unset map[string]bool // names that were used without a value; the library would only print them
	used  map[string]bool // values that were put into the files
	asked func(name string)
}

// named is a variable's name in a string, also within the default of another one.
var named = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)`)

// read runs compose-go.
func read(ctx context.Context, files []string, o Options, v variables) (*types.Project, error) {
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
			lo.Interpolate.Substitute = v.substitute
		}),
	)
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

// inEnvFiles tells of the variables that files of variables beside the Compose files name, whichever of them are read: the library looks
// those up by itself.
func (v variables) inEnvFiles(files []string) {
	if v.asked == nil {
		return
	}
	for _, file := range files {
		for _, pattern := range []string{".env*", "*.env"} {
			found, _ := filepath.Glob(filepath.Join(filepath.Dir(file), pattern)) // it fails on a bad pattern alone
			for _, name := range found {
				if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || info.Size() > maxEnvFile {
					continue
				}
				if b, err := os.ReadFile(name); err == nil {
					v.mention(string(b))
				}
			}
		}
	}
}

// maxEnvFile bounds, in bytes, a file that is looked through for names.
const maxEnvFile = 1 << 20

// mention tells of the variables that a text names.
func (v variables) mention(text string) {
	if v.asked == nil {
		return
	}
	for _, found := range named.FindAllStringSubmatch(text, -1) {
		v.asked(found[1])
	}
}

// substitute interpolates one string as the library does.
func (v variables) substitute(s string, m template.Mapping) (string, error) {
	v.mention(s)
	replace := func(part string, m template.Mapping, cfg *template.Config) (string, error) {
		var missing string
		value, applied, err := template.DefaultReplacementAppliedFunc(part, func(name string) (string, bool) {
			found, ok := m(name)
			if ok {
				v.used[found] = true
			} else {
				missing = name
			}
			return found, ok
		}, cfg)
		if err == nil && !applied && missing != "" {
			v.unset[missing] = true
		}
		return value, err
	}
	return template.SubstituteWithOptions(s, m, template.WithoutLogging, template.WithReplacementFunction(replace))
}

// Parsers quote what they could not read, and that may be a password.
var (
	envFileLine = regexp.MustCompile(`(?s)(failed to read .*?: line \d+:).*`)
	quoted      = regexp.MustCompile(`(?s)(near|parsing|value|name|duration|boolean:|size:) +("(?:[^"\\]|\\.)*"|` + "`[^`]*`" + `|'[^']*')`)
)

const hidden = "(a value that is not shown)"

// mask hides what may be secret in an error of the library.
func (v variables) mask(s string) string {
	s = envFileLine.ReplaceAllString(s, "$1 it cannot be parsed")
	s = quoted.ReplaceAllString(s, "$1 "+hidden)
	// The longest first: one value may be part of another. Very short ones hide nothing
	// and would tear words apart.
	values := slices.SortedFunc(maps.Keys(v.used), func(a, b string) int { return len(b) - len(a) })
	for _, value := range values {
		if len(value) > 3 {
			s = strings.ReplaceAll(s, value, hidden)
		}
	}
	return s
}
