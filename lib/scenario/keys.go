package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
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

// node is where a key's value stands; the mapping itself if it is absent.
func (f *fields) place(name string) *yaml.Node {
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
	seen := make(map[string]bool)
	guessed := make(map[string]bool) // keys that a misspelt one was probably meant to be
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := deref(n.Content[i]), deref(n.Content[i+1])
		r.keyOf[value] = name
		if !r.isKey(name, seen) {
			continue
		}
		one, ok := k.find(name.Value)
		switch {
		case !ok:
			guessed[k.unknown(r, f, n, name)] = true
		case one.later:
			r.lacks(name, fmt.Sprintf("%q", one.name)).expect("%s", k.alternatives(one))
			guessed[""] = true
		default:
			k.take(r, f, one, name, value)
		}
	}
	if !guessed[""] {
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

// alternatives says what to write instead of a key that this version lacks.
func (k *keys) alternatives(one key) string {
	if one.choice {
		return k.group + " " + list(k.choices(), "or")
	}
	return list(k.names(), "or")
}

// unknown reports a key that is not of the format and returns the one that was probably meant.
// The empty string means that nobody can tell what is missing.
func (k *keys) unknown(r *reader, f *fields, n, name *yaml.Node) string {
	if where, ok := k.belong[name.Value]; ok {
		r.wrong(name, "%s does not stand here", quote(name.Value)).expect("%s", where)
		return "-"
	}
	var all []string
	for _, one := range k.list {
		all = append(all, one.name)
	}
	if k.group != "" && !k.hasChoice(n) {
		e := r.wrong(name, "unknown %s %s", k.group, quote(name.Value)).near(name.Value, all)
		if _, ok := k.find(e.Nearest); e.Nearest == "" || ok {
			e.expect("one %s: %s", k.group, list(k.choices(), "or"))
		}
		if one, ok := k.find(e.Nearest); ok && !one.choice {
			e.Msg = fmt.Sprintf("unknown key %s of %s", quote(name.Value), k.name)
			e.expect("%s", list(k.names(), "or"))
			return one.name
		}
		return ""
	}
	e := r.wrong(name, "unknown key %s of %s", quote(name.Value), k.name).near(name.Value, all).
		expect("%s", list(k.names(), "or"))
	return e.Nearest + "-"[:boolInt(e.Nearest == "")]
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

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
