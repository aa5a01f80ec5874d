package tutti

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// A Checkup is what a machine's engine and kernel can do for each verb, and why not.
type Checkup struct {
	Why   string // why this engine
	Facts target.Facts
	Verbs []VerbCheckup // by name
}

// A VerbCheckup is one verb on this machine.
type VerbCheckup struct {
	Verb, Summary string
	Way           fault.Way        // that would be taken, if Lack is nil
	Lack          *fault.LackError // what every way lacks; nil: it can be had
	Better        *fault.LackError // the better ways that could not be taken; nil: it is the best one
}

// Doctor opens an engine as [Prepare] does and finds out what can be done there, by trying it in a scratch namespace of its
// own. Nothing of a target is started, and nothing stays.
func Doctor(ctx context.Context, o Options) (_ *Checkup, err error) {
	p := &Prepared{ID: newID()}
	if err := p.open(ctx, o, o.Engine); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	if p.Facts.Primitives, err = primitives(ctx, p.driver, p.ID); err != nil {
		return nil, err
	}
	c := &Checkup{Why: p.Why, Facts: p.Facts}
	for _, verb := range slices.Sorted(maps.Keys(o.Kit.Faults)) {
		c.Verbs = append(c.Verbs, checkup(verb, o.Kit.Faults[verb], p.Facts))
	}
	return c, nil
}

func checkup(verb string, k fault.Kind, f target.Facts) VerbCheckup {
	v := VerbCheckup{Verb: verb, Summary: k.Summary}
	var err error
	if v.Way, err = k.On(f, nil); err != nil {
		errors.As(err, &v.Lack)
		return v
	}
	for i, w := range k.Ways {
		if w.Name == v.Way.Name && i > 0 {
			better := k
			better.Ways = k.Ways[:i]
			_, err := better.On(f, nil)
			errors.As(err, &v.Better)
		}
	}
	return v
}
