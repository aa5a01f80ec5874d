package analysis

import (
	"fmt"
	"math"
	"strings"
)

// A Phase is a part of a trial, by its own faults' measured edges.
type Phase string

// The phases. Whole is all of measured load.
const (
	Whole  Phase = ""
	Before Phase = "before" // up to the first onset − timeout
	During Phase = "during" // the union of [onset, heal) over the faults
	After  Phase = "after"  // what follows the last heal
)

// Phases lists the named phases in the order of time.
func Phases() []Phase { return []Phase{Before, During, After} }

// A Unit is what a metric is measured in.
type Unit string

// The units. Ratios are 0…1, times are seconds.
const (
	Seconds   Unit = "s"
	Ratio     Unit = "ratio"
	PerSecond Unit = "1/s"
	Number    Unit = "1" // counts and indices
)

// A Spec says what a metric is, so that a scenario can be checked before it runs.
type Spec struct {
	Name    string
	Unit    Unit
	Args    []Unit // units of the arguments, in order
	Labels  []string
	Phased  bool // may be asked of a phase
	OfFault bool // is about one fault: `fault=` names it
	OfWrite bool // is about what was read back after the load: the scenario must verify writes
	OfKeys  bool // is about keys that several writes share, and that the load reads
	Integer bool // a count of whole things
	Higher  bool // higher is better; else lower is
	Signed  bool // it can be below 0
	Search  bool // is what a search for capacity finds, and the only one of it
	Summary string
}

// Specs lists every metric of this version, in the order of the docs.
func Specs() []Spec {
	request, all := []string{"request"}, []string{"class", "request"}
	perc := func(name, summary string) Spec {
		return Spec{Name: name, Unit: Seconds, Labels: request, Phased: true, Summary: summary}
	}
	specs := []Spec{
		{Name: "availability", Unit: Ratio, Labels: request, Phased: true, Higher: true, Summary: "good requests of all due in measured load"},
		{Name: "available_windows", Unit: Ratio, Args: []Unit{Seconds, Ratio}, Labels: request, Phased: true, Higher: true, Summary: "share of windows of the given length whose good ratio reaches the given share"},
		{Name: "worst", Unit: Ratio, Args: []Unit{Seconds}, Labels: request, Phased: true, Higher: true, Summary: "lowest good ratio over any window of the given length"},
		{Name: "throughput", Unit: PerSecond, Labels: request, Phased: true, Higher: true, Summary: "requests answered per second, as expected or not"},
		{Name: "goodput", Unit: PerSecond, Labels: request, Phased: true, Higher: true, Summary: "good requests per second"},
		{Name: "error_rate", Unit: Ratio, Labels: all, Phased: true, Summary: "share of requests that were bad, or of one class"},
		{Name: "mean", Unit: Seconds, Labels: request, Phased: true, Summary: "mean response time of good requests alone"},
	}
	for _, q := range []string{"p50", "p90", "p95", "p99", "p999", "p9999", "max"} {
		specs = append(specs, perc(q, "response time that this share of all requests met; a failed one never arrived"))
	}
	for _, q := range []string{"ok_p50", "ok_p90", "ok_p95", "ok_p99", "ok_p999", "ok_p9999", "ok_max"} {
		specs = append(specs, perc(q, "the same over good requests alone"))
	}
	of := []string{"fault"}
	return append(specs,
		Spec{Name: "first_error", Unit: Seconds, Labels: of, OfFault: true, Higher: true, Summary: "from onset to the first bad due time"},
		Spec{Name: "detection", Unit: Seconds, Labels: of, OfFault: true, Summary: "from onset to the first second without a request tried at the lost node"},
		Spec{Name: "failover", Unit: Seconds, Labels: of, OfFault: true, Summary: "recovery while the fault is still on"},
		Spec{Name: "recovery", Unit: Seconds, Labels: of, OfFault: true, Summary: "from onset to the first hold that is as good as before, less one point"},
		Spec{Name: "rebalanced", Unit: Seconds, Labels: of, OfFault: true, Summary: "from heal to the first second in which the returned node serves 80 % of its fair share"},
		Spec{Name: "downtime", Unit: Seconds, Phased: true, Summary: "sum over 1 s windows of the bad share"},
		Spec{Name: "longest_silence", Unit: Seconds, Summary: "largest gap between good due times, load's edges included"},
		Spec{Name: "lost_requests", Unit: Number, Labels: of, OfFault: true, Summary: "bad requests beyond the rate before, from onset − timeout to the next fault's or load end"},
		Spec{Name: "floor", Unit: Number, Labels: of, OfFault: true, Summary: "requests that the balancer's own health check must lose of the fault, by its settings"},
		Spec{Name: "loss_over_floor", Unit: Number, Labels: of, OfFault: true, Signed: true, Summary: "lost_requests − floor"},
		Spec{Name: "affordable", Unit: Number, Args: []Unit{Ratio}, Higher: true, Summary: "how many times 30 days can afford what the trial lost, at the given availability objective"},
		Spec{Name: "lost_writes", Unit: Number, Labels: request, OfWrite: true, Integer: true, Summary: "acknowledged writes that were not there when they were read back"},
		Spec{Name: "acknowledged_writes", Unit: Number, Labels: request, OfWrite: true, Integer: true, Higher: true, Summary: "writes that were answered as expected"},
		Spec{Name: "uncertain_writes", Unit: Number, Labels: request, OfWrite: true, Integer: true, Summary: "writes that were sent and not answered so: they may be there or not"},
		Spec{Name: "duplicated_writes", Unit: Number, Labels: request, OfWrite: true, Integer: true, Summary: "writes of which the read-back held more than one"},
		Spec{Name: "stale_reads", Unit: Number, Labels: request, OfWrite: true, OfKeys: true, Integer: true, Summary: "reads during load that held what had been overwritten, and acknowledged so, before they began"},
		Spec{Name: "linearizable", Unit: Ratio, Labels: request, OfWrite: true, OfKeys: true, Higher: true, Summary: "share of keys shown to have behaved as one register"},
		Spec{Name: "balance", Unit: Number, Phased: true, Higher: true, Summary: "Jain's index of answered requests over live nodes"},
		Spec{Name: "serving_nodes", Unit: Number, Phased: true, Integer: true, Higher: true, Summary: "nodes that gave at least one good answer"},
		Spec{Name: "capacity", Unit: PerSecond, Higher: true, Search: true, Summary: "highest rate of a search whose hold met `while`, to 5 %"},
	)
}

// Later names the metrics that the format has and this version lacks.
func Later() []string {
	return []string{
		"settling",
	}
}

// A Ref is one metric asked of one trial.
type Ref struct {
	Metric  string
	Phase   Phase
	Args    []float64 // in the units of the Spec: seconds, ratios
	Request string
	Class   string
	Fault   string
}

// String writes the metric as objectives do, without arm and phase, labels sorted:
// it is the key in run.json.
func (r Ref) String() string {
	var b strings.Builder
	b.WriteString(r.Metric)
	if len(r.Args) > 0 {
		spec, _ := SpecOf(r.Metric)
		b.WriteByte('(')
		for i, a := range r.Args {
			if i > 0 {
				b.WriteString(", ")
			}
			if i < len(spec.Args) && spec.Args[i] == Ratio {
				fmt.Fprintf(&b, "%v%%", round9(a*100))
			} else {
				fmt.Fprintf(&b, "%vs", round9(a))
			}
		}
		b.WriteByte(')')
	}
	var labels []string
	for _, l := range []struct{ name, value string }{{"class", r.Class}, {"fault", r.Fault}, {"request", r.Request}} {
		if l.value != "" {
			labels = append(labels, fmt.Sprintf("%s=%q", l.name, l.value))
		}
	}
	if len(labels) > 0 {
		b.WriteString("{" + strings.Join(labels, ",") + "}")
	}
	return b.String()
}

func round9(v float64) float64 { return math.Round(v*1e9) / 1e9 }

// SpecOf finds a metric by its name.
func SpecOf(name string) (Spec, bool) {
	for _, s := range Specs() {
		if s.Name == name {
			return s, true
		}
	}
	return Spec{}, false
}

// A State says what kind of value a value is.
type State string

// The states. The zero value is no value at all.
const (
	OK       State = "ok"
	Never    State = "never"    // it did not happen: above all times
	Censored State = "censored" // not reached while we looked: above V
	NoData   State = "no-data"  // the trial cannot give it
)

// A Value is one metric of one trial.
type Value struct {
	V     float64 // for Censored the point up to which it did not happen; else 0 if not OK
	State State   // "" counts as NoData
	Why   string  // why there is no data
}
