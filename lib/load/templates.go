package load

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
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
	keys    uint64
	env     map[string]string
	base    string
	mix     *mix
	alone   []int     // the requests that belong to no session
	cum     []float64 // running sums of their weights
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
	needs        []string    // captured names that its templates use
	wants        Wanted
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
	t := &Templates{seed: p.Seed, keys: p.Keys, env: p.Env, base: strings.TrimRight(base.Scheme+"://"+base.Host+base.EscapedPath(), "/")}
	session, err := p.membership()
	if err != nil {
		return nil, err
	}
	captured := make(map[string]string) // by the steps so far of the session
	sum := 0.0
	for i, r := range p.Requests {
		if session[i] < 0 || p.Sessions[session[i]].First == i {
			clear(captured)
		}
		e, err := t.entry(r)
		if err == nil {
			t.entries = append(t.entries, e)
			err = t.try(i, session[i] >= 0, captured)
		}
		if err != nil {
			return nil, fmt.Errorf("request %q: %w", r.Name, err)
		}
		if session[i] >= 0 {
			continue
		}
		w, err := weight(r.Weight)
		if err != nil {
			return nil, fmt.Errorf("request %q: %w", r.Name, err)
		}
		sum += w
		t.alone, t.cum = append(t.alone, i), append(t.cum, sum)
	}
	if len(t.entries) == 0 {
		return nil, errors.New("no requests")
	}
	t.mix, err = newMix(p, sum)
	return t, err
}

// membership says of each request which session it is a step of, -1 for none.
func (p Plan) membership() ([]int, error) {
	of := make([]int, len(p.Requests))
	for i := range of {
		of[i] = -1
	}
	for k, s := range p.Sessions {
		switch {
		case s.Steps <= 0 || s.First < 0 || s.First > len(p.Requests)-s.Steps:
			return nil, fmt.Errorf("session %q: its steps are no requests of the plan", s.Name)
		case s.Think < 0:
			return nil, fmt.Errorf("session %q: think %v: must not be below 0", s.Name, s.Think)
		}
		if _, err := weight(s.Weight); err != nil {
			return nil, fmt.Errorf("session %q: %w", s.Name, err)
		}
		for i := s.First; i < s.First+s.Steps; i++ {
			if of[i] >= 0 {
				return nil, fmt.Errorf("request %q: is a step of two sessions", p.Requests[i].Name)
			}
			of[i] = k
		}
	}
	return of, nil
}

func weight(w float64) (float64, error) {
	if w == 0 {
		return 1, nil
	}
	if !(w > 0) || math.IsInf(w, 0) {
		return 0, fmt.Errorf("weight %v: must be above 0", w)
	}
	return w, nil
}

// standIn is what a captured value is taken for until there is one: long enough for a template that cuts it.
const standIn = "0000000000000000000000000000000000000000000000000000000000000000"

// try fills request i in once, with stand-ins for what the steps before it captured, and adds what it captures itself.
func (t *Templates) try(i int, step bool, captured map[string]string) error {
	e := &t.entries[i]
	if !step && len(e.wants.captors) > 0 {
		return errors.New("captures a value, and belongs to no session whose later steps could use it")
	}
	for _, name := range e.needs {
		if _, ok := captured[name]; !ok {
			return fmt.Errorf("uses .Captured.%s, and no step before it in its session captures that", name)
		}
	}
	if _, err := t.Message(Turn{Request: i}, captured); err != nil {
		return err
	}
	for _, c := range e.wants.captors {
		captured[c.name] = standIn
	}
	return nil
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
	for _, c := range r.Capture {
		got, err := newCaptor(c)
		e.wants.captors, errs = append(e.wants.captors, got), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return e, err
	}
	e.needs = needs(r)
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

var capturedField = regexp.MustCompile(`\.Captured\.([A-Za-z_][A-Za-z0-9_]*)`)

// needs lists the captured names that a request's templates use.
func needs(r Request) []string {
	texts := []string{r.Path, r.Body}
	for _, v := range r.Headers {
		texts = append(texts, v)
	}
	var names []string
	for _, text := range texts {
		for _, m := range capturedField.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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

// Turn says which of the plan's requests the one with this number is, and whose: a function of seed and
// number alone, in time that does not grow with the number.
func (t *Templates) Turn(seq uint64) Turn {
	turn, ofSession := t.mix.turn(seq)
	if !ofSession {
		turn.Request = t.alone[t.pick(seq)]
	}
	return turn
}

// pick chooses one of the requests that belong to no session, by weight.
func (t *Templates) pick(seq uint64) int {
	if len(t.cum) == 1 {
		return 0
	}
	// 53 bits are what a float64 holds.
	u := float64(hash(t.seed, seq, saltPick)>>11) / (1 << 53)
	at := u * t.cum[len(t.cum)-1]
	i := sort.Search(len(t.cum), func(i int) bool { return t.cum[i] > at })
	return min(i, len(t.cum)-1)
}

// Needs are the captured names without which a request cannot be sent, in order.
func (t *Templates) Needs(request int) []string { return t.entries[request].needs }

// Fixed reports whether a request is the same each time it is sent.
func (t *Templates) Fixed(request int) bool {
	e := &t.entries[request]
	return e.fixedURL != nil && e.fixedHeader != nil && e.host.t == nil && e.body.t == nil
}

// Wanted is what a request captures.
func (t *Templates) Wanted(request int) *Wanted { return &t.entries[request].wants }

// Message fills in the request of a turn, with what its session has captured so far.
func (t *Templates) Message(turn Turn, captured map[string]string) (Message, error) {
	e := &t.entries[turn.Request]
	n := &numbered{Seq: turn.Seq, Env: t.env, Captured: captured, client: turn.Client, seed: t.seed, keys: t.keys}
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
	Seq      uint64
	Env      map[string]string
	Captured map[string]string
	client   uint64
	seed     int64
	keys     uint64
}

// Key is [Key] of the client, the same in all steps of a session; where keys are bounded that of its [KeyOf].
func (n *numbered) Key() string {
	if n.keys > 0 {
		return Key(n.seed, KeyOf(n.seed, n.client, n.keys))
	}
	return Key(n.seed, n.client)
}

// Value is [Value] of the client.
func (n *numbered) Value() string { return Value(n.seed, n.client) }

// Key is what .Key stands for in a template: with one seed, no two numbers have
// the same.
func Key(seed int64, seq uint64) string { return fmt.Sprintf("k%016x", hash(seed, seq, saltKey)) }

// Value is what .Value stands for in a template: with one seed, no two numbers
// have the same.
func Value(seed int64, seq uint64) string { return fmt.Sprintf("v%016x", hash(seed, seq, saltValue)) }

// KeyOf is the number, below keys, of the key that a client has where keys are bounded: as if drawn.
func KeyOf(seed int64, client, keys uint64) uint64 { return hash(seed, client, saltSpread) % keys }

// ClientOf is the inverse of [Value]: which number has this value. Every value of the right form has one, be it that of no request.
func ClientOf(seed int64, value string) (client uint64, ok bool) {
	digits, ok := strings.CutPrefix(value, "v")
	if !ok || len(digits) != 16 {
		return 0, false
	}
	z, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, false
	}
	return unmix64(z) - mix64(uint64(seed)^saltValue<<32), true
}

// The salts keep the uses of a number apart.
const (
	saltPick  = 0x70696b
	saltKey   = 0x6b6579
	saltValue = 0x76616c
	saltOwner = 0x6f776e
	saltRow   = 0x726f77

	saltSpread = 0x737072
)

// hash is a bijection of seq for any seed and salt: adding a constant and mixing are.
func hash(seed int64, seq, salt uint64) uint64 { return mix64(mix64(uint64(seed)^salt<<32) + seq) }

// mix64 is the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable
// pseudorandom number generators", OOPSLA 2014; variant 13 of Stafford's constants), a bijection.
func mix64(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unmix64 is the inverse of mix64: the multipliers are inverses modulo 2⁶⁴, and each shift is undone by repeating it.
func unmix64(z uint64) uint64 {
	z ^= z>>31 ^ z>>62
	z *= 0x319642b2d24d8ec3
	z ^= z>>27 ^ z>>54
	z *= 0x96de1b173f119089
	z ^= z>>30 ^ z>>60
	return z - 0x9e3779b97f4a7c15
}
