package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/load"
)

func (b *builder) load(f *fields) Load {
	l := Load{
		Schedule: b.schedule(f), Timeout: f.duration("timeout", DefaultTimeout),
		Keys:     uint64(get(f, "keys", int64(0))),
		Capacity: b.search(f),
		Client:   b.client(f),
		Agents:   int(get(f, "agents", int64(1))),
	}
	named := make(map[string]*yaml.Node)
	once := func(what, name string, n *yaml.Node, instead string) {
		if first := named[name]; first != nil {
			b.wrong(n, "two %s are named %s", what, quote(name)).expect("%s; the first stands in line %d", instead, first.Line)
		}
		named[name] = n
	}
	for _, i := range get[[]item](f, "requests", nil) {
		if f, ok := i.v.(*fields); ok && f.has("steps") {
			one, steps := b.session(f, len(l.Sessions)+1)
			one.First = len(l.Requests)
			if f.has("name") {
				once("requests or sessions", one.Name, f.valueOf("name"), "another name")
			}
			for _, step := range steps {
				once("requests", step.Name, step.i.node, "another name for one of them")
				l.Requests = append(l.Requests, step.Request)
			}
			l.Sessions = append(l.Sessions, one)
			continue
		}
		one, ok := b.request(i, scope{})
		if !ok {
			continue
		}
		once("requests", one.Name, i.node, "another name, or a weight")
		l.Requests = append(l.Requests, one)
	}
	if l.Agents > 1 && l.Schedule.Closed() {
		b.wrong(f.valueOf("agents"), "the users of a closed loop cannot be shared out among %d agents", l.Agents).expect("agents: 1, or stages with rates")
	}
	if l.Agents > 1 && len(l.Sessions) > 0 {
		b.wrong(f.valueOf("agents"), "the steps of a session cannot be shared out among %d agents", l.Agents).expect("agents: 1, or requests without steps")
	}
	switch at := f.valueOf("connections"); {
	case l.Client.Connections == 0:
	case l.Agents > l.Client.Connections:
		b.wrong(at, "%d agents share %d connections", l.Agents, l.Client.Connections).expect("at least one for each agent")
	case l.Schedule.Closed() && l.Schedule.Users() > l.Client.Connections:
		b.wrong(at, "%d users, each with a request of its own, share %d connections", l.Schedule.Users(), l.Client.Connections).
			expect("at least one for each user, or stages with rates")
	}
	if n := len(l.Requests); n > maxRequests {
		b.wrong(b.head(f.valueOf("requests")), "there are %d requests, steps counted", n).expect("at most %d", maxRequests)
	}
	return l
}

// A sent is a request, and where it stands.
type sent struct {
	load.Request
	i item
}

func (b *builder) request(i item, in scope) (load.Request, bool) {
	if line, ok := i.v.(string); ok {
		method, path, _ := strings.Cut(line, " ")
		trimmed := strings.TrimLeft(path, " ")
		one := load.Request{Name: line, Weight: 1, Method: method, Path: trimmed}
		return one, b.path(i.node, len(line)-len(trimmed), trimmed, in)
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
	ok = b.path(path.node, 0, one.Path, in)
	one.Headers = b.headers(f, in)
	if f.has("body") {
		b.template(f.at["body"].node, 0, one.Body, in)
	}
	if f.has("json") {
		b.json(&one, f, in)
	}
	if e := get[*fields](f, "expect", nil); e != nil {
		one.Expect = expectation(e)
	}
	return one, ok
}

// fillIn fills every request in once for every arm, so that a template that cannot work is an
// error here and not in a run.
func (b *builder) fillIn(s *Scenario, f *fields) {
	at := 0
	for _, i := range get[[]item](f, "requests", nil) {
		one, ok := i.v.(*fields)
		if !ok || !one.has("steps") {
			b.fillOne(s, i, load.Plan{Requests: s.Load.Requests[at : at+1]})
			at++
			continue
		}
		for n, step := range get[[]item](one, "steps", nil) { // with those before it
			p := load.Plan{Requests: s.Load.Requests[at : at+n+1], Sessions: []load.Session{{Steps: n + 1}}}
			if !b.fillOne(s, step, p) {
				break
			}
		}
		at += len(get[[]item](one, "steps", nil))
	}
	if len(b.errs) == 0 {
		b.reached(s, f)
	}
}

func (b *builder) fillOne(s *Scenario, i item, p load.Plan) bool {
	p.Seed = s.Seed
	for _, arm := range s.Arms {
		p.Ingress, p.Env = arm.Ingress.String(), arm.Env
		if _, err := p.Templates(); err != nil {
			b.wrong(i.node, "arm %s cannot send it: %s", arm.Name, visible(executing.ReplaceAllString(err.Error(), ""))).
				expect("values that are there; .Env has what env in the target and in the arm says")
			return false
		}
	}
	return true
}

var executing = regexp.MustCompile(`^.*: executing .* at `)

func (b *builder) headers(f *fields, in scope) map[string]string {
	headers := make(map[string]string)
	for _, h := range get[[]item](f, "headers", nil) {
		headers[h.key.Value] = h.v.(string)
		b.template(h.node, 0, h.v.(string), in)
	}
	if len(headers) == 0 {
		return nil
	}
	return headers
}

// json makes the body of a request's JSON, and says so in its headers.
func (b *builder) json(one *load.Request, f *fields, in scope) {
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
	if err := checkTemplate(one.Body, in); err != nil {
		b.wrong(at.key, "%s", err.msg).expect("%s", err.want).near(err.word, err.near())
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
func (b *builder) path(n *yaml.Node, offset int, path string, in scope) bool {
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
	return b.template(n, offset, path, in)
}

var actions = regexp.MustCompile(`\{\{[^}]*\}\}`)

func (b *builder) template(n *yaml.Node, offset int, text string, in scope) bool {
	err := checkTemplate(text, in)
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
		e.near(err.word, err.near())
	}
	return false
}

// templateFields is what paths, headers and bodies may use; steps of a session may use .Captured too.
var templateFields = []string{".Key", ".Value", ".Seq", ".Env"}

// A templateError says what is wrong with a template, and which word of it.
type templateError struct {
	msg, word, want string
	words           []string // what the word may have been; nil: a field
}

func (e *templateError) near() []string {
	if e.words != nil {
		return e.words
	}
	return templateFields
}

const templateWant = "a Go template with .Key, .Value, .Seq or .Env, such as {{.Key}}"

// builtins are the functions of text/template that a request has use for.
var builtins = map[string]any{
	"and": true, "or": true, "not": true, "len": true, "index": true, "slice": true, "print": true, "printf": true, "println": true,
	"urlquery": true, "js": true, "html": true, "eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true,
}

var templatePrefix = regexp.MustCompile(`^template: [^:]*:\d+: *`)

func checkTemplate(text string, in scope) *templateError {
	trees, err := parse.Parse("request", text, "", "", builtins)
	if err != nil {
		return &templateError{msg: "not a template: " + visible(templatePrefix.ReplaceAllString(err.Error(), "")), want: templateWant}
	}
	for _, t := range trees {
		if bad := in.checkNode(t.Root, true); bad != nil {
			return bad
		}
	}
	return nil
}

// checkNode looks for fields that requests do not have. Within `with` and `range` the dot is
// something else, and only $ is looked at.
func (in scope) checkNode(n parse.Node, dot bool) *templateError {
	first := func(nodes ...parse.Node) *templateError {
		for _, c := range nodes {
			if bad := in.checkNode(c, dot); bad != nil {
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
		return in.checkNode(n.Pipe, dot)
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
		return cmpNodes(in.checkNode(n.Pipe, dot), in.checkNode(n.List, false), in.checkNode(n.ElseList, dot))
	case *parse.RangeNode, *parse.TemplateNode:
		return &templateError{msg: "range, template, define and block have no use in a request", want: templateWant}
	case *parse.FieldNode:
		if dot {
			return in.checkField(n.Ident)
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return in.checkField(n.Ident[1:])
		}
	case *parse.ChainNode:
		return in.checkNode(n.Node, dot)
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

func (in scope) checkField(ident []string) *templateError {
	name := "." + ident[0]
	want := "one of " + strings.Join(in.fields(), ", ")
	if name == ".Captured" {
		return in.check(ident[1:])
	}
	known := false
	for _, f := range templateFields {
		known = known || f == name
	}
	switch {
	case !known:
		return &templateError{msg: fmt.Sprintf("unknown template field %s", quote(name)), word: name, want: want, words: in.fields()}
	case name != ".Env" && len(ident) > 1:
		return &templateError{msg: fmt.Sprintf("%s has no fields", name), word: name, want: "{{" + name + "}}"}
	case len(ident) > 2:
		return &templateError{msg: ".Env has variables, and they have no fields", word: name, want: "{{.Env.NAME}}"}
	}
	return nil
}

// fields are those of a template in this scope.
func (in scope) fields() []string {
	if in.session {
		return append(slices.Clone(templateFields), ".Captured")
	}
	return templateFields
}
