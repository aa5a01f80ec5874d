package scenario

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/slo"
)

// A form is what a value may look like in the file: how it is read, and how the JSON Schema
// says the same.
type form interface {
	// read returns the value, or reports what is wrong and returns false.
	read(r *reader, n *yaml.Node) (any, bool)
	schema() object
	// String says what may stand there, with an example.
	String() string
}

// An object is a JSON object of the schema.
type object = map[string]any

// text is a string; loose also takes numbers and booleans as their text.
type text struct {
	what    string
	pattern *regexp.Regexp // nil: any
	loose   bool
	lines   bool   // line breaks and tabs are fine
	hint    string // what to write, where what is not enough
	// fix guesses what was meant by a text that the pattern refuses, "" if it cannot.
	fix func(string) string
}

var typeNames = map[string]string{"bool": "a boolean", "int": "a number", "float": "a number"}

func (t text) String() string {
	if t.hint != "" {
		return t.hint
	}
	return t.what
}

func (t text) read(r *reader, n *yaml.Node) (any, bool) {
	kind := coreType(n)
	if n.Kind != yaml.ScalarNode || kind == "null" {
		return r.want(n, t)
	}
	if kind != "string" && !t.loose {
		e := r.wrong(n, "%s is %s, not text", quote(n.Value), typeNames[kind]).expect("%s", t)
		if t.pattern == nil || t.pattern.MatchString(n.Value) {
			e.Nearest = "'" + n.Value + "'"
		}
		return nil, false
	}
	if t.pattern != nil && !t.pattern.MatchString(n.Value) {
		e := r.wrong(n, "%s is not %s", quote(n.Value), t.what).expect("%s", t)
		if t.fix != nil {
			e.Nearest = t.fix(n.Value)
		}
		return nil, false
	}
	for i, c := range n.Value {
		if (c < ' ' || c == 0x7f) && !(t.lines && (c == '\n' || c == '\t' || c == '\r')) {
			r.wrongAt(r.src.within(n, i, 1), "a control character in %s", quote(n.Value)).expect("printable text")
			return nil, false
		}
	}
	return n.Value, true
}

func (t text) schema() object {
	s := object{"type": "string"}
	if t.loose {
		s["type"] = []string{"string", "number", "boolean"}
	}
	if t.pattern != nil {
		s["pattern"] = t.pattern.String()
	}
	return s
}

// duration is a time.Duration.
type duration struct{ min, max time.Duration }

var (
	durationPattern = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`)
	ratePattern     = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?/(s|m|h)$`)
	percentPattern  = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?%$`)
	numberPattern   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
)

func (d duration) String() string { return "a duration, such as 250ms, 5s or 2m" }

func (d duration) schema() object {
	return object{"type": "string", "pattern": durationPattern.String()}
}

func (d duration) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, d)
	}
	if !durationPattern.MatchString(n.Value) {
		e := r.wrong(n, "%s is no duration", quote(n.Value)).expect("%s", d)
		if numberPattern.MatchString(n.Value) {
			e.Nearest = n.Value + "s"
		}
		return nil, false
	}
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < d.min || v > d.max {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("from %s to %s", short(d.min), short(d.max))
		return nil, false
	}
	return v, true
}

// short writes a duration as a user would: 24h, not 24h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// rate is a float64 per second.
type rate struct{ max float64 }

func (f rate) String() string { return "a rate, such as 300/s or 5000/m" }

func (f rate) schema() object { return object{"type": "string", "pattern": ratePattern.String()} }

func (f rate) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	if !ratePattern.MatchString(n.Value) {
		e := r.wrong(n, "%s is no rate", quote(n.Value)).expect("%s", f)
		if numberPattern.MatchString(n.Value) {
			e.Nearest = n.Value + "/s"
		}
		return nil, false
	}
	digits, unit, _ := strings.Cut(n.Value, "/")
	v, err := strconv.ParseFloat(digits, 64)
	v /= map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || v <= 0 || v > f.max {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("more than 0/s, at most %.0f/s", f.max)
		return nil, false
	}
	return v, true
}

// integer is an int64.
type integer struct {
	what     string
	min, max int64
}

func (f integer) String() string {
	switch {
	case f.max == math.MaxInt64:
		return f.what
	case f.max == f.min:
		return fmt.Sprintf("%s, %d", f.what, f.min)
	}
	return fmt.Sprintf("%s from %d to %d", f.what, f.min, f.max)
}

func (f integer) schema() object {
	s := object{"type": "integer"}
	if f.min > math.MinInt64 {
		s["minimum"] = f.min
	}
	if f.max < math.MaxInt64 {
		s["maximum"] = f.max
	}
	return s
}

func (f integer) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	v, ok := coreInt(n)
	if !ok {
		r.wrong(n, "%s is not %s", quote(n.Value), f.what).expect("%s", f)
		return nil, false
	}
	if v < f.min || v > f.max {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("%s", f)
		return nil, false
	}
	return v, true
}

// number is a float64 above 0.
type number struct {
	what string
	max  float64
}

func (f number) String() string { return f.what }

func (f number) schema() object {
	return object{"type": "number", "exclusiveMinimum": 0, "maximum": f.max}
}

func (f number) read(r *reader, n *yaml.Node) (any, bool) {
	if k := coreType(n); n.Kind != yaml.ScalarNode || k != "int" && k != "float" {
		return r.want(n, f)
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || !(v > 0 && v <= f.max) {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("more than 0, at most %v", f.max)
		return nil, false
	}
	return v, true
}

// enum is one of some words; later ones are of the format and not of this version.
type enum struct{ words, later []string }

func (f enum) String() string { return list(f.words, "or") }

func (f enum) schema() object { return object{"enum": f.words} }

func (f enum) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode {
		return r.want(n, f)
	}
	for _, w := range f.words {
		if n.Value == w {
			return w, true
		}
	}
	for _, w := range f.later {
		if n.Value == w {
			r.lacks(n, strconv.Quote(w)).expect("%s", f)
			return nil, false
		}
	}
	r.wrong(n, "unknown word %s", quote(n.Value)).near(n.Value, f.words).expect("%s", f)
	return nil, false
}

// many is a list of one form; alone also takes one item without the list.
type many struct {
	of    form
	what  string
	alone bool
	min   int
	max   int
}

func (f many) String() string { return f.what }

func (f many) schema() object {
	l := object{"type": "array", "items": f.of.schema(), "minItems": f.min, "maxItems": f.max}
	if f.alone {
		return object{"anyOf": []object{f.of.schema(), l}}
	}
	return l
}

// An item is one value of a list or a mapping, with its place.
type item struct {
	key, node *yaml.Node // key is nil in a list
	v         any
}

func (f many) read(r *reader, n *yaml.Node) (any, bool) {
	if f.alone && n.Kind == yaml.ScalarNode && coreType(n) != "null" {
		v, ok := f.of.read(r, n)
		return []item{{nil, n, v}}, ok
	}
	if n.Kind != yaml.SequenceNode {
		return r.want(n, f)
	}
	if len(n.Content) < f.min || len(n.Content) > f.max {
		e := r.wrong(n, "the list has %d items", len(n.Content)).expect("%d to %d items", f.min, f.max)
		if len(n.Content) == 0 {
			e.Msg = "the list is empty"
			e.Expected = f.what
		}
		return nil, false
	}
	var items []item
	all := true
	for _, c := range n.Content {
		c = deref(c)
		v, ok := f.of.read(r, c)
		if ok {
			items = append(items, item{nil, c, v})
		}
		all = all && ok
	}
	return items, all || len(items) > 0
}

// table is a mapping with names that the user chooses.
type table struct {
	what  string
	names text
	of    form
	min   int
	max   int
}

func (f table) String() string { return f.what }

func (f table) schema() object {
	return object{
		"type": "object", "additionalProperties": f.of.schema(), "minProperties": f.min, "maxProperties": f.max,
		"propertyNames": object{"pattern": f.names.pattern.String()},
	}
}

func (f table) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.MappingNode {
		return r.want(n, f)
	}
	if count := len(n.Content) / 2; count < f.min || count > f.max {
		e := r.wrong(n, "the mapping has %d entries", count).expect("%d to %d: %s", f.min, f.max, f.what)
		if count == 0 {
			e.Msg = "the mapping is empty"
			e.Expected = f.what
		}
		return nil, false
	}
	var items []item
	seen := make(map[string]bool)
	good := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := deref(n.Content[i]), deref(n.Content[i+1])
		r.keyOf[v] = k
		if !r.isKey(k, seen) {
			good = false
			continue
		}
		if !f.names.pattern.MatchString(k.Value) {
			r.wrong(k, "%s is not %s", quote(k.Value), f.names.what).expect("%s", f.names)
			good = false
			continue
		}
		value, ok := f.of.read(r, v)
		if ok {
			items = append(items, item{k, v, value})
		}
		good = good && ok
	}
	return items, good || len(items) > 0
}

// either is a short form, a scalar, or a long one, a mapping. Reading gives what the form gives.
type either struct {
	short form
	long  *keys
}

func (f either) String() string { return f.short.String() + "; or a mapping: " + f.long.String() }

func (f either) schema() object {
	return object{"anyOf": []object{f.short.schema(), f.long.schema()}}
}

func (f either) read(r *reader, n *yaml.Node) (any, bool) {
	switch {
	case n.Kind == yaml.MappingNode, f.long.empty && coreType(n) == "null":
		return f.long.read(r, n)
	case n.Kind == yaml.ScalarNode && coreType(n) != "null":
		return f.short.read(r, n)
	}
	return r.want(n, f)
}

// A pick is what `pick` says: one of its fields is set.
type pick struct {
	all   bool
	count int
	share float64
}

func (pick) String() string { return "one, all, a number such as 2, or a share such as 50%" }

func (pick) schema() object {
	return object{"anyOf": []object{
		{"enum": []string{"one", "all"}},
		{"type": "integer", "minimum": 1},
		{"type": "string", "pattern": percentPattern.String()},
	}}
}

func (f pick) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode {
		return r.want(n, f)
	}
	switch v, isInt := coreInt(n); {
	case n.Value == "one":
		return pick{count: 1}, true
	case n.Value == "all":
		return pick{all: true}, true
	case isInt && v >= 1 && v <= 1000:
		return pick{count: int(v)}, true
	case percentPattern.MatchString(n.Value):
		share, err := strconv.ParseFloat(strings.TrimSuffix(n.Value, "%")+"e-2", 64)
		if err == nil && share > 0 && share <= 1 {
			return pick{share: share}, true
		}
	}
	r.wrong(n, "%s picks nothing", quote(n.Value)).near(n.Value, []string{"one", "all"}).expect("%s", f)
	return nil, false
}

// margin is what `margin` says: a number, and whether it was written as a percentage.
type margin struct {
	v       float64
	percent bool
}

func (margin) String() string {
	return "a margin: 10% of times and rates, 1% (a point) of ratios, 5 for counts"
}

func (margin) schema() object {
	return object{"anyOf": []object{{"type": "number", "minimum": 0}, {"type": "string", "pattern": percentPattern.String()}}}
}

func (f margin) read(r *reader, n *yaml.Node) (any, bool) {
	digits, percent := strings.CutSuffix(n.Value, "%")
	if n.Kind != yaml.ScalarNode || !numberPattern.MatchString(digits) {
		return r.want(n, f)
	}
	if percent {
		digits += "e-2"
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || percent && v > 1 || v > 1e9 {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("%s", f)
		return nil, false
	}
	return margin{v, percent}, true
}

// check is an objective's expression.
type check struct{}

func (check) String() string { return "a comparison, such as cluster.availability >= 99%" }

func (check) schema() object {
	return object{"type": "string", "pattern": "(>=|<=|==|!=|>|<)"}
}

func (f check) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) != "string" {
		return r.want(n, f)
	}
	c, err := slo.Parse(n.Value)
	if err == nil {
		return c, true
	}
	r.syntaxError(n, err)
	return nil, false
}

// condition is what `when` says: comparisons joined by `and`.
type condition struct{}

func (condition) String() string { return "comparisons joined by and, such as p99 > 200ms" }

func (condition) schema() object { return check{}.schema() }

func (f condition) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) != "string" {
		return r.want(n, f)
	}
	c, err := slo.ParseCondition(n.Value)
	if err == nil {
		return c, true
	}
	r.syntaxError(n, err)
	return nil, false
}

// syntaxError reports what is wrong in an expression, at its place within the node.
func (r *reader) syntaxError(n *yaml.Node, err error) {
	var bad *slo.SyntaxError
	if !errors.As(err, &bad) {
		bad = &slo.SyntaxError{Length: len(n.Value), Msg: err.Error()}
	}
	e := r.wrongAt(r.src.within(n, bad.Offset, bad.Length), "%s", bad.Msg)
	e.Nearest, e.Expected = bad.Nearest, bad.Expected
}

// tree is any YAML that has a JSON form; reading gives what encoding/json takes.
type tree struct{}

func (tree) String() string { return "anything that JSON can say" }

func (tree) schema() object { return object{} }

func (f tree) read(r *reader, n *yaml.Node) (any, bool) {
	n = deref(n)
	if n.Kind == yaml.MappingNode {
		return f.mapping(r, n)
	}
	if n.Kind != yaml.SequenceNode {
		return f.scalar(r, n)
	}
	l, good := make([]any, 0, len(n.Content)), true
	for _, c := range n.Content {
		v, ok := f.read(r, c)
		l, good = append(l, v), good && ok
	}
	return l, good
}

func (f tree) mapping(r *reader, n *yaml.Node) (any, bool) {
	m, seen, good := make(map[string]any), make(map[string]bool), true
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := deref(n.Content[i])
		if !r.isKey(k, seen) {
			good = false
			continue
		}
		v, ok := f.read(r, n.Content[i+1])
		m[k.Value], good = v, good && ok
	}
	return m, good
}

func (f tree) scalar(r *reader, n *yaml.Node) (any, bool) {
	switch coreType(n) {
	case "null":
		return nil, true
	case "bool":
		return strings.EqualFold(n.Value, "true"), true
	case "int":
		if v, ok := coreInt(n); ok {
			return v, true
		}
	case "float":
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v, true
		}
	default:
		return n.Value, true
	}
	r.wrong(n, "%s has no JSON form", quote(n.Value)).expect("a number that JSON can say, or quotes around it")
	return nil, false
}
