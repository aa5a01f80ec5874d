package scenario_test

import (
	"context"
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A nothing is a fault that is never injected here.
type nothing struct{ params fault.Params }

func (nothing) Inject(context.Context, *fault.Site, []target.Node) ([]target.Effect, fault.Revert, error) {
	return nil, nil, errors.New("not in this test")
}

// kinds are the verbs of these tests.
func kinds() fault.Kinds {
	made := func(p fault.Params) (fault.Fault, error) { return nothing{p}, nil }
	return fault.Kinds{
		"kill":  {Summary: "end a node without warning", Silent: true, New: made},
		"pause": {Summary: "freeze a node", Silent: true, New: made},
		"stop": {Summary: "stop a node by its signal", New: made, Params: []fault.Param{
			{Name: "grace", Type: fault.Duration, Summary: "time before SIGKILL"},
		}},
		"restart": {Summary: "stop and start a node", NoFor: true, New: made, Params: []fault.Param{
			{Name: "pause", Type: fault.Duration, Summary: "time between stop and start"},
		}},
		"scale": {Summary: "change the number of replicas", WholeService: true, Params: []fault.Param{
			{Name: "to", Type: fault.Count, Required: true, Summary: "replicas"},
		}, New: func(p fault.Params) (fault.Fault, error) {
			if p.Count("to", 0) == 13 {
				return nil, errors.New("13 replicas bring bad luck")
			}
			return nothing{p}, nil
		}},
		"latency": {Summary: "delay packets", New: made, Params: []fault.Param{
			{Name: "delay", Type: fault.Duration, Required: true, Summary: "added to each packet"},
			{Name: "jitter", Type: fault.Duration, Summary: "its standard deviation; default 0s"},
			{Name: "from", Type: fault.Peer, Summary: "of packets from there alone; default any"},
			{Name: "direction", Type: fault.Word, Words: []string{"in", "out", "both"}, Summary: "which packets; default in"},
		}},
		"loss": {Summary: "lose packets", New: made, Params: []fault.Param{
			{Name: "share", Type: fault.Share, Required: true, Summary: "of the packets"},
		}},
		"bandwidth": {Summary: "limit the bandwidth", New: made, Params: []fault.Param{
			{Name: "rate", Type: fault.BitRate, Required: true, Summary: "at most"},
		}},
		"refuse": {Summary: "refuse connections", New: made, Params: []fault.Param{{Name: "port", Type: fault.Port, Summary: "default all"}}},
		"partition": {Summary: "cut nodes off from one another", New: cut, Params: []fault.Param{
			{Name: "between", Type: fault.Groups, Alone: true, Summary: "groups that do not reach one another"},
			{Name: "from", Type: fault.Peer, Alone: true, Summary: "whose packets are dropped"},
			{Name: "to", Type: fault.Peer, Alone: true, Summary: "where they are"},
		}},
		"http": {Summary: "change answers", New: made, Params: []fault.Param{
			{Name: "path", Type: fault.Path, Summary: "of the requests"},
			{Name: "status", Type: fault.Status, Summary: "of the answers"},
			{Name: "cut", Type: fault.Switch, Summary: "in the middle of the body"},
		}},
		"cpu": {Summary: "take CPU away", New: made, Params: []fault.Param{{Name: "limit", Type: fault.Number, Summary: "cores"}}},
		"disk-full": {Summary: "fill a volume", New: made, Params: []fault.Param{
			{Name: "volume", Type: fault.Text, Required: true, Summary: "by its name"}, {Name: "size", Type: fault.Size, Summary: "of the volume"},
		}},
		"clock": {Summary: "set the clock", New: made, Params: []fault.Param{{Name: "skew", Type: fault.SignedDuration, Required: true, Summary: "added to the time"}}},
		"exec": {Summary: "run a command", New: made, Params: []fault.Param{
			{Name: "command", Type: fault.Command, Required: true, Summary: "what to run"}, {Name: "undo", Type: fault.Command, Summary: "what undoes it"},
		}},
	}
}

// cut is a fault whose parameters go together only so.
func cut(p fault.Params) (fault.Fault, error) {
	switch {
	case p.Has("between") && (p.Has("from") || p.Has("to")):
		return nil, errors.New("between, or from and to")
	case p.Has("from") != p.Has("to"):
		return nil, errors.New("from and to go together")
	}
	return nothing{p}, nil
}

func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d malformed files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := scenario.Parse(filepath.Base(file), src, kinds())
			var errs scenario.Errors
			if !errors.As(err, &errs) || s != nil {
				t.Fatalf("got %v and %v, want Errors", s, err)
			}
			checkPlaces(t, src, errs)
			checkGolden(t, strings.TrimSuffix(file, ".yaml")+".golden", []byte(errs.Pretty()))
		})
	}
}

// checkPlaces checks that every error points into the file, in the order of the file.
func checkPlaces(t *testing.T, src []byte, errs scenario.Errors) {
	t.Helper()
	if len(errs) == 0 {
		t.Error("an error without errors")
	}
	lines := len(strings.Split(string(src), "\n")) + strings.Count(string(src), "\r") + strings.Count(string(src), "\u0085") +
		strings.Count(string(src), "\u2028") + strings.Count(string(src), "\u2029")
	before := &scenario.Error{}
	for _, e := range errs {
		width := len([]rune(e.Source))
		if e.Line < 1 || e.Line > lines || e.Column < 1 || e.Column > width+1 || e.Length < 1 || e.Column+e.Length > width+2 {
			t.Errorf("%v: length %d lies outside the file (%d lines, this one %d wide)", e, e.Length, lines, width)
		}
		if e.Line < before.Line || e.Line == before.Line && e.Column < before.Column {
			t.Errorf("%v comes after %v", e, before)
		}
		if e.Msg == "" || strings.ContainsFunc(e.Pretty(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("no message, or control characters: %q", e.Pretty())
		}
		before = e
	}
}

func checkGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (run the test with -update)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func parse(t *testing.T, file string) *scenario.Scenario {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse(file, src, kinds())
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

func TestNodeCrash(t *testing.T) {
	s := parse(t, "testdata/valid/node-crash.yaml")
	if len(s.Arms) != 2 || s.Arms[0].Name != "single" || s.Arms[1].Scale["app"] != 3 || s.Baseline != "single" {
		t.Errorf("arms: %+v, baseline %q", s.Arms, s.Baseline)
	}
	if f := s.Arms[1].Faults[0]; f.Name != "crash" || f.Verb != "kill" || f.At != 10*time.Second || f.For != 10*time.Second || f.Selector.Service != "app" || f.Fault == nil {
		t.Errorf("fault: %+v", f)
	}
	if s.Load.Schedule.Peak() != 300 || s.Load.For() != time.Minute || s.Load.Timeout != time.Second || s.Load.Requests[0].Path != "/" {
		t.Errorf("load: %+v", s.Load)
	}
	if len(s.Objectives) != 4 || s.Objectives[2].Line != 34 || s.Objectives[2].Check.Metrics()[0].Ref.Fault != "crash" {
		t.Errorf("objectives: %+v", s.Objectives)
	}
	if s.Repeats != 6 || s.Seed != 7 {
		t.Errorf("repeats %d, seed %d", s.Repeats, s.Seed)
	}
}

func TestFull(t *testing.T) {
	s := parse(t, "testdata/valid/full.yaml")
	checkWhole(t, s)
	base := scenario.Arm{
		Compose: []string{"base.yaml", "more.yaml"}, Profiles: []string{"web"}, Nodes: "app", NodeHeader: "X-Node", Attempts: "X-Upstream",
		Env:    map[string]string{"TAG": "v1", "DEBUG": "false", "PORT": "8080", "TENANT": "on"},
		Ready:  scenario.Ready{Path: "/healthz", Within: 30 * time.Second},
		Health: &scenario.HealthCheck{Interval: 500 * time.Millisecond, Timeout: 250 * time.Millisecond, Fails: 2},
		Scale:  map[string]int{"app": 1},
	}
	single, cluster, again, bare := s.Arms[0], s.Arms[1], s.Arms[2], s.Arms[3]
	base.Name, base.Ingress, base.Line, base.Faults = "single", &url.URL{Scheme: "http", Host: "lb:8080"}, 20, single.Faults
	checkEqual(t, "arm single", single, base)
	base.Name, base.Line = "again", 33
	checkEqual(t, "arm again", again, base)
	base.Name, base.Line, base.Scale = "bare", 34, map[string]int{}
	checkEqual(t, "arm bare", bare, base)
	base = scenario.Arm{
		Name: "cluster", Compose: []string{"base.yaml", "more.yaml", "extra.yaml"}, Profiles: []string{"web", "cache"}, Nodes: "web",
		NodeHeader: "X-Node", Attempts: "X-Upstream", Health: single.Health, Ingress: &url.URL{Scheme: "http", Host: "front"},
		Env:   map[string]string{"TAG": "v2", "DEBUG": "false", "PORT": "8080", "TENANT": "on"},
		Ready: scenario.Ready{Within: 2 * time.Minute}, Scale: map[string]int{"app": 3, "db": 0}, Line: 22, Faults: cluster.Faults,
	}
	checkEqual(t, "arm cluster", cluster, base)
	checkEqual(t, "hypothesis", s.Hypothesis, "Whatever happens, clients are served; in two lines.")
	checkEqual(t, "rest", []any{s.Repeats, s.Seed, s.Engine, s.Baseline, s.File}, []any{12, int64(-3), "process", "single", "testdata/valid/full.yaml"})

	body := `{"deep":{"a":"<b>"},"id":"{{.Key}}","n":[1,2.5,true,null,"yes","2001-01-01",15]}`
	empty := ""
	checkEqual(t, "load", s.Load, scenario.Load{Schedule: schedule.Constant(100, 0, 90*time.Second), Timeout: 500 * time.Millisecond, Agents: 1, Requests: []load.Request{
		{Name: "GET /", Weight: 1, Method: "GET", Path: "/"},
		{Name: "PUT /kv/{{.Key}}", Weight: 1, Method: "PUT", Path: "/kv/{{.Key}}"},
		{
			Name: "write", Weight: 2.5, Method: "POST", Path: "/items?seq={{.Seq}}", Body: body,
			Headers: map[string]string{"X-Tenant": "{{.Env.TENANT}}", "X-Try": "1", "Content-Type": "application/json"},
			Expect: load.Expect{
				Status: []int{200, 201}, Contains: "{{", Header: map[string]string{"Content-Type": "application/json"}, Within: 200 * time.Millisecond,
			},
		},
		{
			Name: "PATCH /items", Weight: 1, Method: "PATCH", Path: "/items", Body: "{\"value\": \"{{.Value}}\"}\n",
			Headers: map[string]string{"content-type": "application/json"}, Expect: load.Expect{Status: []int{204}, Body: &empty},
		},
	}})
}

func TestFaults(t *testing.T) {
	s := parse(t, "testdata/valid/full.yaml")
	app := fault.Selector{Service: "app"}
	var got []scenario.Fault
	for _, f := range append(s.Arms[0].Faults, s.Arms[1].Faults...) {
		checkEqual(t, f.Name+" was made of its parameters", f.Fault, fault.Fault(nothing{f.Params}))
		f.Fault = nil
		got = append(got, f)
	}
	pick := func(change func(*fault.Selector)) fault.Selector {
		sel := app
		change(&sel)
		return sel
	}
	second := time.Second
	checkEqual(t, "faults", got, []scenario.Fault{
		{Name: "kill-app-1", Verb: "kill", For: 10 * second, Selector: app, Params: fault.Params{}, Line: 59},
		{Name: "kill-app-2", Verb: "kill", At: 10 * second, For: 10 * second, Selector: pick(func(s *fault.Selector) { s.Count = 2 }), Params: fault.Params{}, Line: 60},
		{Name: "stop-app-1", Verb: "stop", At: 20 * second, Selector: pick(func(s *fault.Selector) { s.All = true }), Params: fault.Params{"grace": 2 * second}, Line: 61},
		{Name: "scale-app-1", Verb: "scale", At: 30 * second, For: 100 * second, Selector: app, Params: fault.Params{"to": 5}, Line: 62},
		{Name: "freeze", Verb: "pause", At: 10 * second, For: 5 * second, Selector: pick(func(s *fault.Selector) { s.Share = 0.5 }), Params: fault.Params{}, Line: 31},
		{Name: "restart-app-1", Verb: "restart", At: time.Minute, Selector: pick(func(s *fault.Selector) { s.Replica = 2 }), Params: fault.Params{"pause": second}, Line: 32},
	})
}

func TestObjectives(t *testing.T) {
	s := parse(t, "testdata/valid/full.yaml")
	o := s.Objectives[5]
	if o.Name != "no slower" || o.Text != "cluster.p99 <= single.p99" || o.Margin != 0.1 || o.Severity != slo.SeverityWarn || o.Line != 70 {
		t.Errorf("%+v", o)
	}
	if o := s.Objectives[6]; o.Margin != 0.005 || o.Severity != slo.SeverityFail || o.Name != o.Text {
		t.Errorf("%+v", o)
	}
	if o := s.Objectives[7]; o.Margin != 5 {
		t.Errorf("%+v", o)
	}
	one := parse(t, "testdata/valid/per-arm.yaml").Objectives[0]
	checkEqual(t, "the only fault, filled in", one.Check.Metrics()[0].Ref.Fault, "kill-app-1")
	checkEqual(t, "and not in the text", one.Text, "one.recovery <= 50m")
}

func TestDefaults(t *testing.T) {
	s := parse(t, "testdata/valid/smallest.yaml")
	checkWhole(t, s)
	checkEqual(t, "defaults",
		[]any{len(s.Arms), s.Arms[0].Name, s.Baseline, s.Repeats, s.Seed, s.Load.Schedule.Warmup, s.Load.Timeout, s.Arms[0].Ready, s.Engine, s.Load.Agents},
		[]any{1, "target", "", 6, int64(1), 5 * time.Second, 5 * time.Second, scenario.Ready{Within: time.Minute}, "", 1})
}

func TestAgents(t *testing.T) {
	s := parse(t, "testdata/valid/agents.yaml")
	checkWhole(t, s)
	checkEqual(t, "agents", s.Load.Agents, 4)
}

func checkEqual[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

// Every trigger, every way to choose nodes and every type of parameter is what it says.
func TestEveryFault(t *testing.T) {
	s := parse(t, "testdata/valid/faults.yaml")
	checkWhole(t, s)
	by := make(map[string]scenario.Fault)
	var names []string
	for _, f := range s.Arms[0].Faults {
		by[f.Name] = f
		names = append(names, f.Name)
	}
	checkEqual(t, "names", strings.Join(names, " "), "crash latency-app-1 third pause-app-1 kill-1 kill-2 kill-db-1 kill-db-2 kill-db-3 partition-1 partition-2 partition-3 "+
		"partition-app-1 bandwidth-app-1 refuse-app-1 http-app-1 cpu-app-1 disk-full-db-1 clock-db-1 exec-db-1 nemesis random-2")

	checkEqual(t, "after", *by["latency-app-1"].After, scenario.After{Fault: "crash", Event: scenario.Healed, Delay: 2 * time.Second})
	checkEqual(t, "after", *by["third"].After, scenario.After{Fault: "latency-app-1", Event: scenario.Onset})
	when := by["pause-app-1"].When
	checkEqual(t, "when", []any{when.Text, when.String()}, []any{
		`p99 > 200ms and error_rate{request="GET /"} < 5%`, `p99 > 0.2s and error_rate{request="GET /"} < 5%`,
	})

	for name, want := range map[string]fault.Selector{
		"third": {Zone: "1"}, "pause-app-1": {Service: "app", Zone: "a", Count: 2}, "kill-1": {Zone: "b"}, "kill-2": {Zone: "b", Count: 1},
		"kill-db-1":   {Service: "db", All: true, Role: &fault.Role{Get: "http://:2379/metrics", Contains: "leader 1", Status: 200}},
		"kill-db-2":   {Service: "db", Role: &fault.Role{Get: "http://:80", JSON: "cluster.leader.0", Equals: "5"}},
		"kill-db-3":   {Service: "db", Role: &fault.Role{Exec: []string{"redis-cli", "role"}, Contains: "master"}},
		"partition-1": {}, "partition-app-1": {Service: "app", Share: 0.5},
	} {
		checkEqual(t, name, by[name].Selector, want)
	}
	for name, want := range map[string]fault.Params{
		"latency-app-1":   {"delay": 100 * time.Millisecond, "jitter": 10 * time.Millisecond, "from": "lb-1", "direction": "both"},
		"third":           {"share": 0.125},
		"partition-1":     {"between": [][]string{{"app"}, {"db-1"}}},
		"partition-2":     {"between": [][]string{{"app-1", "app-2"}, {"app-3"}, {"db"}}},
		"partition-3":     {"from": "app", "to": "db"},
		"bandwidth-app-1": {"rate": int64(1_500_000)},
		"refuse-app-1":    {"port": 8080},
		"http-app-1":      {"path": "/items", "status": 503, "cut": true},
		"cpu-app-1":       {"limit": 0.2},
		"disk-full-db-1":  {"volume": "data", "size": int64(64 << 20)},
		"clock-db-1":      {"skew": -90 * time.Second},
		"exec-db-1":       {"command": []string{"rm", "-f", "5"}, "undo": []string{"sh", "-c", "echo $HOME > /x; date", "a b", "c d"}},
	} {
		checkEqual(t, name, by[name].Params, want)
		checkEqual(t, name+" was made of them", by[name].Fault, fault.Fault(nothing{want}))
	}
}

// A nemesis has its verbs, and its draws have their times before anything is drawn.
func TestRandom(t *testing.T) {
	s := parse(t, "testdata/valid/faults.yaml")
	faults := s.Arms[0].Faults
	nemesis, restarts := faults[len(faults)-2], faults[len(faults)-1]
	r := nemesis.Random
	checkEqual(t, "nemesis", []any{r.Services, r.Every, r.Min, r.Max, nemesis.Fault}, []any{
		[]string{"app", "db"}, 8 * time.Second, 2 * time.Second, 5 * time.Second, fault.Fault(nil),
	})
	var verbs, free []string
	for _, v := range r.Verbs {
		verbs = append(verbs, v.Verb)
		if scenario.Anywhere(v, kinds()[v.Verb]) {
			free = append(free, v.Verb)
		}
		if v.Name != "" || v.At != 0 || v.For != 0 || v.Fault == nil {
			t.Errorf("a verb has a name, a time, or no fault: %+v", v)
		}
	}
	checkEqual(t, "verbs", strings.Join(verbs, " "), "kill pause latency stop restart kill partition scale")
	checkEqual(t, "verbs without a service", strings.Join(free, " "), "pause latency stop restart scale")
	second := time.Second
	checkEqual(t, "times", nemesis.Draws(s.Load.For()), []time.Duration{40 * second, 48 * second, 56 * second, 64 * second})
	checkEqual(t, "times to the end of load", restarts.Draws(s.Load.For()), []time.Duration{80 * second, 90 * second})
	checkEqual(t, "its name", nemesis.DrawName(3), "nemesis-4")
	if none := faults[0].Draws(s.Load.For()); none != nil {
		t.Errorf("kill draws %v", none)
	}
}

// How load is sent, every key of it, and what stands for what is not said.
func TestClient(t *testing.T) {
	c := parse(t, "testdata/valid/client.yaml").Load.Client
	tls := c.TLS
	if tls == nil {
		t.Fatal("no TLS")
	}
	checkEqual(t, "tls", []any{tls.CA, tls.ServerName, tls.Insecure}, []any{"certs/ca.pem", "shop.example", false})
	if e := tls.WrongCA("not there"); e.Error() != "testdata/valid/client.yaml:16:13: not there" || e.Source == "" {
		t.Errorf("%+v", e)
	}
	said := "HTTP/2, certificates signed by those in certs/ca.pem, certificate of shop.example, at most 64 streams, " +
		"connections at most 1m30s old, up to 10 redirects followed, by turbo"
	if c.String() != said {
		t.Errorf("%s\nwant %s", c, said)
	}
	c.TLS = nil
	checkEqual(t, "client", c, scenario.Client{Connections: 64, MaxAge: 90 * time.Second, HTTP2: true, Redirects: 10, Generator: load.Turbo})
	checkEqual(t, "nothing said", parse(t, "testdata/valid/smallest.yaml").Load.Client, scenario.Client{})
	other := `
version: 1
name: other
target: {compose: compose.yaml, ingress: "https://lb"}
load: {rate: 10/s, for: 1s, requests: [GET /], keepalive: false, tls: {insecure: true}, follow_redirects: 2, http2: false, connections: 5}
`
	s, err := scenario.Parse("other.yaml", []byte(other), kinds())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Load.Client.String(); got != "any certificate, at most 5 connections, a connection for each request, up to 2 redirects followed" {
		t.Error(got)
	}
	if s.Arms[0].Ingress.String() != "https://lb" {
		t.Error(s.Arms[0].Ingress)
	}
}
