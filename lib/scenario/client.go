package scenario

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/load"
)

// MaxConnections is how many connections a scenario can ask for.
const MaxConnections = 50_000

// A Client is how load is sent. Its zero value is what a file without any of its keys says.
type Client struct {
	Connections int           // at most; 0: as many as the rate and the timeout ask for
	NoKeepAlive bool          // a connection for each request
	MaxAge      time.Duration // of a connection; 0: any
	HTTP2       bool
	TLS         *TLS
	Redirects   int         // how many are followed
	Generator   load.Engine // "": by the rate
}

// TLS is how an https ingress is talked to.
type TLS struct {
	CA         string // a file's path as in the file, relative to the scenario's folder; "" for none
	ServerName string
	Insecure   bool

	// Certificates is what CA holds. Parse reads no other file: who loads the targets fills it in.
	Certificates string

	ca Error // where CA stands
}

// WrongCA is an error about CA, at its place in the file.
func (t *TLS) WrongCA(msg string) *Error {
	e := t.ca
	e.Msg = msg
	return &e
}

// String says what is not as it is by default, as the plan prints it; "" for nothing.
func (c Client) String() string {
	var parts []string
	add := func(ok bool, format string, args ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(c.HTTP2, "HTTP/2")
	if c.TLS != nil {
		add(c.TLS.CA != "", "certificates signed by those in %s", c.TLS.CA)
		add(c.TLS.ServerName != "", "certificate of %s", c.TLS.ServerName)
		add(c.TLS.Insecure, "any certificate")
	}
	switch {
	case c.HTTP2:
		add(c.Connections > 0, "at most %d streams", c.Connections)
	default:
		add(c.Connections > 0, "at most %d connections", c.Connections)
	}
	add(c.NoKeepAlive, "a connection for each request")
	add(c.MaxAge > 0, "connections at most %s old", short(c.MaxAge))
	add(c.Redirects > 0, "up to %d redirects followed", c.Redirects)
	add(c.Generator != "", "by %s", c.Generator)
	return strings.Join(parts, ", ")
}

// clientKeys are the keys of load that say how it is sent.
func clientKeys() []key {
	return []key{
		{name: "connections", doc: "how many there are at most, in HTTP/2 how many streams; what finds none waits, and the wait counts", def: "as many as can be needed at this rate and timeout", form: integer{what: "a whole number", min: 1, max: MaxConnections}},
		{name: "keepalive", doc: "false: a connection for each request; or how old one gets", def: "true", form: either{keptAlive{}, &keys{
			name: "keepalive", brief: "{age: 30s}", list: []key{
				{name: "age", doc: "of a connection, when it is not used again; they end spread over the last quarter of it", required: true, form: duration{100 * time.Millisecond, day}},
			},
		}}},
		{name: "http2", doc: "HTTP/2: over TLS by ALPN, else by prior knowledge", def: "false", form: toggle{}},
		{name: "tls", doc: "how an https ingress is talked to", form: &keys{
			name: "tls", brief: "a mapping, such as {ca: ca.pem}", needs: []string{"ca", "server_name", "insecure"}, list: []key{
				{name: "ca", doc: "file with the certificates, in PEM, that sign the ingress's", def: "those that the system trusts", form: text{what: "a path", pattern: nonEmpty}},
				{name: "server_name", doc: "the name that its certificate is for", def: "the ingress's host", form: serverName},
				{name: "insecure", doc: "any certificate will do", def: "false", form: toggle{}},
			},
		}},
		{name: "follow_redirects", doc: "redirects to the ingress are followed, true: up to 10, or up to this number; others are the answer", def: "false", form: redirects{}},
		{name: "generator", doc: "what sends the load", def: "by the rate", form: enum{words: []string{string(load.Attack), string(load.Turbo)}}},
	}
}

var serverName = text{what: "a host's name", pattern: hostPattern, hint: "a host's name, such as shop.example"}

// client reads how load is sent.
func (b *builder) client(f *fields) Client {
	c := Client{
		Connections: int(get(f, "connections", int64(0))), HTTP2: get(f, "http2", false),
		Redirects: get(f, "follow_redirects", 0), Generator: load.Engine(f.text("generator")),
	}
	switch v := f.at["keepalive"].v.(type) {
	case bool:
		c.NoKeepAlive = !v
	case *fields:
		c.MaxAge = v.duration("age", 0)
	}
	if t := get[*fields](f, "tls", nil); t != nil {
		c.TLS = &TLS{CA: t.text("ca"), ServerName: t.text("server_name"), Insecure: get(t, "insecure", false)}
		if c.TLS.CA != "" {
			c.TLS.ca = *b.place(b.src.of(t.at["ca"].node))
			if c.TLS.Insecure {
				b.wrong(t.at["ca"].key, "insecure takes any certificate, and ca says which").expect("one of ca and insecure")
			}
		}
	}
	return c
}

// encrypted refuses what is said about TLS where no ingress speaks it.
func (b *builder) encrypted(s *Scenario, load *fields) {
	if !load.has("tls") || len(s.Arms) == 0 {
		return
	}
	for _, a := range s.Arms {
		if a.Ingress == nil || a.Ingress.Scheme == "https" {
			return
		}
	}
	b.wrong(load.at["tls"].key, "no ingress speaks TLS").expect("ingress: https://%s in the target or in an arm, or no tls", s.Arms[0].Ingress.Host)
}

// keptAlive is the short form of keepalive, a bool.
type keptAlive struct{ toggle }

func (keptAlive) String() string {
	return "true, false, or how old a connection gets, such as {age: 30s}"
}

func (f keptAlive) read(r *reader, n *yaml.Node) (any, bool) {
	if coreType(n) == "string" && durationPattern.MatchString(n.Value) {
		r.wrong(n, "%s is a time, and it does not say of what", quote(n.Value)).expect("%s", f).Nearest = "{age: " + n.Value + "}"
		return nil, false
	}
	if coreType(n) != "bool" {
		return r.want(n, f)
	}
	return f.toggle.read(r, n)
}

// redirects is how many redirects are followed, as an int.
type redirects struct{}

func (redirects) String() string {
	return fmt.Sprintf("true, false, or a whole number from 1 to %d", load.MaxRedirects)
}

func (redirects) schema() object {
	return object{"anyOf": []object{toggle{}.schema(), redirectCount.schema()}}
}

var redirectCount = integer{what: "a number of redirects", min: 1, max: load.MaxRedirects}

func (f redirects) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind == yaml.ScalarNode && coreType(n) == "int" {
		v, ok := redirectCount.read(r, n)
		count, _ := v.(int64)
		return int(count), ok
	}
	if n.Kind != yaml.ScalarNode || coreType(n) != "bool" {
		return r.want(n, f)
	}
	if strings.EqualFold(n.Value, "true") {
		return load.MaxRedirects, true
	}
	return 0, true
}
