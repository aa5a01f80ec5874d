package sysfault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
)

// A keeper is one thing that is kept up for one fault: from when it was made to its end.
type keeper[R any] interface {
	// read says what it has delivered so far.
	read() R
	// end ends it. It may be called twice.
	end() error
}

// A shelf has what is in force, by the names of the faults that want it, where the parts of several faults do not
// touch each other. P is the form of a part, R of its report.
type shelf[P, R any] struct {
	begin func(context.Context, P) (keeper[R], error)
	kept  map[string]kept[R]
}

type kept[R any] struct {
	part   json.RawMessage
	keeper keeper[R]
}

// set makes parts all that is in force, and says what the ended ones have delivered. What cannot begin is an error,
// and then everything is as before, but that a part that was to change has begun anew.
func (s *shelf[P, R]) set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	out := agent.Outcome{From: time.Now(), Ended: agent.Parts{}}
	wanted := make(map[string]P, len(parts))
	for name, raw := range parts {
		var p P
		if err := decode(raw, &p); err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
		wanted[name] = p
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.kept)) {
		if raw, ok := parts[name]; ok && bytes.Equal(raw, s.kept[name].part) {
			continue
		}
		report, err := json.Marshal(s.kept[name].keeper.read())
		errs = append(errs, err, s.kept[name].keeper.end())
		out.Ended[name] = report
		delete(s.kept, name)
	}
	var begun []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if _, ok := s.kept[name]; ok {
			continue
		}
		k, err := s.begin(ctx, wanted[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			break
		}
		if s.kept == nil {
			s.kept = make(map[string]kept[R])
		}
		s.kept[name] = kept[R]{parts[name], k}
		begun = append(begun, name)
	}
	err := errors.Join(errs...)
	if err != nil {
		for _, name := range begun {
			err = errors.Join(err, s.kept[name].keeper.end())
			delete(s.kept, name)
		}
	}
	out.To = time.Now()
	return out, err
}

// read says what is in force has delivered.
func (s *shelf[P, R]) read() (agent.Parts, error) {
	reports := make(agent.Parts, len(s.kept))
	for name, k := range s.kept {
		raw, err := json.Marshal(k.keeper.read())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		reports[name] = raw
	}
	return reports, nil
}

// close ends everything.
func (s *shelf[P, R]) close() error {
	var errs []error
	for _, k := range s.kept {
		errs = append(errs, k.keeper.end())
	}
	clear(s.kept)
	return errors.Join(errs...)
}

// decode reads a part. A field that the worker does not know is an error: it would not be done.
func decode(raw json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("what is asked for is not understood: %w", err)
	}
	return nil
}
