package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/slo"
)

// keys is a mapping of the format: every key that it knows. It drives the parser, the JSON
// Schema and the nearest word alike.
type keys struct {
	name   string // of the mapping, for messages: "load", "a fault"
	list   []key
	group  string            // what the keys with choice are: exactly one of them must be there
	belong map[string]string // keys that stand elsewhere, and where
	empty  bool              // nothing at all is an empty mapping
	brief  string            // what may stand there, with an example; "" is made of the name
}

// A key is one key of a mapping.
type key struct {
	name     string
	doc      string
	form     form // nil if later
	required bool
	choice   bool   // one of the keys of which exactly one must be there
	later    bool   // part of the format, and lacked by this version
	instead  string // of a later one: what to write today, or ""
	def      string // default, as the docs say it
}

// fields is a mapping that was read.
type fields struct {
	node *yaml.Node
	at   map[string]item
	// chosen is the key of the group, "" if it is missing or wrong.
	chosen string
}

// get returns the value of a key, or def if it is absent or unreadable.
func get[T any](f *fields, name string, def T) T {
	if f == nil {
		return def
	}
	if v, ok := f.at[name].v.(T); ok {
		return v
	}
	return def
}

func (f *fields) duration(name string, def time.Duration) time.Duration { return get(f, name, def) }

func (f *fields) text(name string) string { return get(f, name, "") }

// has reports whether the key is in the file, readable or not.
func (f *fields) has(name string) bool {
	if f == nil {
		return false
	}
	_, ok := f.at[name]
	return ok
}

// valueOf is where a key's value stands; the mapping itself if it is absent.
func (f *fields) valueOf(name string) *yaml.Node {
	if i, ok := f.at[name]; ok {
		return i.node
	}
	return f.node
}

func (k *keys) String() string {
	if k.brief != "" {
		return k.brief
	}
	return "a mapping with the keys " + list(k.names(), "and")
}

// names lists the keys of this version.
func (k *keys) names() []string {
	var names []string
	for _, one := range k.list {
		if !one.later {
			names = append(names, one.name)
		}
	}
	return names
}

// choices lists the keys of the group.
func (k *keys) choices() []string {
	var names []string
	for _, one := range k.list {
		if one.choice && !one.later {
			names = append(names, one.name)
		}
	}
	return names
}

func (k *keys) find(name string) (key, bool) {
	i := slices.IndexFunc(k.list, func(one key) bool { return one.name == name })
	if i < 0 {
		return key{}, false
	}
	return k.list[i], true
}

func (k *keys) read(r *reader, n *yaml.Node) (any, bool) {
	f := &fields{node: n, at: make(map[string]item)}
	if n.Kind == yaml.ScalarNode && coreType(n) == "null" && k.empty {
		return f, true
	}
	if n.Kind != yaml.MappingNode {
		return r.want(n, k)
	}
	errors := len(r.errs)
	seen, guessed := make(map[string]bool), make(map[string]bool)
	complete := true // nothing stands for something that is required
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := deref(n.Content[i]), deref(n.Content[i+1])
		r.keyOf[value] = name
		if !r.isKey(name, seen) {
			continue
		}
		one, ok := k.find(name.Value)
		switch {
		case !ok:
			meant, ofGroup := k.unknown(r, n, name)
			guessed[meant] = true
			complete = complete && !ofGroup
		case one.later:
			e := r.lacks(name, fmt.Sprintf("%q", one.name))
			if e.Expected = one.instead; one.choice {
				e.expect("one %s: %s", k.group, list(k.choices(), "or"))
			}
			complete = false
		default:
			k.take(r, f, one, name, value)
		}
	}
	if complete {
		k.missing(r, f, guessed)
	}
	return f, len(r.errs) == errors || len(f.at) > 0
}

// take reads the value of a known key.
func (k *keys) take(r *reader, f *fields, one key, name, value *yaml.Node) {
	if one.choice && f.chosen != "" {
		r.wrong(name, "%s has one %s, and here are two: %s and %s", k.name, k.group, f.chosen, one.name).
			expect("one of them, or two items in the list")
		return
	}
	if one.choice {
		f.chosen = one.name
	}
	v, ok := one.form.read(r, value)
	if !ok {
		v = nil
	}
	f.at[one.name] = item{name, value, v}
}

// unknown reports a key that is not of the format. It returns the key that was probably
// meant, and whether the unknown one stands where one of the group should.
func (k *keys) unknown(r *reader, n, name *yaml.Node) (string, bool) {
	if where, ok := k.belong[name.Value]; ok {
		r.wrong(name, "%s does not stand here", quote(name.Value)).expect("%s", where)
		return "", false
	}
	var all []string
	for _, one := range k.list {
		all = append(all, one.name)
	}
	meant, _ := k.find(slo.Nearest(name.Value, all))
	ofGroup := k.group != "" && !k.hasChoice(n) && (meant.name == "" || meant.choice)
	if ofGroup {
		e := r.wrong(name, "unknown %s %s", k.groupName(), quote(name.Value)).expect("one %s: %s", k.group, list(k.choices(), "or"))
		e.Nearest = meant.name
		return meant.name, true
	}
	e := r.wrong(name, "unknown key %s of %s", quote(name.Value), k.name).expect("%s", list(k.names(), "or"))
	e.Nearest = meant.name
	return meant.name, false
}

// groupName is "fault verb" or "request method".
func (k *keys) groupName() string { return strings.TrimPrefix(k.name, "a ") + " " + k.group }

// hasChoice reports whether one of the group's keys is in the mapping.
func (k *keys) hasChoice(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if one, ok := k.find(deref(n.Content[i]).Value); ok && one.choice {
			return true
		}
	}
	return false
}

// missing reports the required keys that are not there.
func (k *keys) missing(r *reader, f *fields, guessed map[string]bool) {
	for _, one := range k.list {
		if one.required && !f.has(one.name) && !guessed[one.name] {
			r.wrong(r.head(f.node), "%s lacks %q", k.name, one.name).expect("%s: %s", one.name, one.form)
		}
	}
	if k.group != "" && f.chosen == "" {
		r.wrong(r.head(f.node), "%s lacks its %s", k.name, k.group).
			expect("one %s: %s", k.group, list(k.choices(), "or"))
	}
}

func (k *keys) schema() object {
	properties := make(object)
	var required []string
	var choices []object
	for _, one := range k.list {
		if one.later {
			continue
		}
		s := one.form.schema()
		described := object{"description": strings.TrimSpace(one.doc)}
		for name, v := range s {
			described[name] = v
		}
		if one.def != "" {
			described["description"] = one.doc + "; default " + one.def
		}
		properties[one.name] = described
		if one.required {
			required = append(required, one.name)
		}
		if one.choice {
			choices = append(choices, object{"required": []string{one.name}})
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if k.empty {
		s["type"] = []string{"object", "null"}
	}
	if required != nil {
		s["required"] = required
	}
	if choices != nil {
		s["oneOf"] = choices
	}
	return s
}
