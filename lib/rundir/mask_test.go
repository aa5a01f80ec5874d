package rundir_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// maskCases are what stands below `target: {env: …}` and what becomes of it.
var maskCases = map[string]struct{ src, want string }{
	"plain":                 {"PASSWORD: hunter22 # said", `PASSWORD: "***" # said`},
	"plain number":          {"API_KEY: 12345678", `API_KEY: "***"`},
	"short":                 {"TOKEN: a", `TOKEN: "***"`},
	"empty":                 {"TOKEN:", "TOKEN:"},
	"double quotes":         {`DB_PASSWD: "hun\"ter22"`, `DB_PASSWD: "***"`},
	"single quotes":         {`CLIENT_SECRET: 'it''s me'`, `CLIENT_SECRET: "***"`},
	"not a secret":          {"USER: hunter22", "USER: hunter22"},
	"repeated":              {"PASSWORD: hunter22\n    URL: postgres://me:hunter22@db", "PASSWORD: \"***\"\n    URL: \"postgres://me:***@db\""},
	"repeated in quotes":    {"PASSWORD: hunter22\n    URL: 'hunter22'", "PASSWORD: \"***\"\n    URL: '***'"},
	"repeated in a comment": {"PASSWORD: hunter22\n    # not hunter22, was hunter21\n    A: b", "PASSWORD: \"***\"\n    # not ***, was hunter21\n    A: b"},
	"short and repeated":    {"TOKEN: a\n    A: a", "TOKEN: \"***\"\n    A: a"},
	"over two lines":        {"SECRET: one\n      two # c\n    A: b", "SECRET: \"***\"\n       # c\n    A: b"},
	"quoted over two lines": {"SECRET: \"one\n      two\"\n    A: b", "SECRET: \"***\"\n      \n    A: b"},
	"literal":               {"PRIVATE_KEY: |\n      BEGIN\n        abcd\n\n      END\n    A: has abcd", "PRIVATE_KEY: |\n      ***\n        ***\n\n      ***\n    A: \"has ***\""},
	"folded":                {"PRIVATE_KEY: >-\n      abcd\n    A: b", "PRIVATE_KEY: >-\n      ***\n    A: b"},
	"indicator":             {"SECRET: |2\n        abcd\n      efgh\n    A: b", "SECRET: |2\n        ***\n      ***\n    A: b"},
	"anchor":                {"PASSWORD: &p hunter22\n    A: *p", "PASSWORD: &p \"***\"\n    A: *p"},
	"alias":                 {"A: &p hunter22\n    PASSWORD: *p", "A: &p \"***\"\n    PASSWORD: *p"},
	"tag":                   {"TOKEN: !!str 1234", `TOKEN: !!str "***"`},
}

func TestMask(t *testing.T) {
	for name, c := range maskCases {
		t.Run(name, func(t *testing.T) {
			const before, after = "version: 1\ntarget:\n  env:\n    ", "\nend: here\n"
			got := checkMask(t, before+c.src+after)
			if want := before + c.want + after; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// checkMask masks and holds what is true of every result: it is YAML, and everything is in its line.
func checkMask(t *testing.T, src string) string {
	t.Helper()
	got := rundir.Mask([]byte(src))
	var before, after yaml.Node
	if err := yaml.Unmarshal([]byte(src), &before); err != nil {
		t.Fatalf("the test's own source: %v", err)
	}
	if err := yaml.Unmarshal(got, &after); err != nil {
		t.Fatalf("not YAML any more: %v\n%s", err, got)
	}
	if a, b := shape(&before), shape(&after); !reflect.DeepEqual(a, b) {
		t.Errorf("another document:\n%v\n%v\n%s", a, b, got)
	}
	return string(got)
}

// shape is a document without its values: kinds, lines and keys.
func shape(n *yaml.Node) []any {
	s := []any{n.Kind, n.Line, n.Anchor}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			s = append(s, c.Value)
		}
		s = append(s, shape(c))
	}
	return s
}

// Where secrets are looked for, and what is left alone because it names something.
func TestMaskPlaces(t *testing.T) {
	src := `version: 1
hypothesis: with hunter22 nothing breaks
target: {compose: hunter22, env: {PGPASSWORD: hunter22, A: "x hunter22"}}
arms:
  token-arm: {scale: {token-service: 3}, env: {SECRET: [arm-secret, {deep: deep-secret}]}}
  hunter22: {scale: {hunter22: 3}}
load:
  requests:
    - GET /hunter22
    - name: hunter22
      POST: /login
      headers: {Authorization: "Bearer abcdefgh", X-Api-Key: 'ijklmnop', Accept: text/html}
      json: {user: me, password: qrstuvwx}
      body: hunter22
      expect: {header: {Set-Cookie: yz012345}, contains: hunter22}
faults: [{kill: hunter22}]
`
	got := checkMask(t, src)
	want := `version: 1
hypothesis: "with *** nothing breaks"
target: {compose: hunter22, env: {PGPASSWORD: "***", A: "x ***"}}
arms:
  token-arm: {scale: {token-service: 3}, env: {SECRET: ["***", {deep: "***"}]}}
  hunter22: {scale: {hunter22: 3}}
load:
  requests:
    - GET /hunter22
    - name: hunter22
      POST: /login
      headers: {Authorization: "***", X-Api-Key: "***", Accept: text/html}
      json: {user: me, password: "***"}
      body: "***"
      expect: {header: {Set-Cookie: "***"}, contains: "***"}
faults: [{kill: hunter22}]
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestMaskWindows(t *testing.T) {
	src := "target:\r\n  env:\r\n    SECRET: |\r\n      abcd\r\n      efgh\r\n    TOKEN: ijkl\r\n    A: b\r\n"
	got := checkMask(t, src)
	if want := "target:\r\n  env:\r\n    SECRET: |\r\n      ***\r\n      ***\r\n    TOKEN: \"***\"\r\n    A: b\r\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestMaskNotYAML(t *testing.T) {
	for _, src := range []string{"", "# nothing", "a: [", "\x00"} {
		if got := rundir.Mask([]byte(src)); string(got) != src {
			t.Errorf("%q became %q", src, got)
		}
	}
}

// FuzzMask: whatever the value is and however it is written, the result is the same document, and no longer has
// the secret.
func FuzzMask(f *testing.F) {
	for _, c := range maskCases {
		f.Add("target:\n  env:\n    " + c.src + "\n")
	}
	f.Fuzz(func(t *testing.T, src string) {
		var before, after yaml.Node
		if yaml.Unmarshal([]byte(src), &before) != nil {
			return
		}
		got := rundir.Mask([]byte(src))
		if err := yaml.Unmarshal(got, &after); err != nil {
			t.Fatalf("not YAML any more: %v\n%s", err, got)
		}
		if bytes.Count(got, []byte("\n")) != strings.Count(src, "\n") {
			t.Errorf("another number of lines:\n%s", got)
		}
	})
}

// A masked scenario is the same experiment to a judge: arms, load, faults and objectives.
func TestMaskedScenario(t *testing.T) {
	src := `version: 1
name: full
hypothesis: app stands, hunter22 or not
target: {compose: compose.yaml, ingress: "http://app:8080", nodes: app, env: {PASSWORD: app, TOKEN: 12345678, SECRET_ONE: one}}
arms:
  one: {scale: {app: 1}, env: {API_KEY: &k hunter22, COPY: *k}}
  two: {scale: {app: 2}}
baseline: one
load:
  rate: 10/s
  for: 30s
  requests:
    - GET /hunter22
    - name: login
      POST: /login
      headers: {Authorization: "Bearer {{.Env.TOKEN}}", Cookie: a=b}
      json: {user: me, password: hunter22, tokens: [1, 2.5, null]}
      expect: {status: 200, header: {Set-Cookie: hunter22}}
    - steps:
        - name: token
          POST: /token
          json: {password: hunter22}
          capture: {token: $.token}
        - GET: /own
          headers: {Authorization: "Bearer {{.Captured.token}}"}
          body: hunter22
          expect: {body: hunter22, header: {Cookie: hunter22}}
faults:
  - {name: token, at: 10s, kill: app, for: 5s}
objectives:
  - two.during.availability >= 40%
`
	kinds := fault.Kinds{"kill": node.KillKind()}
	want, err := scenario.Parse("a.yaml", []byte(src), kinds)
	check(t, err)
	masked := checkMask(t, src)
	got, err := scenario.Parse("a.yaml", []byte(masked), kinds)
	check(t, err)
	for _, s := range []*scenario.Scenario{got, want} {
		s.Source, s.Hypothesis = nil, ""
		for i := range s.Arms {
			s.Arms[i].Env = nil
		}
		for i := range s.Load.Requests {
			r := &s.Load.Requests[i]
			r.Headers, r.Body, r.Expect.Header, r.Expect.Body = nil, "", nil, nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("another experiment:\n%+v\n%+v\n%s", got, want, masked)
	}
	if n := strings.Count(masked, "hunter22"); n != 1 {
		t.Errorf("the secret stands %d times, want once, in a path:\n%s", n, masked)
	}
}
