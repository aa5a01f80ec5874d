package scenario_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/command"
	"github.com/tutti-bench/tutti/lib/fault/network"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/fault/resource"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// shipped are the verbs that tutti comes with. That the program has the same is tested in ../../scenarios.
func shipped() fault.Kinds {
	return fault.Kinds{
		"kill": node.KillKind(), "crash": node.CrashKind(), "stop": node.StopKind(), "remove": node.RemoveKind(),
		"restart": node.RestartKind(), "rolling-restart": node.RollingRestartKind(), "pause": node.PauseKind(), "stutter": node.StutterKind(),
		"scale": node.ScaleKind(), "exec": command.ExecKind(),
		"partition": network.PartitionKind(), "blackhole": network.BlackholeKind(), "refuse": network.RefuseKind(), "reset": network.ResetKind(),
		"latency": network.LatencyKind(), "loss": network.LossKind(), "duplicate": network.DuplicateKind(), "corrupt": network.CorruptKind(),
		"reorder": network.ReorderKind(), "bandwidth": network.BandwidthKind(), "dns": network.DNSKind(), "http": network.HTTPKind(),
		"cpu": resource.CPUKind(), "memory": resource.MemoryKind(), "oom": resource.OOMKind(),
		"disk-full": resource.DiskFullKind(), "disk-slow": resource.DiskSlowKind(), "clock": resource.ClockKind(),
	}
}

func compiled(t *testing.T, kinds fault.Kinds) *jsonschema.Schema {
	t.Helper()
	b, err := scenario.Schema(kinds)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is a file as an editor hands it to a validator.
func document(t *testing.T, src []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", pattern, err)
	}
	return files
}

func TestSchemaTakesWhatParseTakes(t *testing.T) {
	for pattern, kinds := range map[string]fault.Kinds{"testdata/valid/*.yaml": kinds(), "../../scenarios/*.yaml": shipped()} {
		schema := compiled(t, kinds)
		for _, file := range glob(t, pattern) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := scenario.Parse(file, src, kinds); err != nil {
				t.Errorf("%v", err)
			}
			if err := schema.Validate(document(t, src)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// beyond are the malformed files whose mistake a schema cannot see: text that is not YAML, what names
// mean, what times and units add up to.
var beyond = []string{
	"alias", "bracket", "braces", "colon", "complex", "double-slash", "duplicate", "indentation", "list-item", "merge", "not-utf8", "quote-open", "tab", "tag", "two-documents",
	"unknown-anchor", "unquoted", "template-first", "crlf", "control-character", "only-comments",
	"and", "arm-is", "arm-missing", "arm-unknown", "at-late", "balance", "baseline", "class", "compose-missing", "detection", "floor", "fault-metric", "fault-twice",
	"fault-unknown", "folded", "ingress", "json-nan", "literal", "margin", "metric", "minus", "objective-ratio-limit", "objective-twice", "operator-wrong", "phase", "pick-and-replica",
	"quoted", "recovery", "request-body-and-json", "request-captured", "request-env", "request-space", "request-template", "request-twice", "request-unknown",
	"after-chain", "after-circle", "after-drawn", "after-itself", "after-never", "after-nobody", "after-phase", "after-random", "after-too", "after-unknown",
	"when-", "param-required-short", "param-share-range", "param-share-zero", "param-size-huge", "param-skew-range", "param-bit-rate-zero",
	"partition-a", "partition-from", "partition-twice", "exec-", "replica-and", "role-equals", "role-exec", "role-json", "role-port",
	"random-after", "random-every-short", "random-for", "random-name", "random-objective", "random-phase", "random-recovery", "random-span-backwards",
	"stage-period", "stage-ramp", "stage-swing", "stage-think", "stages-and-for", "stages-mixed", "stages-of", "fault-after-stages", "poisson-many", "poisson-users", "users-and-generator", "users-and-keys",
	"users-and-steps", "users-and-verify", "random-verb-without", "random-when",
	"keys-never-read", "keys-not-bounded", "keys-value", "verify-captured", "verify-constant", "verify-env", "verify-field", "verify-nothing", "verify-of-a-read", "verify-twice", "verify-unknown", "writes-",
	"session-capture-both", "session-capture-match", "session-captured", "session-env", "session-never", "session-too-many", "session-twice",
	"sweep-and", "sweep-arm", "sweep-baseline", "sweep-name", "sweep-twice", "capacity-and-for", "capacity-verify", "capacity-backwards", "capacity-faults", "capacity-few",
	"capacity-hold", "capacity-of", "while-", "search-metric", "rate-without", "mutation-arm", "mutation-changes", "mutation-name", "capacity-poisson",
	"agents-connections", "users-connections", "agents-sessions", "agents-users", "agents-verify", "request-without-time", "repeats-wide", "restart-for", "scale-refused", "scale-without-to", "tls-ca-and", "tls-without", "units", "rate-zero", "duration-too-long",
}

func TestSchemaRefusesStructure(t *testing.T) {
	schema := compiled(t, kinds())
	refused := 0
	for _, file := range glob(t, "testdata/bad/*.yaml") {
		name := filepath.Base(file)
		if slices.ContainsFunc(beyond, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(document(t, src)) == nil {
			t.Errorf("%s: the schema takes it", file)
		}
		refused++
	}
	if refused < 40 {
		t.Errorf("only %d files", refused)
	}
}
