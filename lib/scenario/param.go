package scenario

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/slo"
)

// paramForm is the form of a verb's parameter.
func paramForm(p fault.Param) form {
	switch p.Type {
	case fault.Duration:
		return duration{0, day}
	case fault.SignedDuration:
		return shift{day}
	case fault.Count:
		return integer{what: "a whole number", min: 0, max: 100_000}
	case fault.Number:
		return number{"a number above 0", 1e6}
	case fault.Share:
		return share{}
	case fault.BitRate:
		return bitRate
	case fault.Size:
		return size
	case fault.Port:
		return integer{what: "a port", min: 1, max: 65535}
	case fault.Status:
		return integer{what: "a status of HTTP", min: 100, max: 599}
	case fault.Path:
		return urlPath
	case fault.Word:
		return enum{words: p.Words}
	case fault.Switch:
		return toggle{}
	case fault.Peer:
		return peer
	case fault.Groups:
		return groups{}
	case fault.Command:
		return command{}
	case fault.Text:
	}
	return anything
}

// paramValue is a parameter as [fault.Params] has it.
func paramValue(p fault.Param, v any) any {
	if i, ok := v.(int64); ok && (p.Type == fault.Count || p.Type == fault.Port || p.Type == fault.Status) {
		return int(i)
	}
	return v
}

// shift is a time.Duration that may be below 0.
type shift struct{ max time.Duration }

var shiftPattern = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`)

func (shift) String() string { return "a duration, such as 5s, 2m or -5m" }

func (shift) schema() object { return object{"type": "string", "pattern": shiftPattern.String()} }

func (f shift) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	if !shiftPattern.MatchString(n.Value) {
		e := r.wrong(n, "%s is no duration", quote(n.Value)).expect("%s", f)
		if numberPattern.MatchString(strings.TrimLeft(n.Value, "-+")) {
			e.Nearest = n.Value + "s"
		}
		return nil, false
	}
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < -f.max || v > f.max {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("from -%s to %s", short(f.max), short(f.max))
		return nil, false
	}
	return v, true
}

// share is a percentage, as a ratio above 0 and at most 1.
type share struct{}

func (share) String() string { return "a share, such as 10% or 0.5%" }

func (share) schema() object { return object{"type": "string", "pattern": percentPattern.String()} }

func (f share) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	digits, percent := strings.CutSuffix(n.Value, "%")
	if !percent || !numberPattern.MatchString(digits) {
		e := r.wrong(n, "%s is no share", quote(n.Value)).expect("%s", f)
		if ratio, err := strconv.ParseFloat(n.Value, 64); err == nil && ratio > 0 && ratio < 1 && numberPattern.MatchString(n.Value) {
			e.Nearest = strconv.FormatFloat(ratio*100, 'g', 6, 64) + "%"
		} else if numberPattern.MatchString(n.Value) {
			e.Nearest = n.Value + "%"
		}
		return nil, false
	}
	v, err := strconv.ParseFloat(digits+"e-2", 64)
	if err != nil || !(v > 0 && v <= 1) {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("more than 0%%, at most 100%%")
		return nil, false
	}
	return v, true
}

// amount is a number with a unit, as an int64 in the smallest one.
type amount struct {
	what    string // "bit rate"
	hint    string
	pattern *regexp.Regexp
	units   []string
	factors []float64 // of the units
	max     float64
}

// The amounts. Bit rates are the names that tc has for them, without those that mean bytes.
var (
	bitRate = amount{
		what: "bit rate", hint: "a bit rate, such as 512kbit, 1mbit or 1gbit", max: 1e12,
		pattern: regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(bit|kbit|mbit|gbit)$`),
		units:   []string{"bit", "kbit", "mbit", "gbit"}, factors: []float64{1, 1e3, 1e6, 1e9},
	}
	size = amount{
		what: "size", hint: "a size, such as 64MiB, 1GiB or 500kB", max: 1 << 50,
		pattern: regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|kB|MB|GB)$`),
		units:   []string{"B", "KiB", "MiB", "GiB", "kB", "MB", "GB"}, factors: []float64{1, 1 << 10, 1 << 20, 1 << 30, 1e3, 1e6, 1e9},
	}
)

func (f amount) String() string { return f.hint }

func (f amount) schema() object { return object{"type": "string", "pattern": f.pattern.String()} }

func (f amount) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	unit := strings.TrimLeft(n.Value, "0123456789.")
	digits := strings.TrimSuffix(n.Value, unit)
	if !f.pattern.MatchString(n.Value) {
		e := r.wrong(n, "%s is no %s", quote(n.Value), f.what).expect("%s", f)
		if meant := slo.Nearest(unit, f.units); meant != "" && numberPattern.MatchString(digits) {
			e.Nearest = digits + meant
		}
		return nil, false
	}
	v, err := strconv.ParseFloat(digits, 64)
	for i, u := range f.units {
		if u == unit {
			v = math.Round(v * f.factors[i])
		}
	}
	if err != nil || v < 1 || v > f.max {
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("at least 1%s, at most %.0f%s", f.units[0], f.max, f.units[0])
		return nil, false
	}
	return int64(v), true
}

// toggle is a bool.
type toggle struct{}

func (toggle) String() string { return "true or false" }

func (toggle) schema() object { return object{"type": "boolean"} }

func (f toggle) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) != "bool" {
		return r.want(n, f)
	}
	return strings.EqualFold(n.Value, "true"), true
}

// groups are two groups of peers or more, as a [][]string. A peer alone is a group of one.
type groups struct{}

const maxGroups = 50

func (groups) String() string { return "groups, such as [a, b] or [[a, b], [c]]" }

func (groups) schema() object {
	one := peer.schema()
	return object{"type": "array", "minItems": 2, "maxItems": maxGroups, "items": object{"anyOf": []object{
		one, {"type": "array", "items": one, "minItems": 1, "maxItems": maxGroups},
	}}}
}

func (f groups) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		return r.want(n, f)
	}
	if len(n.Content) < 2 || len(n.Content) > maxGroups {
		r.wrong(n, "the list has %d items", len(n.Content)).expect("2 to %d %s", maxGroups, f)
		return nil, false
	}
	in := make(map[string]bool)
	all := make([][]string, len(n.Content))
	good := true
	for i, c := range n.Content {
		members := []*yaml.Node{deref(c)}
		if members[0].Kind == yaml.SequenceNode {
			c, members = members[0], members[0].Content
		}
		if len(members) < 1 || len(members) > maxGroups {
			r.wrong(c, "a group has %d members", len(members)).expect("1 to %d services or replicas", maxGroups)
			good = false
		}
		for _, m := range members {
			m = deref(m)
			v, ok := peer.read(r, m)
			if !ok {
				good = false
				continue
			}
			name := v.(string)
			if in[name] {
				r.wrong(m, "%s is there twice", quote(name)).expect("each service or replica in one group")
				good = false
			}
			in[name] = true
			all[i] = append(all[i], name)
		}
	}
	return all, good
}

// command is what runs inside a node, as a []string. A text is split as Compose splits one; no shell reads it.
type command struct{}

func (command) String() string {
	return "a command, such as [redis-cli, flushall]; for a shell [sh, -c, …]"
}

func (command) schema() object {
	return object{"anyOf": []object{
		{"type": "string"}, {"type": "array", "items": value.schema(), "minItems": 1, "maxItems": 100},
	}}
}

func (f command) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind == yaml.ScalarNode && coreType(n) == "string" {
		words, bad := words(n.Value)
		if bad == nil {
			return words, true
		}
		e := r.wrongAt(r.src.within(n, bad.at, bad.length), "%s", bad.msg)
		e.Expected = bad.want
		return nil, false
	}
	if n.Kind != yaml.SequenceNode {
		return r.want(n, f)
	}
	items, ok := many{of: value, what: f.String(), min: 1, max: 100}.read(r, n)
	if !ok {
		return nil, false
	}
	var words []string
	for _, i := range items.([]item) {
		words = append(words, i.v.(string))
	}
	if len(words) < len(n.Content) {
		return nil, false // reported
	}
	if words[0] == "" {
		r.wrong(n, "the command has no name").expect("%s", f)
		return nil, false
	}
	return words, true
}

// A badCommand says what is wrong with a command's text, and where, in bytes.
type badCommand struct {
	at, length int
	msg, want  string
}

// words splits a text as a shell would: at spaces, but for quotes and backslashes. What only a shell could carry out is
// refused, because it would not be.
func words(text string) ([]string, *badCommand) {
	var all []string
	var word strings.Builder
	begun, open, quote := false, 0, rune(0)
	escaped := false
	for i, c := range text {
		switch {
		case c < ' ' && !strings.ContainsRune(" \t\n\r", c) || c == 0x7f:
			return nil, &badCommand{i, 1, "a control character in the command", "printable text"}
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			begun, escaped, open = true, true, i
		case quote != 0 && c == quote:
			quote = 0
		case strings.ContainsRune("$`", c) && quote != '\'', strings.ContainsRune("|&;<>()", c) && quote == 0:
			return nil, &badCommand{i, 1, strconv.Quote(string(c)) + " is for a shell, and no shell reads a command", `[sh, -c, "…"], if the image has one; or single quotes around it`}
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			begun, quote, open = true, c, i
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if begun {
				all = append(all, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteRune(c)
		}
	}
	if quote != 0 || escaped {
		return nil, &badCommand{open, 1, "the command ends within " + strconv.Quote(text[open:open+1]), "the quote closed"}
	}
	if begun {
		all = append(all, word.String())
	}
	if len(all) == 0 || all[0] == "" {
		return nil, &badCommand{0, len(text), "the command has no name", command{}.String()}
	}
	return all, nil
}

// span is how long something takes: 2s..5s, or 3s.
type span struct{ min, max time.Duration }

var spanPattern = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+(\.\.([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)?$`)

func (span) String() string { return "a duration or a range of them, such as 3s or 2s..5s" }

func (span) schema() object { return object{"type": "string", "pattern": spanPattern.String()} }

func (f span) read(r *reader, n *yaml.Node) (any, bool) {
	if n.Kind != yaml.ScalarNode || coreType(n) == "null" {
		return r.want(n, f)
	}
	if !spanPattern.MatchString(n.Value) {
		e := r.wrong(n, "%s is no duration and no range", quote(n.Value)).expect("%s", f)
		if from, to, ok := strings.Cut(n.Value, "-"); ok && spanPattern.MatchString(from+".."+to) {
			e.Nearest = from + ".." + to
		} else if numberPattern.MatchString(n.Value) {
			e.Nearest = n.Value + "s"
		}
		return nil, false
	}
	from, to, ok := strings.Cut(n.Value, "..")
	if !ok {
		to = from
	}
	var v span
	var err, too error
	v.min, err = time.ParseDuration(from)
	v.max, too = time.ParseDuration(to)
	switch {
	case err != nil || too != nil || v.min < f.min || v.max > f.max:
		r.wrong(n, "%s is out of range", quote(n.Value)).expect("from %s to %s", short(f.min), short(f.max))
	case v.max < v.min:
		r.wrong(n, "%s ends before it begins", quote(n.Value)).expect("the shorter one first").Nearest = to + ".." + from
	default:
		return v, true
	}
	return nil, false
}
