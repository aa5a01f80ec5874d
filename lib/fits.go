package tutti

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
)

// fits reports whether the recordings are of the scenario. Objectives may be changed after a
// run and judged again; what was sent and what was broken may not.
func (j *judging) fits() error {
	l := j.scenario.Load
	var names []string
	for _, q := range l.Requests {
		names = append(names, q.Name)
	}
	for _, t := range j.trials {
		r := t.Rec
		was := func(what string, now, then any) error {
			return &UsageError{fmt.Errorf("%s does not fit the recordings: %s is %v, arm %s was run with %v; only objectives can be judged anew",
				j.folder.Path("scenario.yaml"), what, now, r.Arm, then)}
		}
		i := slices.IndexFunc(j.scenario.Arms, func(a scenario.Arm) bool { return a.Name == r.Arm })
		switch {
		case i < 0:
			return was("the list of arms", "without it", r.Arm)
		case r.Schedule.Steady() && l.Schedule.Steady() && r.Schedule.Peak() != l.Schedule.Peak():
			return was("load.rate", l.Schedule.Peak(), r.Schedule.Peak())
		case r.For != l.For():
			return was("load.for", l.For(), r.For)
		case r.Schedule.String() != l.Schedule.String():
			return was("load", l.Schedule, r.Schedule)
		case r.Warmup != l.Schedule.Warmup:
			return was("load.warmup", l.Schedule.Warmup, r.Warmup)
		case r.Timeout != l.Timeout:
			return was("load.timeout", l.Timeout, r.Timeout)
		case !slices.Equal(r.Requests, names):
			return was("load.requests", names, r.Requests)
		}
		if now, then := searching(l.Capacity), searched(r.Capacity); now != then {
			return was("load.capacity", now, then)
		}
		if now, then := verified(j.scenario.Verify), readBack(r.Writes); len(r.Writes) > 0 && !slices.Equal(now, then) {
			return was("verify", now, then)
		}
		if now, then := planned(j.scenario.Arms[i].Faults, l.For()), carriedOut(r.Faults); len(r.Faults) > 0 && !slices.Equal(now, then) {
			return was("faults", now, then)
		}
	}
	return nil
}

// searching is a search as the file says it, in a form that what was carried out has too.
func searching(c *scenario.Capacity) string {
	if c == nil {
		return "none"
	}
	return searched(&record.Capacity{While: c.While.Text, From: c.From, To: c.To, Hold: c.Hold})
}

func searched(c *record.Capacity) string {
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s from %v/s to %v/s, each for %v", c.While, c.From, c.To, c.Hold)
}

// verified are the reads as the file says them, readBack as they were carried out.
func verified(of []scenario.Verify) []string {
	var out []string
	for _, v := range of {
		out = append(out, fmt.Sprintf("%s by %s %s within %v", v.Of, v.Read.Method, v.Read.Path, v.Within))
	}
	return out
}

func readBack(of []record.Writes) []string {
	var out []string
	for _, w := range of {
		out = append(out, fmt.Sprintf("%s by %s within %v", w.Of, w.Read, w.Within))
	}
	return out
}

// planned are the faults as the file says them, in a form that what was carried out has too. What a random fault
// draws follows from the seed, and is compared by its names alone.
func planned(faults []scenario.Fault, load time.Duration) []string {
	var out []string
	for _, f := range faults {
		for k := range f.Draws(load) {
			out = append(out, drawn(f.DrawName(k), f.Name))
		}
		if f.Random == nil {
			out = append(out, step(f.Name, f.Verb, f.Trigger(), f.For))
		}
	}
	slices.Sort(out)
	return out
}

func carriedOut(faults []record.Fault) []string {
	var out []string
	for _, f := range faults {
		switch {
		case f.Drawn != "":
			out = append(out, drawn(f.Name, f.Drawn))
		case f.Trigger != "": // when that came is the run's
			out = append(out, step(f.Name, f.Verb, f.Trigger, f.For))
		default:
			out = append(out, step(f.Name, f.Verb, scenario.Fault{At: f.At}.Trigger(), f.For))
		}
	}
	slices.Sort(out)
	return out
}

func step(name, verb, when string, long time.Duration) string {
	return fmt.Sprintf("%s: %s %s for %v", name, verb, when, long)
}

func drawn(name, by string) string { return name + ": drawn by " + by }

// digest is the SHA-256 of a text, in hexadecimal digits.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
