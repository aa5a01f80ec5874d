package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/slo"
)

// faults makes the faults of a list, and names those that have no name.
func (b *builder) faults(items []item, load Load, header string) []Fault {
	var all []Fault
	var read []*fields
	whole := true // every fault could be read
	for _, i := range items {
		f, ok := i.v.(*fields)
		if ok = ok && f.chosen["verb"] != ""; !ok {
			whole = false
			continue
		}
		b.condition(f, "when", load.Requests, header, time.Second, "one second")
		one, ok := b.fault(f, load)
		if !ok {
			whole = false
			continue
		}
		one.Line = i.node.Line
		if load.For() > 0 && one.At >= load.For() {
			b.wrong(f.valueOf("at"), "measured load is over by then").expect("less than %s, which is %s", short(load.For()), load.length())
			whole = false
		}
		all, read = append(all, one), append(read, f)
	}
	b.name(all, read, load)
	b.links(all, read, load, whole && len(items) == len(all))
	return all
}

// name gives every fault its name, and sees that no two in a trial have the same.
func (b *builder) name(all []Fault, read []*fields, load Load) {
	nodes := make(map[string]*yaml.Node)
	count := make(map[string]int)
	take := func(name string, at *yaml.Node) {
		if first := nodes[name]; first != nil {
			b.wrong(at, "two faults are named %q", name).expect("another name; the first stands in line %d", first.Line)
		}
		nodes[name] = at
	}
	var random []int
	for i := range all {
		one, f := &all[i], read[i]
		key := one.Verb
		if one.Selector.Service != "" {
			key += "-" + one.Selector.Service
		}
		count[key]++
		at := f.valueOf("name")
		if one.Name == "" {
			one.Name = fmt.Sprintf("%s-%d", key, count[key])
			at = f.at[one.Verb].key
		}
		take(one.Name, at)
		if one.Random != nil {
			random = append(random, i)
		}
	}
	for _, i := range random { // what they draw has names, too
		at := nodes[all[i].Name]
		for k := range all[i].Draws(load.For()) {
			if first := nodes[all[i].DrawName(k)]; first != nil {
				b.wrong(at, "a fault that %s draws will be named %q, and so is another", all[i].Name, all[i].DrawName(k)).
					expect("another name; the other stands in line %d", first.Line)
				break
			}
		}
	}
}

// fault makes one fault, without its place among the others.
func (b *builder) fault(f *fields, load Load) (Fault, bool) {
	verb := f.chosen["verb"]
	one := Fault{Name: f.text("name"), Verb: verb, At: f.duration("at", 0), For: f.duration("for", 0)}
	if a := get[*fields](f, "after", nil); a != nil {
		one.After = &After{Fault: a.text("fault"), Event: a.text("event"), Delay: a.duration("delay", 0)}
	}
	if c, ok := f.at["when"].v.(slo.Condition); ok {
		one.When = &c
	}
	if verb == randomVerb {
		return one, b.random(&one, f, load)
	}
	if b.kinds[verb].NoFor && f.has("for") {
		b.wrong(f.at["for"].key, "%s is over when it has happened: it has no \"for\"", verb).expect("the fault without for")
	}
	return one, b.act(&one, f.at[verb], false)
}

// act fills in what a verb's value says: which nodes are hit, and the verb's parameters. A drawn fault may leave the
// service to the drawing.
func (b *builder) act(one *Fault, value item, drawn bool) bool {
	kind, at := b.kinds[one.Verb], value.node
	one.Params = fault.Params{}
	given, isMapping := value.v.(*fields)
	if text, ok := value.v.(string); ok {
		one.Selector.Service = text
	} else if !isMapping {
		return false // reported
	}
	alone, readable := "", true
	for _, p := range kind.Params {
		switch {
		case !given.has(p.Name) && p.Required:
			if !isMapping {
				b.wrong(at, "%s lacks %q", one.Verb, p.Name).
					expect("a mapping, such as %s: {service: %s, %s: …}", one.Verb, one.Selector.Service, p.Name)
			}
			readable = false
		case !given.has(p.Name):
		case given.at[p.Name].v == nil:
			readable = false // reported
		default:
			one.Params[p.Name] = paramValue(p, given.at[p.Name].v)
		}
		if p.Alone && given.has(p.Name) && alone == "" {
			alone = p.Name
		}
	}
	if isMapping {
		readable = b.selector(one, given, alone) && readable
	}
	s := one.Selector
	if !readable || kind.New == nil || s.Service == "" && s.Zone == "" && alone == "" && !drawn {
		return false // reported; a kind without New is only in the vocabulary
	}
	made, err := kind.New(one.Params)
	if err != nil {
		b.wrong(at, "%s: %s", one.Verb, visible(strings.TrimPrefix(err.Error(), one.Verb+": ")))
		return false
	}
	one.Fault = made
	return true
}

// selector reads which nodes are hit. alone is the parameter that says it instead, or "". It reports whether all of it
// could be read.
func (b *builder) selector(one *Fault, f *fields, alone string) bool {
	for _, name := range selecting {
		if alone != "" && f.has(name) {
			b.wrong(f.at[name].key, "%s says which nodes are hit: there is no %s beside it", alone, name).expect("one of them")
			return false
		}
		if f.has(name) && f.at[name].v == nil {
			return false // reported
		}
	}
	s := fault.Selector{Service: f.text("service"), Replica: int(get(f, "replica", int64(0))), Zone: f.text("zone")}
	if p, ok := f.at["pick"].v.(pick); ok {
		s.All, s.Count, s.Share = p.all, p.count, p.share
		if s.Count == 1 && s.Zone == "" {
			s.Count = 0 // one is the default
		}
	}
	good := true
	for _, other := range []string{"pick", "zone", "role"} {
		if f.has("replica") && f.has(other) {
			b.wrong(f.at["replica"].key, "%s and replica both choose nodes", other).expect("one of them")
			good = false
			break
		}
	}
	if r := get[*fields](f, "role", nil); r != nil {
		s.Role = b.role(r)
		good = good && s.Role != nil
	}
	one.Selector = s
	return good
}

// role reads by which question nodes are found; nil if it cannot be asked.
func (b *builder) role(f *fields) *fault.Role {
	errors := len(b.errs)
	r := &fault.Role{
		Get: b.roleAddress(f.at["get"]), Exec: get[[]string](f, "exec", nil), Contains: f.text("contains"),
		Status: int(get(f, "status", int64(0))), JSON: f.text("json"), Equals: f.text("equals"),
	}
	for _, name := range []string{"status", "json", "equals"} {
		if f.chosen["question"] == "exec" && f.has(name) {
			b.wrong(f.at[name].key, "%s is about an answer of HTTP", name).expect("contains, or nothing: then the command's exit code says it")
		}
	}
	for _, pair := range [][2]string{{"json", "equals"}, {"equals", "json"}} {
		if f.has(pair[0]) && !f.has(pair[1]) {
			b.wrong(f.at[pair[0]].key, "%s without %s", pair[0], pair[1]).expect("both, such as {json: role, equals: leader}")
		}
	}
	if len(b.errs) > errors || f.chosen["question"] == "" || f.at[f.chosen["question"]].v == nil {
		return nil
	}
	return r
}

// random reads a nemesis. The plan draws what it does.
func (b *builder) random(one *Fault, f *fields, load Load) bool {
	v, ok := f.at[randomVerb].v.(*fields)
	if !ok {
		return false // reported
	}
	for _, name := range []string{"after", "when"} {
		if f.has(name) {
			b.wrong(f.at[name].key, "random has no %q: all of it is drawn before anything starts", name).expect("at")
			return false
		}
	}
	r := &Random{Every: v.duration("every", 0)}
	for _, i := range get[[]item](v, "services", nil) {
		r.Services = append(r.Services, i.v.(string))
	}
	items := get[[]item](v, "verbs", nil)
	lasting := false
	for _, i := range items {
		if verb, ok := b.drawn(r, i, v); ok {
			r.Verbs = append(r.Verbs, verb)
			lasting = lasting || !b.kinds[verb.Verb].NoFor
		}
	}
	if len(r.Verbs) == 0 || len(r.Verbs) < len(v.at["verbs"].node.Content) || r.Every == 0 {
		return false // reported
	}
	length, ok := v.at["for"].v.(span)
	switch {
	case !v.has("for") && lasting:
		b.wrong(f.at[randomVerb].key, "random lacks \"for\"").expect("for: %s", span{})
	case v.has("for") && !lasting:
		b.wrong(v.at["for"].key, "each of the verbs is over when it has happened: there is no \"for\"").expect("random without for inside")
	case lasting && !ok: // reported
	default:
		r.Min, r.Max = length.min, length.max
		one.Random = r
		if n := draws(one.At, one.For, r.Every, load.For()); n > maxDraws {
			b.wrong(v.at["every"].node, "that makes %d faults", n).expect("at most %d: a longer \"every\", or a shorter \"for\" beside random", maxDraws)
			return false
		}
		return true
	}
	return false
}

// drawn reads one of the verbs of a nemesis.
func (b *builder) drawn(r *Random, i item, random *fields) (Fault, bool) {
	one := Fault{Line: i.node.Line}
	at := i
	switch v := i.v.(type) {
	case string: // a verb alone
		one.Verb, at.v = v, &fields{node: i.node}
		for _, p := range b.kinds[v].Params {
			if p.Required {
				b.wrong(i.node, "%s lacks %q", v, p.Name).expect("a mapping, such as %s: {%s: …}", v, p.Name)
				return one, false
			}
		}
	case *fields:
		if one.Verb = v.chosen["verb"]; one.Verb == "" {
			return one, false // reported
		}
		at = v.at[one.Verb]
	default:
		return one, false // reported
	}
	if !b.act(&one, at, true) {
		return one, false
	}
	if Anywhere(one, b.kinds[one.Verb]) && len(r.Services) == 0 {
		if !random.has("services") {
			b.wrong(i.node, "%s has no service", one.Verb).expect("%s: {service: app}, or services: [app] in random", one.Verb)
		}
		return one, false
	}
	return one, true
}

// Anywhere reports whether a fault leaves it to the drawing which service it hits.
func Anywhere(f Fault, kind fault.Kind) bool {
	return f.Selector.Service == "" && f.Selector.Zone == "" &&
		!slices.ContainsFunc(kind.Params, func(p fault.Param) bool { return p.Alone && f.Params.Has(p.Name) })
}

// condition checks what `when` or `while` measures against the load. It is judged on so much of it: "one second", "a hold".
func (b *builder) condition(f *fields, key string, requests []load.Request, header string, length time.Duration, on string) {
	c, ok := f.at[key].v.(slo.Condition)
	if !ok {
		return
	}
	at := f.at[key].node
	var names []string
	for _, q := range requests {
		names = append(names, q.Name)
	}
	for _, m := range c.Metrics() {
		place := b.src.within(at, m.Offset, len(m.Ref.Metric))
		if m.Ref.Request != "" && len(names) > 0 && !slices.Contains(names, m.Ref.Request) {
			b.wrongAt(place, "no request is named %s", quote(m.Ref.Request)).near(m.Ref.Request, names).expect("%s", list(quoted(names), "or"))
		}
		if (m.Ref.Metric == "balance" || m.Ref.Metric == "serving_nodes") && header == "" {
			b.wrongAt(place, "%s needs a header that the target does not name", m.Ref.Metric).expect("node_header in target, such as node_header: X-Node")
		}
		if len(m.Ref.Args) > 0 && length > 0 && m.Ref.Args[0] > length.Seconds() {
			b.wrongAt(place, "a condition is judged on %s, which has no window of %s", on, short(time.Duration(m.Ref.Args[0]*float64(time.Second)))).
				expect("a window of at most %s", short(length))
		}
	}
}
