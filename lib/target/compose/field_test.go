package compose

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/tutti-bench/tutti/lib/target"
)

// consumed are fields without an effect of their own, and why.
var consumed = map[string]string{
	"name":                  "compose-go has read the name that it gives before",
	"services.*.name":       "it is the key",
	"services.*.profiles":   "compose-go has left inactive services out",
	"services.*.extends":    "compose-go has merged what it extends",
	"services.*.env_file":   "compose-go has put it into environment",
	"services.*.label_file": "compose-go has put it into labels",
	"secrets.*.name":        "it is the key",
	"configs.*.name":        "it is the key",
	"services.*.volumes.[].bind.create_host_path": "nothing is ever created, whichever it says",
}

// TestNothingIsDropped sets every field that compose-go's types have, one at a time, and
// demands that it changes the target, or is named in a note or in an error.
func TestNothingIsDropped(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"Dockerfile", "file"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	visit(reflect.TypeFor[types.Project](), nil, func(steps []step, leaf reflect.Type) {
		pattern := patternOf(steps)
		seen = append(seen, pattern)
		before, after := base(dir, pattern), base(dir, pattern)
		assign(reflect.ValueOf(after).Elem(), steps, nonzero(leaf))
		checkOutcome(t, pattern, convert(dir, before), convert(dir, after))
	})
	if len(seen) < 200 {
		t.Errorf("only %d fields were set: the walk over the types is broken", len(seen))
	}
	for pattern, r := range rules {
		if r.do != into && !slices.Contains(seen, pattern) {
			t.Errorf("the rule for %s is for no field", pattern)
		}
	}
}

// An outcome is what became of a project.
type outcome struct {
	target *target.Target
	notes  []string
	errs   []error
}

func convert(dir string, p *types.Project) outcome {
	c := &converter{finder: newFinder([]string{filepath.Join(dir, "compose.yaml")}), dir: dir, home: realPath(dir)}
	tg := c.target(p)
	tg.Notes = nil
	return outcome{tg, c.notes, c.errs}
}

func checkOutcome(t *testing.T, pattern string, before, after outcome) {
	t.Helper()
	if len(before.errs) > 0 {
		t.Fatalf("the base for %s is refused: %v", pattern, before.errs)
	}
	said := fmt.Sprint(after.errs, after.notes)
	name := pattern[strings.LastIndexByte(pattern, '.')+1:]
	switch r := rules[pattern]; r.do {
	case unknown:
		t.Errorf("%s has no rule", pattern)
	case note, refuse:
		if !strings.Contains(said, name) || !strings.Contains(said, r.why) {
			t.Errorf("%s is set and nothing names it: %s", pattern, said)
		}
		if refused := len(after.errs) > 0; refused != (r.do == refuse) {
			t.Errorf("%s: refused is %v: %s", pattern, refused, said)
		}
	case honour:
		same := reflect.DeepEqual(before.target, after.target) && said == fmt.Sprint(before.errs, before.notes)
		if _, ok := consumed[pattern]; !ok && same {
			t.Errorf("%s is said to be honoured and changes nothing", pattern)
		}
	case into:
		t.Errorf("%s was set as a whole", pattern)
	}
}

// base is a project without anything to say about it, in which the pattern can be set.
func base(dir, pattern string) *types.Project {
	app := types.ServiceConfig{Name: "app"}
	app.Image = "tutti"
	app.Secrets = []types.ServiceSecretConfig{{Source: "y", Target: "/s"}, {Source: "x"}}
	app.Configs = []types.ServiceConfigObjConfig{{Source: "y", Target: "/c"}, {Source: "x"}}
	app.Volumes = []types.ServiceVolumeConfig{{Type: "tmpfs", Target: "/t"}}
	if strings.HasPrefix(pattern, "services.*.build") {
		app.Image = ""
		app.Build = &types.BuildConfig{Context: dir, Dockerfile: "Dockerfile"}
	}
	other := types.ServiceConfig{Name: "x"}
	other.Image = "tutti"
	return &types.Project{
		Services: types.Services{"app": app, "x": other},
		Networks: types.Networks{"x": {}},
		Volumes:  types.Volumes{"x": {}},
		Secrets:  types.Secrets{"x": {File: filepath.Join(dir, "file")}, "y": {File: filepath.Join(dir, "Dockerfile")}},
		Configs:  types.Configs{"x": {File: filepath.Join(dir, "file")}, "y": {File: filepath.Join(dir, "Dockerfile")}},
	}
}

// A step leads from a value to one inside it.
type step struct {
	pattern string
	index   []int  // of a struct's field
	key     string // of a mapping's entry
}

func patternOf(steps []step) string {
	var names []string
	for _, s := range steps {
		if s.pattern != "" {
			names = append(names, s.pattern)
		}
	}
	return strings.Join(names, ".")
}

// visit calls leaf for every field that has a rule of its own, or none.
func visit(t reflect.Type, steps []step, leaf func([]step, reflect.Type)) {
	inner := t
	for inner.Kind() == reflect.Pointer {
		inner = inner.Elem()
	}
	if rules[patternOf(steps)].do != into {
		leaf(steps, t)
		return
	}
	next := func(s step) []step { return append(slices.Clone(steps), s) }
	switch inner.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(inner) {
			if name, ok := fieldName(f); ok && name != "" {
				visit(f.Type, next(step{pattern: name, index: f.Index}), leaf)
			}
		}
	case reflect.Map:
		key := "x"
		if inner == reflect.TypeFor[types.Services]() {
			key = "app"
		}
		visit(inner.Elem(), next(step{pattern: "*", key: key}), leaf)
	case reflect.Slice:
		visit(inner.Elem(), next(step{pattern: "[]"}), leaf)
	default:
		panic("a rule says to look inside a " + inner.String())
	}
}

// assign sets what the steps lead to, and makes what is missing on the way.
func assign(v reflect.Value, steps []step, leaf reflect.Value) {
	if len(steps) == 0 {
		v.Set(leaf)
		return
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	s, rest := steps[0], steps[1:]
	switch v.Kind() {
	case reflect.Struct:
		assign(v.FieldByIndex(s.index), rest, leaf)
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		key := reflect.ValueOf(s.key).Convert(v.Type().Key())
		entry := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(key); old.IsValid() {
			entry.Set(old)
		}
		assign(entry, rest, leaf)
		v.SetMapIndex(key, entry)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		assign(v.Index(0), rest, leaf)
	default:
		panic("no way into a " + v.Type().String())
	}
}

// nonzero returns a value in which something is set everywhere.
func nonzero(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(nonzero(t.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(nonzero(t.Key()), nonzero(t.Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, nonzero(t.Elem())))
	case reflect.Struct:
		for i := range t.NumField() {
			if _, ok := fieldName(t.Field(i)); ok {
				v.Field(i).Set(nonzero(t.Field(i).Type))
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf("x"))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(7)
	default:
		v.SetInt(7)
	}
	return v
}

// A later version of the specification may have fields of which nobody has thought yet.
func TestUnknownFieldIsRefused(t *testing.T) {
	c := &converter{finder: newFinder([]string{"compose.yaml"})}
	type later struct {
		Teleport bool `yaml:"teleport,omitempty"`
		Unset    bool `yaml:"unset,omitempty"`
	}
	c.walk(reflect.ValueOf(&later{Teleport: true}), []string{"services", "app"}, []string{"services", "*"})
	if len(c.errs) != 1 || !strings.Contains(c.errs[0].Error(), "service app: teleport") {
		t.Errorf("an unknown field gives %v", c.errs)
	}
}
