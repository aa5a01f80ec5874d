package scenario

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
)

// The texts of faults.
var (
	peer     = text{what: "a service's or a replica's name", pattern: service.pattern, hint: "a service of the Compose file, such as app, or one of its replicas, such as app-1"}
	zone     = text{what: "a zone's name", pattern: regexp.MustCompile(`^[^\s]+$`), loose: true, hint: "a zone, as the Compose label tutti.zone says it"}
	roleURL  = text{what: "an address", pattern: regexp.MustCompile(`^http://:[0-9]{1,5}(/\S*)?$`), hint: `"http://:PORT/path", without a host: every node is asked at its own address`}
	jsonPath = text{what: "a path into JSON", pattern: regexp.MustCompile(`^[^.\s]+(\.[^.\s]+)*$`), hint: "a path into the answer's JSON, such as role or cluster.leader.0"}
)

// randomVerb draws faults of other verbs. The plan makes them, and no kind.
const randomVerb = "random"

// maxDraws bounds what one random fault draws.
const maxDraws = 1000

// selecting are the keys that say which nodes a verb hits.
var selecting = []string{"service", "pick", "replica", "zone", "role"}

// besideVerb are the keys of a fault that stand beside its verb, for the error when they stand within.
var besideVerb = []string{"name", "at", "for", "after", "when"}

func faultList(kinds fault.Kinds) shared {
	return shared{many{of: faultKeys(kinds), what: "a list of faults, such as - {at: 10s, kill: app, for: 10s}", max: 100}, "faults"}
}

func faultKeys(kinds fault.Kinds) *keys {
	list := []key{
		{name: "name", doc: "for objectives and reports", def: "VERB-SERVICE-n", form: anyName},
		{name: "at", doc: "when, from the start of measured load", group: "trigger", form: duration{0, day}},
		{name: "after", doc: "when, told by another fault", group: "trigger", form: afterKeys()},
		{name: "when", doc: "when, told by what is measured: as soon as it holds in a full second of load", group: "trigger", form: condition{}},
		{name: "for", doc: "how long", def: "to the end of measured load", form: duration{time.Millisecond, day}},
	}
	verbs := verbNames(kinds)
	for _, verb := range slices.Sorted(slices.Values(append(verbs, randomVerb))) {
		one := key{name: verb, group: "verb", doc: "a nemesis: faults drawn by chance, from the seed", form: randomKeys(kinds)}
		if verb != randomVerb {
			one.doc, one.form = kinds[verb].Summary, verbForm(verb, kinds[verb], false)
		}
		list = append(list, one)
	}
	belong := make(map[string]string)
	for _, name := range selecting {
		belong[name] = "it within the verb's value, such as kill: {service: app, pick: all}"
	}
	return &keys{
		name: "a fault", groups: []string{"verb", "trigger"}, item: true, brief: "a mapping, such as {at: 10s, kill: app, for: 10s}",
		list: append(list, missingVerbs(kinds)...), belong: belong,
	}
}

// verbNames are the verbs that faults can be made of.
func verbNames(kinds fault.Kinds) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), func(verb string) bool { return verb == randomVerb })
}

// missingVerbs are the verbs of the format that these kinds lack.
func missingVerbs(kinds fault.Kinds) []key {
	var list []key
	for _, verb := range laterVerbs {
		if _, ok := kinds[verb]; !ok {
			list = append(list, key{name: verb, group: "verb", later: true})
		}
	}
	return list
}

func afterKeys() *keys {
	return &keys{
		name: "after", brief: "a mapping, such as {fault: crash, event: healed, delay: 2s}", list: []key{
			{name: "fault", doc: "name of another fault of the same list", required: true, form: anyName},
			{name: "event", doc: "which moment of it: onset, when it is in force; healed, when it is undone", required: true, form: enum{words: []string{Onset, Healed}}},
			{name: "delay", doc: "how long after it", def: "0s", form: duration{0, day}},
		},
	}
}

// verbForm is a verb's value.
func verbForm(verb string, kind fault.Kind, drawn bool) shared {
	name := "verb." + verb
	if drawn {
		name = "random." + verb
	}
	return shared{either{service, verbKeys(verb, kind, drawn)}, name}
}

// verbKeys are the keys of a verb's value. One that is drawn by chance may leave its service to the drawing.
func verbKeys(verb string, kind fault.Kind, drawn bool) *keys {
	k := &keys{name: verb, brief: "{service: app}", belong: make(map[string]string), empty: drawn}
	for _, name := range besideVerb {
		k.belong[name] = name + " beside the verb, such as {at: 10s, " + verb + ": app, for: 10s}"
		if drawn {
			k.belong[name] = "the verb alone: random says when and for how long"
		}
	}
	k.list = append(k.list, key{name: "service", doc: "the service that is hit", required: kind.WholeService && !drawn, form: service})
	if kind.WholeService {
		for _, name := range selecting[1:] {
			k.belong[name] = "no " + name + ": " + verb + " is about the whole service"
		}
	} else {
		k.list = append(k.list,
			key{name: "pick", doc: "how many of its nodes", def: "one; of a zone alone all", form: pick{}},
			key{name: "replica", doc: "which node; the highest if there are fewer", form: integer{what: "a whole number", min: 1, max: 1000}},
			key{name: "zone", doc: "nodes of this zone, by the Compose label tutti.zone; without service those of all services", form: zone},
			key{name: "role", doc: "nodes that answer so when the fault fires", form: roleForm()})
		if !drawn {
			k.needs = []string{"service", "zone"}
		}
	}
	for _, p := range kind.Params {
		if p.Alone && len(k.needs) > 0 {
			k.needs = append(k.needs, p.Name)
		}
		k.list = append(k.list, key{name: p.Name, doc: p.Summary, required: p.Required, form: paramForm(p)})
	}
	return k
}

func roleForm() shared {
	return shared{&keys{
		name: "a role", groups: []string{"question"}, brief: `a mapping, such as {get: "http://:8080/role", contains: leader} or {exec: [redis-cli, role], contains: master}`,
		list: []key{
			{name: "get", doc: "asked by HTTP, at each node's own address", group: "question", form: roleURL},
			{name: "exec", doc: "asked by a command inside each node; its exit code is 0", group: "question", form: command{}},
			{name: "contains", doc: "what the answer contains", form: text{what: "text", pattern: nonEmpty, loose: true, lines: true}},
			{name: "status", doc: "status of the answer", def: "200–399", form: integer{what: "a status of HTTP", min: 100, max: 599}},
			{name: "json", doc: "a path into the answer's JSON, with equals", form: jsonPath},
			{name: "equals", doc: "what stands there", form: value},
		},
	}, "role"}
}

func randomKeys(kinds fault.Kinds) *keys {
	one := &keys{
		name: "a drawn fault", groups: []string{"verb"}, item: true, brief: "such as {kill: app} or {latency: {service: app, delay: 100ms}}",
		belong: map[string]string{randomVerb: "another verb: a random fault draws no other"},
	}
	for _, name := range besideVerb {
		one.belong[name] = "the verb alone: random says when and for how long"
	}
	for _, verb := range verbNames(kinds) {
		one.list = append(one.list, key{name: verb, group: "verb", doc: kinds[verb].Summary, form: verbForm(verb, kinds[verb], true)})
	}
	one.list = append(one.list, missingVerbs(kinds)...)
	random := &keys{
		name: randomVerb, brief: "a mapping, such as {verbs: [{kill: app}, {pause: db}], every: 8s, for: 2s..5s}", belong: make(map[string]string),
		list: []key{
			{name: "verbs", doc: "what is drawn: faults without times, or verbs alone", required: true, form: many{
				of: either{verbAlone(kinds), one}, what: "a list of verbs, such as [{kill: app}, {pause: {service: db}}]", min: 1, max: 100,
			}},
			{name: "services", doc: "one of these is drawn for a verb that says none", form: many{of: service, what: "a list of services, such as [app, db]", min: 1, max: 100}},
			{name: "every", doc: "time from one to the next", required: true, form: duration{time.Millisecond, day}},
			{name: "for", doc: "how long each one is in force", form: span{time.Millisecond, day}},
		},
	}
	for _, name := range []string{"name", "at", "after", "when"} {
		random.belong[name] = name + " beside random"
	}
	for _, name := range selecting {
		random.belong[name] = "it within a verb, or services: a list of them"
	}
	return random
}

func verbAlone(kinds fault.Kinds) enum {
	e := enum{words: verbNames(kinds)}
	for _, k := range missingVerbs(kinds) {
		e.later = append(e.later, k.name)
	}
	return e
}

// roleAddress checks what the pattern of an address cannot.
func (b *builder) roleAddress(i item) string {
	address, _ := i.v.(string)
	port, _, _ := strings.Cut(strings.TrimPrefix(address, "http://:"), "/")
	if n, err := strconv.Atoi(port); address != "" && (err != nil || n < 1 || n > 65535) {
		b.wrong(i.node, "%s is no port", quote(port)).expect("a port from 1 to 65535")
	}
	return address
}
