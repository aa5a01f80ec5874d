package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"text/template/parse"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/load"
)

func (b *builder) load(f *fields) Load {
	l := Load{
		Rate: get(f, "rate", 0.0), For: f.duration("for", 0),
		Warmup: f.duration("warmup", DefaultWarmup), Timeout: f.duration("timeout", DefaultTimeout),
		Capacity: b.search(f),
	}
	if f.has("rate") && !f.has("for") {
		b.wrong(b.head(f.node), "load lacks %q", "for").expect("for: %s", duration{})
	}
	if l.Rate > 0 && l.For > 0 && l.Rate*l.For.Seconds() < 1 {
		b.wrong(f.valueOf("for"), "there is no request in it").expect("at least %s at this rate", time.Duration(float64(time.Second)/l.Rate))
	}
	named := make(map[string]*yaml.Node)
	for _, i := range get[[]item](f, "requests", nil) {
		one, ok := b.request(i)
		if !ok {
			continue
		}
		if first := named[one.Name]; first != nil {
			b.wrong(i.node, "two requests are named %s", quote(one.Name)).
				expect("another name, or a weight; the first stands in line %d", first.Line)
		}
		named[one.Name] = i.node
		l.Requests = append(l.Requests, one)
	}
	return l
}

func (b *builder) request(i item) (load.Request, bool) {
	if line, ok := i.v.(string); ok {
		method, path, _ := strings.Cut(line, " ")
		trimmed := strings.TrimLeft(path, " ")
		one := load.Request{Name: line, Weight: 1, Method: method, Path: trimmed}
		return one, b.path(i.node, len(line)-len(trimmed), trimmed)
	}
	f, ok := i.v.(*fields)
	if !ok || f.chosen["method"] == "" {
		return load.Request{}, false
	}
	path := f.at[f.chosen["method"]]
	p, ok := path.v.(string)
	if !ok {
		return load.Request{}, false
	}
	one := load.Request{
		Name: f.text("name"), Weight: get(f, "weight", 1.0), Method: f.chosen["method"], Path: p, Body: f.text("body"),
	}
	if one.Name == "" {
		one.Name = one.Method + " " + one.Path
	}
	ok = b.path(path.node, 0, one.Path)
	one.Headers = b.headers(f)
	if f.has("body") {
		b.template(f.at["body"].node, 0, one.Body)
	}
	if f.has("json") {
		b.json(&one, f)
	}
	if e := get[*fields](f, "expect", nil); e != nil {
		one.Expect = expectation(e)
	}
	return one, ok
}

// fillIn fills every request in once for every arm, so that a template that cannot work is an
// error here and not in a run.
func (b *builder) fillIn(s *Scenario, f *fields) {
	items := get[[]item](f, "requests", nil)
	for i, one := range s.Load.Requests {
		for _, arm := range s.Arms {
			p := load.Plan{Ingress: arm.Ingress.String(), Requests: []load.Request{one}, Env: arm.Env, Seed: s.Seed}
			if _, err := p.Templates(); err != nil {
				b.wrong(items[i].node, "arm %s cannot send it: %s", arm.Name, visible(executing.ReplaceAllString(err.Error(), ""))).
					expect("values that are there; .Env has what env in the target and in the arm says")
				break
			}
		}
	}
}

var executing = regexp.MustCompile(`^.*: executing .* at `)

func (b *builder) headers(f *fields) map[string]string {
	headers := make(map[string]string)
	for _, h := range get[[]item](f, "headers", nil) {
		headers[h.key.Value] = h.v.(string)
		b.template(h.node, 0, h.v.(string))
	}
	if len(headers) == 0 {
		return nil
	}
	return headers
}

// json makes the body of a request's JSON, and says so in its headers.
func (b *builder) json(one *load.Request, f *fields) {
	at := f.at["json"]
	if f.has("body") {
		b.wrong(at.key, "a request has one body, and here are two: body and json").expect("one of them")
		return
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(at.v); err != nil {
		b.wrong(at.node, "not JSON: %s", visible(err.Error()))
		return
	}
	one.Body = strings.TrimSuffix(body.String(), "\n")
	if err := checkTemplate(one.Body); err != nil {
		b.wrong(at.key, "%s", err.msg).expect("%s", err.want)
	}
	for name := range one.Headers {
		if strings.EqualFold(name, "Content-Type") {
			return
		}
	}
	if one.Headers == nil {
		one.Headers = make(map[string]string)
	}
	one.Headers["Content-Type"] = "application/json"
}

func expectation(f *fields) load.Expect {
	e := load.Expect{Contains: f.text("contains"), Within: f.duration("within", 0)}
	for _, s := range get[[]item](f, "status", nil) {
		e.Status = append(e.Status, int(s.v.(int64)))
	}
	if body, ok := f.at["body"].v.(string); ok {
		e.Body = &body
	}
	for _, h := range get[[]item](f, "header", nil) {
		if e.Header == nil {
			e.Header = make(map[string]string)
		}
		e.Header[h.key.Value] = h.v.(string)
	}
	return e
}

// path checks a request's path, which begins at a byte of the node's value.
func (b *builder) path(n *yaml.Node, offset int, path string) bool {
	if strings.HasPrefix(path, "//") {
		b.wrongAt(b.src.within(n, offset, 2), "the path begins with //, which is another host").expect("%s", template)
		return false
	}
	bare := actions.ReplaceAllStringFunc(path, func(a string) string { return strings.Repeat("x", len(a)) })
	if i := strings.IndexFunc(bare, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }); i >= 0 {
		want := map[byte]string{' ': "%20 for a space", '#': "%23 for #, or nothing: a fragment is never sent"}[bare[i]]
		if want == "" {
			want = "printable characters"
		}
		b.wrongAt(b.src.within(n, offset+i, 1), "%q in a path", bare[i]).expect("%s", want)
		return false
	}
	return b.template(n, offset, path)
}

var actions = regexp.MustCompile(`\{\{[^}]*\}\}`)

func (b *builder) template(n *yaml.Node, offset int, text string) bool {
	err := checkTemplate(text)
	if err == nil {
		return true
	}
	at := b.src.of(n)
	if err.word != "" {
		if i := strings.Index(text, err.word); i >= 0 {
			at = b.src.within(n, offset+i, len(err.word))
		}
	}
	e := b.wrongAt(at, "%s", err.msg).expect("%s", err.want)
	if err.word != "" {
		e.near(err.word, templateFields)
	}
	return false
}

// templateFields is what paths, headers and bodies may use; laterFields are of the format
// and not of this version.
var (
	templateFields = []string{".Key", ".Value", ".Seq", ".Env"}
	laterFields    = []string{".Captured"}
)

// A templateError says what is wrong with a template, and which word of it.
type templateError struct{ msg, word, want string }

const templateWant = "a Go template with .Key, .Value, .Seq or .Env, such as {{.Key}}"

// builtins are the functions of text/template that a request has use for.
var builtins = map[string]any{
	"and": true, "or": true, "not": true, "len": true, "index": true, "slice": true, "print": true, "printf": true, "println": true,
	"urlquery": true, "js": true, "html": true, "eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true,
}

var templatePrefix = regexp.MustCompile(`^template: [^:]*:\d+: *`)

func checkTemplate(text string) *templateError {
	trees, err := parse.Parse("request", text, "", "", builtins)
	if err != nil {
		return &templateError{msg: "not a template: " + visible(templatePrefix.ReplaceAllString(err.Error(), "")), want: templateWant}
	}
	for _, t := range trees {
		if bad := checkNode(t.Root, true); bad != nil {
			return bad
		}
	}
	return nil
}

// checkNode looks for fields that requests do not have. Within `with` and `range` the dot is
// something else, and only $ is looked at.
func checkNode(n parse.Node, dot bool) *templateError {
	first := func(nodes ...parse.Node) *templateError {
		for _, c := range nodes {
			if bad := checkNode(c, dot); bad != nil {
				return bad
			}
		}
		return nil
	}
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return first(n.Nodes...)
	case *parse.ActionNode:
		return checkNode(n.Pipe, dot)
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Cmds {
			if bad := first(c.Args...); bad != nil {
				return bad
			}
		}
	case *parse.IfNode:
		return first(n.Pipe, n.List, n.ElseList)
	case *parse.WithNode:
		return cmpNodes(checkNode(n.Pipe, dot), checkNode(n.List, false), checkNode(n.ElseList, dot))
	case *parse.RangeNode, *parse.TemplateNode:
		return &templateError{msg: "range, template, define and block have no use in a request", want: templateWant}
	case *parse.FieldNode:
		if dot {
			return checkField(n.Ident)
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return checkField(n.Ident[1:])
		}
	case *parse.ChainNode:
		return checkNode(n.Node, dot)
	}
	return nil
}

func cmpNodes(errs ...*templateError) *templateError {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func checkField(ident []string) *templateError {
	name := "." + ident[0]
	want := "one of " + strings.Join(templateFields, ", ")
	for _, later := range laterFields {
		if name == later {
			return &templateError{name + " is part of the format, but this version of tutti lacks it", name, want}
		}
	}
	known := false
	for _, f := range templateFields {
		known = known || f == name
	}
	switch {
	case !known:
		return &templateError{fmt.Sprintf("unknown template field %s", quote(name)), name, want}
	case name != ".Env" && len(ident) > 1:
		return &templateError{fmt.Sprintf("%s has no fields", name), name, "{{" + name + "}}"}
	case len(ident) > 2:
		return &templateError{".Env has variables, and they have no fields", name, "{{.Env.NAME}}"}
	}
	return nil
}
