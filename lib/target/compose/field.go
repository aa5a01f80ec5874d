package compose

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// A rule says what becomes of a field that is set.
type rule struct {
	do  action
	why string // note, refuse: what the user must know
	fix string // refuse: what to do instead
}

type action int

const (
	unknown action = iota // no rule: refused
	honour                // the converter takes it, and all that is in it
	into                  // the fields in it have rules of their own
	note                  // harmless: ignored, and said so
	refuse                // ignoring it would change what the system is
)

func honoured() rule             { return rule{do: honour} }
func inside() rule               { return rule{do: into} }
func ignored(why string) rule    { return rule{do: note, why: why} }
func refused(why, f string) rule { return rule{do: refuse, why: why, fix: f} }

// walk applies the rules to everything that is set in v. path has the names as the
// user wrote them, pattern the same with * for a mapping's keys and [] for items.
func (c *converter) walk(v reflect.Value, path, pattern []string) {
	if !isSet(v) {
		return
	}
	r := rules[strings.Join(pattern, ".")]
	switch r.do {
	case honour:
		return
	case note:
		c.note(path, r.why)
		return
	case refuse:
		c.refuse(path, r.why, r.fix)
		return
	case unknown:
		if len(pattern) > 0 {
			c.refuse(path, "the harness does not know this field, so it cannot say what leaving it out would do", "remove it")
			return
		}
	case into:
	}
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			c.walk(v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())), with(path, k), with(pattern, "*"))
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.walk(v.Index(i), with(path, strconv.Itoa(i)), with(pattern, "[]"))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, ok := fieldName(f)
			switch {
			case !ok:
			case name == "":
				c.walkEmbedded(v.Field(i), path, pattern)
			default:
				c.walk(v.Field(i), with(path, name), with(pattern, name))
			}
		}
	default:
		panic(fmt.Sprintf("compose: the rule for %s says to look inside a %s", strings.Join(pattern, "."), v.Kind()))
	}
}

// walkEmbedded walks the fields of an embedded struct as if they were the outer one's.
func (c *converter) walkEmbedded(v reflect.Value, path, pattern []string) {
	for i := range v.NumField() {
		if name, ok := fieldName(v.Type().Field(i)); ok {
			c.walk(v.Field(i), with(path, name), with(pattern, name))
		}
	}
}

// fieldName returns a field's name in the file; "" for an embedded struct; false for one that
// is not from the file, or is an extension (x-…), which Compose ignores as well.
func fieldName(f reflect.StructField) (string, bool) {
	if !f.IsExported() || f.Type == reflect.TypeFor[types.Extensions]() {
		return "", false
	}
	if f.Anonymous {
		return "", true
	}
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch name {
	case "-":
		return "", false
	case "":
		return strings.ToLower(f.Name), true
	}
	return name, true
}

// isSet reports whether a field was given. A pointer counts even when it points to a zero
// value, since a user wrote that zero; an empty list or mapping says nothing.
func isSet(v reflect.Value) bool {
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok && v.Kind() != reflect.Pointer {
		return !z.IsZero()
	}
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() > 0
	default:
		return !v.IsZero()
	}
}

func sortedKeys(m reflect.Value) []string {
	keys := make(map[string]bool, m.Len())
	for _, k := range m.MapKeys() {
		keys[k.String()] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// with returns path and one more name, never sharing memory with path.
func with(path []string, name string) []string {
	return append(slices.Clip(slices.Clone(path)), name)
}
