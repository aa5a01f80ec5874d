package rundir

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/slo"
)

type object = map[string]any

// JSONSchema returns the JSON Schema (draft 2020-12) of run.json, made of the Go types. Keys may be added within a
// version of the format, so unknown ones are allowed; none is taken away, and none changes its meaning.
func JSONSchema() ([]byte, error) {
	g := generator{defs: make(object)}
	root := g.object(reflect.TypeFor[Run]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "run.json: what a run of tutti has shown"
	root["description"] = "Times are seconds, ratios 0 to 1; null stands where a value is not finite."
	root["properties"].(object)["schema"] = object{"const": Schema}
	root["$defs"] = g.defs
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of run.json: %w", err)
	}
	return append(b, '\n'), nil
}

// words are the types that are one of a few words.
func words(t reflect.Type) []string {
	var all []string
	say := func(w string) { all = append(all, w) }
	switch t {
	case reflect.TypeFor[Verdict]():
		for _, v := range []Verdict{Pass, Fail, Inconclusive, Invalid, Interrupted, Errored} {
			say(string(v))
		}
	case reflect.TypeFor[Model]():
		for _, m := range []Model{OpenLoop, ClosedLoop} {
			say(string(m))
		}
	case reflect.TypeFor[analysis.State]():
		for _, s := range []analysis.State{analysis.OK, analysis.Never, analysis.Censored, analysis.NoData} {
			say(string(s))
		}
	case reflect.TypeFor[slo.Form]():
		for _, f := range []slo.Form{slo.Absolute, slo.Ratio, slo.Difference} {
			say(string(f))
		}
	case reflect.TypeFor[record.Answer]():
		for _, a := range []record.Answer{record.Met, record.Unmet, record.Unknown} {
			say(string(a))
		}
	case reflect.TypeFor[slo.Severity]():
		for _, s := range []slo.Severity{slo.SeverityFail, slo.SeverityWarn} {
			say(string(s))
		}
	}
	return all
}

// notes explain keys, by type and name.
func notes() map[string]string {
	all := map[string]string{
		"Run.verdict":           "the run's: interrupted and error where there is none",
		"Run.exit_code":         "of tutti run: 0 pass, 10 fail, 11 fail by a regression alone, 12 inconclusive, 13 invalid, 30 error, 130 interrupted",
		"Run.reasons":           "why, most important first",
		"Run.arm_order":         "the arms as in the scenario",
		"Run.repeats":           "blocks asked for; with an extension the least",
		"Run.extension":         "where repeats is a range: up to how many blocks it may go, and what was seen at each look",
		"Run.variation":         "what was changed in the scenario before it was run: again, the baseline twice; or a mutation of the gate's self-test",
		"Look.open":             "objectives that gate and had neither passed nor failed",
		"Arm.metrics":           "over measured load; the key is the metric as in objectives, without arm and phase, labels sorted",
		"Arm.phases":            "the same by phase: before, during, after the faults",
		"Arm.requests":          "the same by the request's name",
		"Run.scaling":           "where a search for capacity was made with several scales of one service",
		"Load.model":            "who decides when requests are sent: open, a schedule; closed, users who wait for their answers, so that a slow target slows its own exam down",
		"Load.rate":             "requests per second; the mean where it changes, 0 in a closed loop",
		"Load.stages":           "where measured load is not one rate: a rate, a ramp to another one, a sine by a swing and a period, or users",
		"Load.arrivals":         "poisson, else uniform",
		"Load.capacity":         "the load is a search for the highest rate; then rate and for are 0",
		"Load.client":           "how the load was sent; absent: as by default",
		"Client.connections":    "at most; of streams with http2; absent: as many as could be needed",
		"Client.max_age":        "of a connection; absent: any",
		"Client.generator":      "what sent it; absent: by the rate",
		"Trial.holds":           "of a search for capacity, in the order in which they were tried",
		"Search.while":          "the condition that a hold must meet",
		"Search.hold":           "how long each rate is held",
		"Hold.at":               "start, since that of the first hold",
		"Hold.offered":          "requests that really went out per second",
		"Hold.achieved":         "answers per second",
		"Hold.goodput":          "good answers per second",
		"Hold.p99":              "over all requests; null: it never came, or there was no request",
		"Hold.answer":           "unknown: it cannot be told, whatever the target did",
		"Hold.why":              "why it was not met, or cannot be told",
		"Scaling.fit":           "the Universal Scalability Law over all trials that count; absent: refused says why",
		"Size.efficiency":       "capacity per node over that of the smallest size, within each block",
		"Fit.lambda":            "throughput of one node, 1/s",
		"Fit.sigma":             "contention",
		"Fit.kappa":             "coherency",
		"Fit.peak":              "nodes at which the law's throughput is highest; no-data: more nodes never make it less, as far as is shown",
		"Fit.curve":             "the law, and its pointwise two-sided 95 % interval",
		"Value.value":           "null unless state is ok; for censored the point up to which it did not happen",
		"Value.low":             "lower end of the two-sided 95 % interval, null if there is none or it is not finite",
		"Value.high":            "its upper end",
		"Value.unit":            "s, ratio, 1/s or 1; of a comparison that of its form",
		"Value.n":               "trials or blocks it comes from",
		"Objective.subject":     "what value is of, in words",
		"Objective.regression":  "no objective of the scenario: what an objective measures, held against a baseline file",
		"Objective.line":        "in the scenario file; 0: none there",
		"Objective.form":        "what value is: the metric, a ratio left over right, a difference left less right",
		"Objective.more_blocks": "about how many more would decide",
		"Trial.dir":             "relative to the run's folder",
		"Trial.start":           "of measured load, on the engine's clock",
		"Trial.counted":         "valid, and so is its whole block",
		"Fault.at":              "when it was due: as planned, or when its trigger came",
		"Fault.trigger":         "why it was due then, where that was not planned: after another fault, or when a condition held",
		"Fault.drawn":           "the random fault that it is a draw of",
		"Fault.role":            "by which its nodes were found when it fired",
		"Fault.ended":           "why it ended",
		"Fault.problem":         "what went wrong; its trial is invalid",
		"Fault.renewed":         "nodes that restarted while it was in force, and what became of it there",
		"Fault.collateral":      "what happened to nodes not chosen while it was in force",
		"Proof.asked":           "where it is measured: what was asked for",
		"Proof.delivered":       "and what was delivered",
		"Fault.for":             "as planned; absent: to the end of load",
		"Fault.onset":           "when it was seen to begin; absent: it never did",
		"Fault.heal":            "when it was seen to be undone; absent: it never was",
		"Fault.means":           "how it was done",
		"Fault.proof":           "what was seen of its effect",
		"Fault.signature":       "bad requests by class while it was in force",
		"Edge.from":             "it happened between from and to",
		"Provenance.engine":     "docker or process",
		"Provenance.reason":     "why this engine",
		"Provenance.images":     "digest by service",
		"Provenance.versions":   "by service: its programs' versions, as its image says",
		"Provenance.sha256":     "of the scenario's text",
		"Provenance.notes":      "what was rewritten in the Compose files",
	}
	maps.Copy(all, writeNotes())
	maps.Copy(all, generatorNotes())
	return all
}

// writeNotes are those of what was read back.
func writeNotes() map[string]string {
	return map[string]string{
		"Trial.writes":        "what was read back after the load, one for each request that the scenario verifies",
		"Writes.acknowledged": "answered as expected; each is kept, lost or unread",
		"Writes.unread":       "the last read had no answer that says anything",
		"Writes.uncertain":    "sent, and not answered as expected: may be there or not",
		"Writes.found":        "of the uncertain ones, those that are there",
		"Writes.duplicated":   "that an answer held more than once",
		"Writes.reads":        "requests that were sent to find all this",
		"Writes.first":        "due time of the first lost write, null if none is lost",
		"Writes.last":         "of the last one",
		"Writes.problem":      "why nothing was read back",
		"Writes.keys":         "where several writes share a key, and the load reads them: what those reads say",
		"Keys.reads":          "reads during load that could be judged",
		"Keys.unjudged":       "reads that held several values",
		"Keys.stale":          "reads that held what had been overwritten, and acknowledged so, before they began",
		"Keys.linearizable":   "keys shown to have behaved as one register",
		"Keys.violated":       "keys shown not to",
		"Keys.unknown":        "keys of which the search did not end; why says why",
		"Keys.bad":            "what is wrong with the first of those",
	}
}

// A generator makes a schema of Go types.
type generator struct{ defs object }

func (g generator) of(t reflect.Type) object {
	if w := words(t); w != nil {
		return object{"enum": w}
	}
	if t == reflect.TypeFor[time.Time]() {
		return object{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return g.of(t.Elem()) // absent, never null
		}
		return object{"type": []string{"number", "null"}}
	case reflect.Slice:
		return object{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		name := typeName(t)
		if _, there := g.defs[name]; !there {
			g.defs[name] = g.object(t)
		}
		return object{"$ref": "#/$defs/" + name}
	default:
		panic(fmt.Sprintf("run.json has a value of type %v, for which there is no schema", t)) // found by any test
	}
}

// typeName is what a type is called in the schema.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[faultJSON]():
		return "Fault"
	case reflect.TypeFor[edgeJSON]():
		return "Edge"
	}
	return t.Name()
}

func (g generator) object(t reflect.Type) object {
	if t == reflect.TypeFor[Fault]() {
		t = reflect.TypeFor[faultJSON]()
	}
	properties, required := make(object), []string{}
	g.fields(t, properties, &required)
	return object{"type": "object", "properties": properties, "required": required}
}

func (g generator) fields(t reflect.Type, properties object, required *[]string) {
	all := notes()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			g.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		s := g.of(f.Type)
		if note := all[typeName(t)+"."+name]; note != "" {
			s["description"] = note
		}
		properties[name] = s
		if options != "omitempty" {
			*required = append(*required, name)
		}
	}
}
