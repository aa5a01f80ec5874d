package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/slo"
)

// Limits on a file, so that a hostile one costs little.
const (
	maxFile   = 1 << 20 // bytes
	maxDepth  = 40      // collections within collections
	maxNodes  = 20_000  // nodes, each alias counted as what it stands for
	maxErrors = 50      // shown
	maxFound  = 500     // looked for
)

// A reader reads one file and collects what is wrong with it.
type reader struct {
	file  string
	src   *source
	errs  Errors
	keyOf map[*yaml.Node]*yaml.Node // the key of a mapping's value
}

// document reads the file's one YAML document; nil if there is none that can be read.
func (r *reader) document(src []byte) *yaml.Node {
	switch {
	case len(src) > maxFile:
		r.wrongAt(place{1, 1, 1}, "the file has %d bytes", len(src)).expect("at most %d bytes", maxFile)
		return nil
	case !utf8.Valid(src):
		r.notText(src)
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))))
	var doc, second yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		r.wrongAt(place{1, 1, 1}, "the file is empty").expect("a scenario, beginning with version: 1")
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	if err := d.Decode(&second); err == nil {
		r.wrongAt(r.src.clamp(place{second.Line, second.Column, 3}), "a second YAML document").
			expect("one scenario a file")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.wrongAt(place{1, 1, 1}, "the file is empty").expect("a scenario, beginning with version: 1")
		return nil
	}
	count := 0
	if !r.sound(doc.Content[0], nil, &count) {
		return nil
	}
	return deref(doc.Content[0])
}

// notText reports the first byte that is not UTF-8.
func (r *reader) notText(src []byte) {
	i := 0
	for i < len(src) {
		c, n := utf8.DecodeRune(src[i:])
		if c == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	before := newSource(src[:i])
	line := len(before.lines)
	r.wrongAt(r.src.clamp(place{line, len(before.lines[line-1]) + 1, 1}), "the file is not UTF-8 text").expect("UTF-8")
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// fromParser are the messages of the library's parser, as against its scanner: their lines count from 0.
var fromParser = regexp.MustCompile(`^did not find expected (',' or|key|'-'|node content|<document start>)`)

// syntax reports what the YAML library could not read.
func (r *reader) syntax(err error) {
	line, msg := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(strings.SplitN(msg, "\n", 2)[0]); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		if msg = m[2]; fromParser.MatchString(msg) && m[1] != "" {
			line++
		}
	}
	if m := unknownAnchor.FindStringSubmatch(msg); m != nil && r.anchor(m[1]) {
		return
	}
	if strings.Contains(msg, "expected key") || strings.Contains(msg, "expected '-'") {
		line = r.firstBadLine(msg)
	}
	line = min(max(line, 1), len(r.src.lines))
	text := string(r.src.lines[line-1])
	trimmed := strings.TrimLeft(text, " ")
	at := place{line, utf8.RuneCountInString(text) - utf8.RuneCountInString(trimmed) + 1, utf8.RuneCountInString(strings.TrimRight(trimmed, " \t"))}
	e := r.wrongAt(r.src.clamp(at), "not YAML: %s", visible(msg))
	if strings.HasPrefix(trimmed, "\t") {
		e.Length = 1
	}
	e.Expected = adviceFor(msg, trimmed)
}

// adviceFor says what to do about a message of the YAML library, or "".
func adviceFor(msg, line string) string {
	for _, a := range []struct {
		applies bool
		advice  string
	}{
		{strings.HasPrefix(line, "\t"), "spaces: YAML is never indented by tabs"},
		{strings.Contains(line, "{{"), "quotes around a value with {{ in it"},
		{strings.Contains(msg, "mapping values are not allowed"), "quotes around a value with a colon and a space in it, or another indentation"},
		{strings.Contains(msg, "',' or"), "a bracket closed, or quotes around a value with one of { } [ ] , in it, here or in a line below"},
		{strings.Contains(msg, "expected key"), "the indentation of the lines around it"},
		{strings.Contains(msg, "expected '-'"), "the indentation of the lines around it, or a dash"},
		{strings.Contains(msg, "expected ':'"), "a key with a colon and a space after it, or a dash before an item of a list"},
		{strings.Contains(msg, "end of stream"), "a closing quote"},
	} {
		if a.applies {
			return a.advice
		}
	}
	return ""
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)

// anchor reports an alias without its anchor, if it finds where it stands.
func (r *reader) anchor(name string) bool {
	for i, l := range r.src.lines {
		if at := strings.Index(string(l), "*"+name); at >= 0 {
			column := utf8.RuneCountInString(string(l)[:at]) + 1
			r.wrongAt(r.src.clamp(place{i + 1, column, utf8.RuneCountInString(name) + 1}), "alias %s stands for nothing", quote("*"+name)).
				expect("an anchor &%s before it, or quotes around a value that begins with *", name)
			return true
		}
	}
	return false
}

// firstBadLine finds the line that the library's message does not name: the last line of the
// shortest beginning of the file that has the same fault.
func (r *reader) firstBadLine(msg string) int {
	return 1 + sort.Search(len(r.src.lines)-1, func(k int) bool {
		var b strings.Builder
		for _, l := range r.src.lines[:k+1] {
			b.WriteString(string(l) + "\n")
		}
		err := yaml.Unmarshal([]byte(b.String()), new(yaml.Node))
		return err != nil && strings.HasSuffix(err.Error(), msg)
	})
}

// sound reports what no part of a scenario may have: merge keys, tags, aliases that blow up.
func (r *reader) sound(n *yaml.Node, path []*yaml.Node, count *int) bool {
	if *count++; *count > maxNodes {
		r.wrong(n, "the file is too large: its aliases included, it has more than %d values", maxNodes)
		return false
	}
	if len(path) > maxDepth {
		r.wrong(n, "collections are nested too deeply").expect("at most %d levels", maxDepth)
		return false
	}
	if n.Kind == yaml.AliasNode {
		for _, outer := range path {
			if outer == n.Alias {
				r.wrong(n, "the alias *%s stands within itself", n.Value)
				return false
			}
		}
		return r.sound(n.Alias, append(path, n), count)
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" && n.Tag != "!!map" && n.Tag != "!!seq" {
		r.wrong(n, "the tag %s means nothing here", quote(n.Tag)).expect("a value without a tag")
		return false
	}
	good := true
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Tag == "!!merge" && c.Value == "<<" {
			r.wrong(c, "merge keys (<<) are not part of YAML 1.2").expect("the keys written out, or an alias for a whole value")
			good = false
			continue
		}
		if !r.sound(c, append(path, n), count) {
			return false
		}
	}
	return good
}

// deref is the node that an alias stands for.
func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// isKey reports whether a node can be a key: a word that was not there before.
func (r *reader) isKey(k *yaml.Node, seen map[string]bool) bool {
	if k.Kind != yaml.ScalarNode || coreType(k) == "null" {
		r.wrong(k, "a key must be a word")
		return false
	}
	if seen[k.Value] {
		r.wrong(k, "key %s is there twice", quote(k.Value)).expect("each key once")
		return false
	}
	seen[k.Value] = true
	return true
}

// head is the node to point at when something is missing inside n: its key, if it has one.
func (r *reader) head(n *yaml.Node) *yaml.Node {
	if k := r.keyOf[n]; k != nil {
		return k
	}
	return n
}

func (r *reader) wrong(n *yaml.Node, format string, args ...any) *Error {
	if len(r.errs) >= maxFound {
		return r.wrongAt(place{}, format, args...)
	}
	return r.wrongAt(r.src.of(n), format, args...)
}

func (r *reader) wrongAt(p place, format string, args ...any) *Error {
	e := r.place(p)
	e.Msg = fmt.Sprintf(format, args...)
	if len(r.errs) < maxFound {
		r.errs = append(r.errs, e)
	}
	return e
}

// place is an error there, without what is wrong.
func (r *reader) place(p place) *Error {
	return &Error{
		File: r.file, Line: p.line, Column: p.column, Length: p.length, Source: r.src.line(p.line), Above: r.src.line(p.line - 1),
	}
}

// want reports a value of the wrong kind.
func (r *reader) want(n *yaml.Node, f form) (any, bool) {
	what := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[n.Kind]
	if n.Kind == yaml.ScalarNode {
		if what = quote(n.Value); coreType(n) == "null" {
			what = "nothing"
		}
	}
	at := n
	if what == "nothing" && n.Value == "" {
		at = r.head(n)
	}
	if k := r.keyOf[n]; k != nil && k.Kind == yaml.ScalarNode {
		what = quote(k.Value) + " is " + what
	} else {
		what = "this is " + what
	}
	e := r.wrong(at, "%s", what).expect("%s", f)
	if rest, _ := r.src.rest(n); n.Kind == yaml.MappingNode && len(rest) > 1 && rest[0] == '{' && rest[1] == '{' {
		e.expect("quotes around a value that begins with {{")
	}
	return nil, false
}

// lacks reports what is part of the format and not of this version.
func (r *reader) lacks(n *yaml.Node, what string) *Error {
	return r.wrong(n, "%s is part of the format, but this version of tutti lacks it", what)
}

func (e *Error) expect(format string, args ...any) *Error {
	e.Expected = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) near(word string, words []string) *Error {
	e.Nearest = slo.Nearest(word, words)
	return e
}

var (
	coreIntPattern   = regexp.MustCompile(`^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	coreFloatPattern = regexp.MustCompile(`^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// coreType is a scalar's type by the core schema of YAML 1.2 (section 10.3.2), which is not the
// library's: yes, on, 1_000 and 2001-01-01 are strings.
func coreType(n *yaml.Node) string {
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
	if n.Kind != yaml.ScalarNode || !plain {
		return "string"
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return "null"
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return "bool"
	}
	switch {
	case coreIntPattern.MatchString(n.Value):
		return "int"
	case coreFloatPattern.MatchString(n.Value):
		return "float"
	}
	return "string"
}

// coreInt is a scalar's value as an integer of the core schema.
func coreInt(n *yaml.Node) (int64, bool) {
	if coreType(n) != "int" {
		return 0, false
	}
	base, digits := 10, n.Value
	switch {
	case strings.HasPrefix(digits, "0o"):
		base, digits = 8, digits[2:]
	case strings.HasPrefix(digits, "0x"):
		base, digits = 16, digits[2:]
	}
	v, err := strconv.ParseInt(digits, base, 64)
	return v, err == nil
}
