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
		case r.Rate != l.Rate:
			return was("load.rate", l.Rate, r.Rate)
		case r.For != l.For:
			return was("load.for", l.For, r.For)
		case r.Warmup != l.Warmup:
			return was("load.warmup", l.Warmup, r.Warmup)
		case r.Timeout != l.Timeout:
			return was("load.timeout", l.Timeout, r.Timeout)
		case !slices.Equal(r.Requests, names):
			return was("load.requests", names, r.Requests)
		}
		if now, then := planned(j.scenario.Arms[i].Faults), carriedOut(r.Faults); len(r.Faults) > 0 && !slices.Equal(now, then) {
			return was("faults", now, then)
		}
	}
	return nil
}

func planned(faults []scenario.Fault) []string {
	out := make([]string, len(faults))
	for i, f := range faults {
		out[i] = step(f.Name, f.Verb, f.At, f.For)
	}
	slices.Sort(out)
	return out
}

func carriedOut(faults []record.Fault) []string {
	out := make([]string, len(faults))
	for i, f := range faults {
		out[i] = step(f.Name, f.Verb, f.At, f.For)
	}
	slices.Sort(out)
	return out
}

func step(name, verb string, at, long time.Duration) string {
	return fmt.Sprintf("%s: %s at %v for %v", name, verb, at, long)
}

// digest is the SHA-256 of a text, in hexadecimal digits.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
