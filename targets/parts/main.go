// The program parts makes the images of the real programs that targets are made of, each
// from a recipe beside it. Images are named localhost/tutti/NAME:parts and are made again only if their
// recipe or their base has changed. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "parts:", err)
		os.Exit(1)
	}
}

const usage = "usage: parts build|try|clean [NAME…]"

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	list, err := chosen(args[1:])
	if err != nil {
		return err
	}
	var e engine
	err = e.check(ctx)
	switch args[0] {
	case "build", "try":
		if err == nil {
			err = build(ctx, e, out, list)
		}
		// The tests skip without an engine, or without parts, unless CI is set; so does what makes them ready.
		if err != nil && args[0] == "try" && os.Getenv("CI") == "" && ctx.Err() == nil {
			fmt.Fprintf(out, "tests that need parts will be skipped: %v\n", err)
			return nil
		}
	case "clean":
		if err == nil {
			err = clean(ctx, e, out, list, len(args) == 1)
		}
	default:
		return errors.New(usage)
	}
	return err
}

// build makes the parts that are not there yet, one after the other, and prints a line for each.
func build(ctx context.Context, e engine, out io.Writer, list []part) error {
	ids := make(map[string]string) // of bases by suite, and of parts by name
	for _, p := range list {
		if _, ok := ids[p.Suite]; ok {
			continue
		}
		l := newLine(out, "base "+p.Suite)
		name, id, err := base(ctx, e, p.Suite, l.say)
		if err != nil {
			l.end("failed")
			return err
		}
		l.end(name)
		ids[p.Suite] = id
	}
	for _, p := range list {
		l := newLine(out, p.Name)
		from := ids[p.Suite]
		if p.From != "" {
			from = ids[p.From]
		}
		id, version, err := makePart(ctx, e, p, from, l.say)
		if err != nil {
			l.end("failed")
			return fmt.Errorf("build %s: %w", p.image(), err)
		}
		l.end(version)
		ids[p.Name] = id
	}
	return nil
}

// makePart makes one part unless it is there, and returns its image's id and version.
func makePart(ctx context.Context, e engine, p part, from string, say func(string)) (id, version string, err error) {
	archive, hash, err := p.context(from)
	if err != nil {
		return "", "", err
	}
	old, labels, err := e.image(ctx, p.image())
	if err != nil {
		return "", "", err
	}
	if old != "" && labels[labelParts] == hash {
		return old, labels[labelVersion], nil
	}
	say("building")
	// The host's network: there may be no other on which packages can be had. Proxies are no part of the image.
	args := []string{"build", "--quiet", "--force-rm", "--network", "host", "--build-arg", "BASE=" + from}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if os.Getenv(name) != "" {
			args = append(args, "--build-arg", name)
		}
	}
	built, err := e.run(ctx, buildLimit, bytes.NewReader(archive), append(args, "-")...)
	if err != nil {
		return "", "", err
	}
	if version, err = versionOf(ctx, e, p, built); err != nil {
		return "", "", err
	}
	// The labels come last, as the version is known only now. Nothing is installed in this step.
	id, err = e.run(ctx, buildLimit, strings.NewReader("FROM "+built+"\n"), "build", "--quiet", "--force-rm",
		"--label", labelParts+"="+hash, "--label", labelVersion+"="+version, "--tag", p.image(), "-")
	if err != nil {
		return "", "", err
	}
	if old != "" && old != id {
		// It may still be in use, and then goes with `make parts-clean` at the latest.
		_ = e.remove(ctx, old)
	}
	return id, version, nil
}

// versionOf asks an image which versions of its programs it holds.
func versionOf(ctx context.Context, e engine, p part, id string) (string, error) {
	args := []string{"run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", id, "--show", "--showformat", `${Version}\n`}
	var versions []string
	for _, prog := range p.Programs {
		out, err := e.ask(ctx, append(args, prog.Package)...)
		if err != nil {
			return "", fmt.Errorf("ask for the version of %s: %w", prog.Package, err)
		}
		versions = append(versions, prog.Name+" "+upstream(out))
	}
	return strings.Join(versions, ", "), nil
}

// clean removes the images of parts, and with all of them also the bases. What is not labelled as
// ours stays, whatever its name.
func clean(ctx context.Context, e engine, out io.Writer, list []part, bases bool) error {
	var errs []error
	drop := func(name, label string) {
		id, labels, err := e.image(ctx, name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case id == "" || labels[label] == "":
		default:
			if err := e.remove(ctx, name); err != nil {
				errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
				return
			}
			fmt.Fprintln(out, "removed", name)
		}
	}
	for _, p := range list {
		drop(p.image(), labelParts)
	}
	if bases {
		// Those of older recipes too; and parts that have lost their name to newer ones.
		for _, q := range []struct{ label, format string }{{labelParts, "{{.ID}}"}, {labelBase, "{{.Repository}}:{{.Tag}}"}} {
			names, err := e.ask(ctx, "image", "ls", "--filter", "label="+q.label, "--format", q.format)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			for _, name := range strings.Fields(names) {
				drop(name, q.label)
			}
		}
	}
	return errors.Join(errs...)
}

// line is one line of progress: a name, what is being done, what came of it and after how long.
type line struct {
	out   io.Writer
	begun time.Time
}

func newLine(out io.Writer, name string) *line {
	fmt.Fprintf(out, "%-14s", name)
	return &line{out: out, begun: time.Now()}
}

func (l *line) say(what string) { fmt.Fprint(l.out, " ", what, ";") }

func (l *line) end(what string) {
	took := time.Since(l.begun)
	if took >= time.Second {
		what += " (" + strconv.FormatFloat(took.Seconds(), 'f', 0, 64) + " s)"
	}
	fmt.Fprintln(l.out, "", what)
}
