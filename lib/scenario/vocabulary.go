package scenario

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
)

// The texts of the format.
var (
	namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	anyName     = text{what: "a name", pattern: namePattern, hint: "a name: a letter, then letters, digits, - and _"}
	service     = text{what: "a service's name", pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`), hint: "a service of the Compose file, such as app"}
	header      = text{what: "a header's name", pattern: regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"), hint: "a header's name, such as X-Node"}
	variable    = text{what: "a variable's name", pattern: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)}
	anything    = text{what: "text"}
	value       = text{what: "text, a number or a boolean", loose: true}
	block       = text{what: "text", loose: true, lines: true}
	urlPath     = text{what: "a path", pattern: regexp.MustCompile(`^/([^/\s]\S*)?$`), hint: "a path, such as /healthz"}
	template    = text{what: "a path", pattern: regexp.MustCompile(`^/`), hint: "a path, such as /items or \"/items/{{.Key}}\"; load goes to the target's ingress and nowhere else"}
	ingress     = text{what: "an address", hint: "http://SERVICE:PORT or https://SERVICE:PORT, such as http://lb:8080"}
	nonEmpty    = regexp.MustCompile(`.`)
)

const day = 24 * time.Hour

// methods are the request methods, each a key of a request.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// requestLine is the short form of a request.
var requestLine = text{
	what: "a request", pattern: regexp.MustCompile(`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) +/`),
	hint: "METHOD /path, such as GET /items", fix: fixRequestLine,
}

// fixRequestLine guesses the method that was meant.
func fixRequestLine(line string) string {
	method, path, _ := strings.Cut(line, " ")
	if meant := slo.Nearest(method, methods); meant != "" && strings.HasPrefix(path, "/") {
		return meant + " " + path
	}
	return ""
}

// laterVerbs are the verbs of the format that need more than this version has. A verb that is
// among the kinds given to Parse is not later.
var laterVerbs = []string{
	"kill", "crash", "stop", "remove", "restart", "rolling-restart", "pause", "stutter", "scale", "oom",
	"partition", "blackhole", "refuse", "reset", "latency", "loss", "duplicate", "corrupt", "reorder", "bandwidth",
	"dns", "http", "cpu", "memory", "disk-full", "disk-slow", "clock", "exec",
}

// vocabulary is the whole format, as this version has it with these verbs.
func vocabulary(kinds fault.Kinds) *keys {
	faults := faultList(kinds)
	return &keys{name: "the scenario", list: []key{
		{name: "version", doc: "version of the format", required: true, form: integer{what: "the format's version", min: 1, max: 1}},
		{name: "name", doc: "name of the experiment", required: true, form: anyName},
		{name: "hypothesis", doc: "what is believed, in a sentence", form: text{what: "a sentence", lines: true}},
		{name: "target", doc: "the system under test", required: true, form: targetKeys()},
		{name: "arms", doc: "variants of the target, by name", def: "one arm named target", form: table{
			what: "arms by name, such as single: {scale: {app: 1}}", names: anyName, of: armKeys(faults), min: 1, max: 50,
		}},
		{name: "sweep", doc: "instead of arms: one arm for each scale of a service, named SERVICE-SCALE", form: sweepKeys()},
		{name: "baseline", doc: "the arm that the others are compared with; required with two or more", def: "of a sweep the smallest scale", form: anyName},
		{name: "load", doc: "the requests that are sent", required: true, form: loadKeys()},
		{name: "faults", doc: "what is broken, and when", form: faults},
		{name: "objectives", doc: "what must hold", form: many{of: objectiveForm(), what: "a list of comparisons, such as - cluster.availability >= 99%", max: 200}},
		{name: "mutations", doc: "what the gate's self-test breaks, by name: over arms, as an arm is over the target", form: table{
			what: "mutations by name, such as no-check: {env: {CHECK: off}}", names: anyName, of: mutationKeys(armKeys(faults)), min: 1, max: 50,
		}},
		{name: "repeats", doc: "blocks; in each, every arm has one trial; 6..12: at least 6, and on to 12 while an objective is undecided", def: "6", form: repeats{}},
		{name: "seed", doc: "where all randomness comes from", def: "1", form: integer{what: "a whole number", min: math.MinInt64, max: math.MaxInt64}},
		{name: "engine", doc: "what runs the target", def: "docker if an engine answers, else process", form: enum{words: []string{"docker", "process"}, later: []string{"swarm"}}},
		{name: "verify", doc: "acknowledged writes that are read back after the load", form: many{
			of: verifyKeys(), what: "a list of what is read back, such as - {of: write, read: GET /kv/1, contains: x}", min: 1, max: 20,
		}},
	}}
}

// inherited are the keys that target and arms have in common.
func inherited() []key {
	return []key{
		{name: "compose", doc: "one standard Compose file, or several merged left to right", form: many{
			of: text{what: "a path", pattern: nonEmpty}, what: "the path of a Compose file, or a list of them", alone: true, min: 1, max: 20,
		}},
		{name: "profiles", doc: "Compose profiles that are active", form: many{of: service, what: "a list of Compose profiles", max: 50}},
		{name: "env", doc: "variables for the Compose files, and {{.Env.NAME}} in requests", form: table{what: "variables, such as {TAG: v1}", names: variable, of: value, max: 200}},
		{name: "ingress", doc: "where clients come in, as a name inside the target's network", form: ingress},
		{name: "ready", doc: "when the target is ready for load", def: "every healthcheck healthy, then a TCP connect", form: &keys{
			name: "ready", brief: "a mapping, such as {path: /healthz, within: 60s}", list: []key{
				{name: "path", doc: "polled through the ingress until it answers as a request should", form: urlPath},
				{name: "within", doc: "how long to wait", def: "60s", form: duration{time.Millisecond, time.Hour}},
			},
		}},
		{name: "nodes", doc: "the balanced service, whose replicas are the nodes", form: service},
	}
}

func targetKeys() *keys {
	return &keys{
		name: "target", brief: "a mapping, such as {compose: compose.yaml, ingress: http://lb:8080}",
		belong: map[string]string{"scale": "scale in an arm, or deploy.replicas in the Compose file"},
		list: append(inherited(),
			key{name: "node_header", doc: "response header that names the node that answered", form: header},
			key{name: "attempts_header", doc: "response header with every node that the balancer tried, in order", form: header},
			key{name: "health_check", doc: "what the balancer's own health check is set to", form: &keys{
				name: "health_check", brief: "a mapping, such as {interval: 500ms, timeout: 250ms, fails: 2}", list: []key{
					{name: "interval", doc: "time between two probes", required: true, form: duration{time.Millisecond, time.Hour}},
					{name: "timeout", doc: "when a probe without an answer has failed", required: true, form: duration{time.Millisecond, time.Hour}},
					{name: "fails", doc: "failed probes in a row that eject a node", required: true, form: integer{what: "a whole number", min: 1, max: 1000}},
				},
			}},
		),
	}
}

func armKeys(faults form) *keys {
	return &keys{
		name: "an arm", brief: "a mapping, such as {scale: {app: 3}}", empty: true,
		belong: map[string]string{
			"node_header": "node_header in target", "attempts_header": "attempts_header in target", "health_check": "health_check in target",
		},
		list: append(inherited(),
			key{name: "scale", doc: "replicas by service", form: table{
				what: "replicas by service, such as {app: 3}", names: service, of: integer{what: "a whole number", min: 0, max: 1000}, max: 100,
			}},
			key{name: "faults", doc: "faults of this arm, instead of the scenario's", form: faults},
		),
	}
}

func loadKeys() *keys {
	return &keys{
		name: "load", brief: "a mapping, such as {rate: 300/s, for: 60s, requests: [GET /]}", groups: []string{"rate"},
		belong: map[string]string{
			"users": "users in a stage: stages: [{users: 20, think: 1s, for: 60s}]", "think": "think in a stage with users, or beside the steps of a session",
			"to": "to in a stage: stages: [{rate: 100/s, to: 400/s, for: 60s}]", "swing": "swing in a stage: stages: [{rate: 100/s, swing: 50/s, period: 20s, for: 60s}]",
			"period": "period beside swing in a stage: stages: [{rate: 100/s, swing: 50/s, period: 20s, for: 60s}]",
		},
		list: append([]key{
			{name: "rate", doc: "requests sent, on schedule however slow the answers are", form: rate{maxRate}, group: "rate"},
			{name: "stages", doc: "instead of a rate: ramps, sines, several rates, or users, one after the other", group: "rate", form: many{
				of: stageKeys(), what: "a list of stages, such as - {rate: 100/s, to: 400/s, for: 30s}", min: 1, max: schedule.MaxStages,
			}},
			{name: "capacity", doc: "a search for the highest rate, instead of a rate", form: capacityKeys(), group: "rate"},
			{name: "for", doc: "how long load is measured; the warm-up comes before it; required with a rate", form: duration{time.Millisecond, day}},
			{name: "warmup", doc: "load before the measurement", def: "5s", form: duration{0, day}},
			{name: "timeout", doc: "from the due time; later is bad", def: "5s", form: duration{time.Millisecond, time.Hour}},
			{name: "arrivals", doc: "how requests lie around the rate: evenly, or at random as those of independent clients", def: "uniform", form: enum{words: []string{string(schedule.Uniform), string(schedule.Poisson)}}},
			{name: "requests", doc: "what is sent", required: true, form: many{
				of: requestForm{either{requestLine, requestKeys(false)}, sessionKeys()}, what: "a list of requests, such as - GET /", min: 1, max: maxRequests,
			}},
			{name: "agents", doc: "processes that send it side by side, each its share of the requests", def: "1", form: integer{what: "a whole number", min: 1, max: 16}},
			{name: "keys", doc: "how many keys {{.Key}} gives, so that several requests share one", def: "one for each request or session", form: integer{what: "a whole number", min: 1, max: 100_000}},
		}, clientKeys()...),
	}
}

// requestKeys are those of a request, or of a step of a session.
func requestKeys(step bool) *keys {
	list := []key{
		{name: "name", doc: "for objectives and reports", def: "METHOD /path", form: text{what: "a name", pattern: nonEmpty}},
	}
	belong := map[string]string{
		"status": "status within expect", "contains": "contains within expect", "header": "headers for what is sent; header within expect for what comes back",
		"keys": "keys in load, for all requests", "within": "within within expect", "path": "the path beside its method, such as GET: /items", "method": "the method as a key, such as GET: /items",
	}
	if step {
		list = append(list, key{name: "capture", doc: "values of the answer, for later steps as {{.Captured.NAME}}", form: captureForm()})
		belong["weight"], belong["steps"], belong["think"] = "weight beside steps, for the whole session", "one list of steps in a session", "think beside steps, for the whole session"
	} else {
		list = append(list, key{name: "weight", doc: "share among the requests", def: "1", form: number{"a number above 0", 1e6}})
		belong["capture"], belong["think"] = "capture in a step of a session: {steps: [{GET: /cart, capture: {id: $.id}}, …]}", "think beside the steps of a session"
	}
	for _, m := range methods {
		list = append(list, key{name: m, doc: "path of a " + m + " request, a template", form: template, group: "method"})
	}
	headers := table{what: "headers, such as {Accept: application/json}", names: header, of: value, max: 100}
	return &keys{
		name: "a request", groups: []string{"method"}, item: true, brief: "{GET: /items, weight: 2}",
		belong: belong,
		list: append(list, []key{
			{name: "headers", doc: "request headers, their values templates", form: headers},
			{name: "body", doc: "the body, a template", form: block},
			{name: "json", doc: "the body as JSON, a template", form: tree{}},
			{name: "expect", doc: "which answers are good", def: "any status 200–399", form: &keys{
				name: "expect", brief: "a mapping, such as {status: 201, within: 200ms}", list: []key{
					{name: "status", doc: "status, or a list of them", def: "200–399", form: many{
						of: integer{what: "a status", min: 100, max: 599}, what: "a status such as 200, or a list of them", alone: true, min: 1, max: 50,
					}},
					{name: "body", doc: "the whole body", form: block},
					{name: "contains", doc: "a part of the body", form: block},
					{name: "header", doc: "headers, each with exactly this value", form: headers},
					{name: "within", doc: "response time; later is bad", form: duration{time.Millisecond, time.Hour}},
				},
			}},
			{name: "file", later: true, instead: "body"},
		}...),
	}
}

// verifyKeys is what is read back of one request's writes.
func verifyKeys() *keys {
	read := requestKeys(false)
	read.name, read.brief, read.item = "a read", `{GET: "/kv/{{.Key}}", headers: {X-Tenant: a}}`, false
	read.belong = map[string]string{
		"expect": "contains or body beside read", "contains": "contains beside read", "name": "the write's name as of, beside read", "within": "within beside read",
	}
	read.list = slices.DeleteFunc(read.list, func(k key) bool {
		return k.later || k.name == "name" || k.name == "weight" || k.name == "expect"
	})
	return &keys{
		name: "an item of verify", groups: []string{"comparison"}, item: true, brief: `{of: write, read: "GET /kv/{{.Key}}", contains: "{{.Value}}", within: 60s}`,
		belong: map[string]string{"expect": "contains or body", "status": "contains or body: an answer of 200–399 must hold what was written"},
		list: []key{
			{name: "of", doc: "the name of the request that writes", required: true, form: anything},
			{name: "read", doc: "how what it wrote is read, a request of which path, headers and body are templates", required: true, form: either{requestLine, read}},
			{name: "contains", doc: "what the answer's body must hold, a template", group: "comparison", form: block},
			{name: "body", doc: "what the answer's whole body must be, a template", group: "comparison", form: block},
			{name: "within", doc: "how long what is not there is read again", def: "60s", form: duration{time.Second, time.Hour}},
		},
	}
}

func objectiveForm() either {
	return either{check{}, &keys{
		name: "an objective", brief: "{check: cluster.p99 <= single.p99, margin: 10%}", list: []key{
			{name: "name", doc: "for reports", def: "the comparison's text", form: anything},
			{name: "check", doc: "the comparison", required: true, form: check{}},
			{name: "margin", doc: "moves the limit in the objective's favour, where metrics are compared", def: "0", form: margin{}},
			{name: "severity", doc: "warn never changes the run's verdict", def: "fail", form: enum{words: []string{"fail", "warn"}}},
		},
	}}
}
