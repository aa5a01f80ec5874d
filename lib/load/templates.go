package load

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"text/template"

	"golang.org/x/net/http/httpguts"
)

// Templates are the requests of a plan, ready to be filled in. They are safe for
// concurrent use.
//
// Everything here is a pure function of the plan's seed and of the request's number in the
// schedule, so that every arm of a block gets the same requests, and so that a
// reader can ask later for what a writer wrote.
type Templates struct {
	seed    int64
	env     map[string]string
	base    string
	cum     []float64 // running sums of the weights
	entries []entry
}

// A Message is one request as it goes out. Its URL and header are shared with
// other messages and must not be changed.
type Message struct {
	Method string
	URL    *url.URL
	Host   string // for the Host header, if it differs from the URL's; else ""
	Header http.Header
	Body   string
}

type entry struct {
	name, method string
	path, body   text
	host         text
	headers      map[string]text
	fixedURL     *url.URL    // where the path is no template
	fixedHeader  http.Header // where no header is a template
}

// A text is a template, or plain text if t is nil.
type text struct {
	plain string
	t     *template.Template
}

// Templates reads the plan's templates and fills each in once, so that one that
// cannot work is an error here and not in the middle of a trial.
func (p Plan) Templates() (*Templates, error) {
	base, err := url.Parse(p.Ingress)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("ingress %q: want a URL such as http://lb:8080", p.Ingress)
	}
	t := &Templates{seed: p.Seed, env: p.Env, base: strings.TrimRight(base.Scheme+"://"+base.Host+base.EscapedPath(), "/")}
	sum := 0.0
	for i, r := range p.Requests {
		e, err := t.entry(r)
		if err == nil {
			t.entries = append(t.entries, e)
			_, err = t.Message(i, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("request %q: %w", r.Name, err)
		}
		w := r.Weight
		if w == 0 {
			w = 1
		}
		if !(w > 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("request %q: weight %v: must be above 0", r.Name, r.Weight)
		}
		sum += w
		t.cum = append(t.cum, sum)
	}
	if len(t.entries) == 0 {
		return nil, errors.New("no requests")
	}
	return t, nil
}

func (t *Templates) entry(r Request) (entry, error) {
	e := entry{name: r.Name, method: r.Method, headers: make(map[string]text)}
	if e.method == "" {
		e.method = http.MethodGet
	}
	if !strings.HasPrefix(r.Path, "/") {
		return e, fmt.Errorf("path %q: must begin with /", r.Path)
	}
	var errs []error
	read := func(what, s string) text {
		got, err := newText(what, s)
		errs = append(errs, err)
		return got
	}
	e.path, e.body = read("path", r.Path), read("body", r.Body)
	fixed := true
	for name, value := range r.Headers {
		v := read("header "+name, value)
		if http.CanonicalHeaderKey(name) == "Host" {
			e.host = v
			continue
		}
		e.headers[name] = v
		fixed = fixed && v.t == nil
	}
	if err := errors.Join(errs...); err != nil {
		return e, err
	}
	if fixed {
		e.fixedHeader, _ = e.header(nil)
	}
	if e.path.t == nil {
		u, err := url.Parse(t.base + e.path.plain)
		if err != nil {
			return e, err
		}
		e.fixedURL = u
	}
	if !httpguts.ValidHeaderFieldName(e.method) { // both are tokens (RFC 9110, 5.6.2)
		return e, fmt.Errorf("method %q: want one such as GET", e.method)
	}
	return e, nil
}

func newText(what, s string) (text, error) {
	if !strings.Contains(s, "{{") {
		return text{plain: s}, nil
	}
	t, err := template.New(what).Option("missingkey=error").Parse(s)
	return text{t: t}, err
}

func (x text) fill(n *numbered) (string, error) {
	if x.t == nil {
		return x.plain, nil
	}
	var b strings.Builder
	if err := x.t.Execute(&b, n); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Pick returns which of the plan's requests the one with this number is: a choice by
// weight that depends on nothing but seed and number.
func (t *Templates) Pick(seq uint64) int {
	if len(t.cum) == 1 {
		return 0
	}
	// 53 bits are what a float64 holds.
	u := float64(hash(t.seed, seq, saltPick)>>11) / (1 << 53)
	at := u * t.cum[len(t.cum)-1]
	i := sort.Search(len(t.cum), func(i int) bool { return t.cum[i] > at })
	return min(i, len(t.cum)-1)
}

// Message fills in request i, an index into the plan's requests, for the number seq.
func (t *Templates) Message(i int, seq uint64) (Message, error) {
	e := &t.entries[i]
	n := &numbered{Seq: seq, Env: t.env, seed: t.seed}
	m := Message{Method: e.method, URL: e.fixedURL, Header: e.fixedHeader}
	var err error
	if m.URL == nil {
		path, err := e.path.fill(n)
		if err != nil {
			return m, err
		}
		if m.URL, err = url.Parse(t.base + path); err != nil {
			return m, err
		}
	}
	if m.Header == nil {
		if m.Header, err = e.header(n); err != nil {
			return m, err
		}
	}
	if m.Host, err = e.host.fill(n); err != nil {
		return m, err
	}
	m.Body, err = e.body.fill(n)
	return m, err
}

func (e *entry) header(n *numbered) (http.Header, error) {
	h := make(http.Header, len(e.headers)+1)
	h.Set("User-Agent", "tutti")
	for name, x := range e.headers {
		v, err := x.fill(n)
		if err != nil {
			return nil, err
		}
		h.Set(name, v)
	}
	return h, nil
}

// numbered is what a template sees.
type numbered struct {
	Seq  uint64
	Env  map[string]string
	seed int64
}

// Key is [Key].
func (n *numbered) Key() string { return Key(n.seed, n.Seq) }

// Value is [Value].
func (n *numbered) Value() string { return Value(n.seed, n.Seq) }

// Key is what .Key stands for in a template: with one seed, no two numbers have
// the same.
func Key(seed int64, seq uint64) string { return fmt.Sprintf("k%016x", hash(seed, seq, saltKey)) }

// Value is what .Value stands for in a template: with one seed, no two numbers
// have the same.
func Value(seed int64, seq uint64) string { return fmt.Sprintf("v%016x", hash(seed, seq, saltValue)) }

// The salts keep the three uses of a number apart.
const (
	saltPick  = 0x70696b
	saltKey   = 0x6b6579
	saltValue = 0x76616c
)

// hash is a bijection of seq for any seed and salt: adding a constant and mixing are.
func hash(seed int64, seq, salt uint64) uint64 { return mix(mix(uint64(seed)^salt<<32) + seq) }

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable
// pseudorandom number generators", OOPSLA 2014; variant 13 of Stafford's constants), a bijection.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
