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
	groups []string          // exactly one key of each must be there; what nobody knows is taken for one of the first
	needs  []string          // at least one of these keys must be there; the first is the usual one
	belong map[string]string // keys that stand elsewhere, and where
	empty  bool              // nothing at all is an empty mapping
	item   bool              // it is one of a list
	brief  string            // what may stand there, with an example; "" is made of the name
}

// A key is one key of a mapping.
type key struct {
	name     string
	doc      string
	form     form // nil if later
	required bool
	group    string // of which exactly one key must be there: "verb", "method"; "" for none
	later    bool   // part of the format, and lacked by this version
	instead  string // of a later one: what to write today, or ""
	def      string // default, as the docs say it
}

// fields is a mapping that was read.
type fields struct {
	node *yaml.Node
	at   map[string]item
	// chosen are the keys of the groups, by group; none if it is missing or wrong.
	chosen map[string]string
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

// choices lists the keys of a group.
func (k *keys) choices(group string) []string {
	var names []string
	for _, one := range k.list {
		if one.group == group && !one.later {
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
	f := &fields{node: n, at: make(map[string]item), chosen: make(map[string]string)}
	if n.Kind == yaml.ScalarNode && coreType(n) == "null" && k.empty {
		errors := len(r.errs)
		k.missing(r, f, nil)
		return f, len(r.errs) == errors
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
			if e.Expected = one.instead; one.group != "" {
				e.expect("one %s: %s", one.group, list(k.choices(one.group), "or"))
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
	if first := f.chosen[one.group]; one.group != "" && first != "" {
		e := r.wrong(name, "%s has one %s, and here are two: %s and %s", k.name, one.group, first, one.name).expect("one of them")
		if one.group == k.groups[0] && k.item {
			e.expect("one of them, or two items in the list")
		}
		return
	}
	if one.group != "" {
		f.chosen[one.group] = one.name
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
	if len(k.groups) > 0 && !k.hasChoice(n, k.groups[0]) && (meant.name == "" || meant.group == k.groups[0]) {
		e := r.wrong(name, "unknown %s %s", k.groupName(), quote(name.Value)).
			expect("one %s: %s", k.groups[0], list(k.choices(k.groups[0]), "or"))
		e.Nearest = meant.name
		return meant.name, true
	}
	e := r.wrong(name, "unknown key %s of %s", quote(name.Value), k.name).expect("%s", list(k.names(), "or"))
	e.Nearest = meant.name
	return meant.name, false
}

// groupName is "fault verb" or "request method".
func (k *keys) groupName() string { return strings.TrimPrefix(k.name, "a ") + " " + k.groups[0] }

// hasChoice reports whether one of a group's keys is in the mapping.
func (k *keys) hasChoice(n *yaml.Node, group string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if one, ok := k.find(deref(n.Content[i]).Value); ok && one.group == group {
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
	for _, group := range k.groups {
		choices := k.choices(group)
		if f.chosen[group] == "" && !slices.ContainsFunc(choices, func(c string) bool { return guessed[c] }) {
			r.wrong(r.head(f.node), "%s lacks its %s", k.name, group).expect("one %s: %s", group, list(choices, "or"))
		}
	}
	if len(k.needs) > 0 && !slices.ContainsFunc(k.needs, func(name string) bool { return f.has(name) || guessed[name] }) {
		one, _ := k.find(k.needs[0])
		e := r.wrong(r.head(f.node), "%s lacks %q", k.name, one.name).expect("%s: %s", one.name, one.form)
		if len(k.needs) > 1 {
			e.Expected += "; or " + list(k.needs[1:], "or")
		}
	}
}

func (k *keys) schema() object {
	properties := make(object)
	var required []string
	choices := make(map[string][]object)
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
		if one.group != "" {
			choices[one.group] = append(choices[one.group], object{"required": []string{one.name}})
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if k.empty {
		s["type"] = []string{"object", "null"}
	}
	if required != nil {
		s["required"] = required
	}
	if len(k.groups) == 1 {
		s["oneOf"] = choices[k.groups[0]]
	} else if len(k.groups) > 1 {
		all := make([]object, len(k.groups))
		for i, group := range k.groups {
			all[i] = object{"oneOf": choices[group]}
		}
		s["allOf"] = all
	}
	if len(k.needs) > 0 {
		some := make([]object, len(k.needs))
		for i, name := range k.needs {
			some[i] = object{"required": []string{name}}
		}
		s["anyOf"] = some
	}
	return s
}
