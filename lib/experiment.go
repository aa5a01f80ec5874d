package tutti

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/rundir"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// experiment is what a scenario does to whom, part by part: load, faults and target. Two runs are about the same if they have
// the same parts; objectives, repeats and seed may differ, and so may what the Compose files say: that is what is compared.
func experiment(s *scenario.Scenario) map[string]string {
	l := s.Load
	parts := map[string]string{
		"load.warmup": l.Schedule.Warmup.String(), "load.client": l.Client.String(), "load.agents": strconv.Itoa(l.Agents), "load.timeout": l.Timeout.String(), "load.keys": strconv.FormatUint(l.Keys, 10), "baseline": s.Baseline,
	}
	if l.Capacity != nil {
		parts["load.capacity"] = searching(l.Capacity)
	} else if when := l.Schedule; when.Steady() && when.Arrivals != schedule.Poisson {
		parts["load.rate"], parts["load.for"] = fmt.Sprintf("%v/s", when.Peak()), when.For().String()
	} else {
		parts["load.stages"] = when.String()
	}
	for _, q := range l.Requests {
		parts["load.requests."+q.Name] = inWords(q)
	}
	for _, one := range l.Sessions {
		parts["load.requests."+one.Name] = inWords(one)
	}
	for _, v := range s.Verify {
		parts["verify."+v.Of] = inWords(v.Verify)
	}
	for _, a := range s.Arms {
		maps.Copy(parts, armParts(a))
	}
	return parts
}

// masked is a scenario as a run's folder keeps it, without secrets: what is compared with what was kept.
func masked(s *scenario.Scenario, kit plan.Kit) (*scenario.Scenario, error) {
	return scenario.Parse(s.File, rundir.Mask(s.Source), kit.Faults)
}

func armParts(a scenario.Arm) map[string]string {
	at := "arms." + a.Name + "."
	parts := map[string]string{
		at + "compose": strings.Join(a.Compose, ", "), at + "profiles": strings.Join(a.Profiles, ", "), at + "ready": fmt.Sprintf("%s within %v", a.Ready.Path, a.Ready.Within),
		at + "nodes": a.Nodes, at + "ingress": a.Ingress.String(), at + "node_header": a.NodeHeader, at + "attempts_header": a.Attempts,
	}
	for k, v := range a.Env {
		parts[at+"env."+k] = v
	}
	for k, v := range a.Scale {
		parts[at+"scale."+k] = strconv.Itoa(v)
	}
	for _, f := range a.Faults {
		parts[at+"faults."+f.Name] = faultInWords(f)
	}
	return parts
}

func faultInWords(f scenario.Fault) string {
	text := step(f.Name, f.Verb, f.Trigger(), f.For) + inWords(f.Selector) + inWords(f.Params)
	if f.Random != nil {
		text += fmt.Sprintf(" every %v for %v..%v of %v", f.Random.Every, f.Random.Min, f.Random.Max, f.Random.Services)
		for _, v := range f.Random.Verbs {
			text += " " + v.Verb + inWords(v.Selector) + inWords(v.Params)
		}
	}
	return text
}

// inWords is a value as JSON; a long one as its digest, since it is there to be compared.
func inWords(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 200 {
		return "sha256:" + digest(b)[:16]
	}
	return string(b)
}

// differences lists the parts in which two experiments, or two machines, differ: "load.rate is 100/s and 200/s".
func differences(a, b map[string]string) []string {
	names := slices.Sorted(maps.Keys(a))
	for k := range b {
		if _, both := a[k]; !both {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	var all []string
	for _, k := range names {
		if a[k] != b[k] {
			all = append(all, fmt.Sprintf("%s is %s and %s", k, orNothing(a[k]), orNothing(b[k])))
		}
	}
	return all
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// Fingerprint is the machine that a run was made on, as far as its times depend on it. Times are comparable between equal ones only.
func Fingerprint(p rundir.Provenance) map[string]string {
	of := func(name string) string { // the engine's own word goes first: it may be on another machine
		if v := p.Details[name]; v != "" {
			return v
		}
		return p.Host[name]
	}
	return map[string]string{
		"cpu": p.Host["cpu"], "cpus": of("cpus"), "memory": gibibytes(of("memory")), "kernel": of("kernel"), "cgroup": of("cgroup"),
		"engine": strings.TrimSpace(p.Engine + " " + p.Details["engine"]), "tutti": p.Tutti,
	}
}

// gibibytes rounds an amount of memory: kernels reserve a little more or less of the same.
func gibibytes(s string) string {
	digits, kilo := strings.CutSuffix(s, " kB")
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return s
	}
	if kilo {
		v *= 1 << 10
	}
	return fmt.Sprintf("%.1f GiB", v/(1<<30))
}
