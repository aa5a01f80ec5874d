package record

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/tutti-bench/tutti/lib/schedule"
)

// A line is one line of a recording on disk; exactly one field is set.
type line struct {
	Header    *Header    `json:"header,omitempty"`
	Bin       *Bin       `json:"bin,omitempty"` // of the hold before it, if there is one
	Hold      *Hold      `json:"hold,omitempty"`
	Event     *Event     `json:"event,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
	Writes    *Writes    `json:"writes,omitempty"`
	History   *History   `json:"history,omitempty"`
	Failure   *Example   `json:"failure,omitempty"`
	Slow      *Example   `json:"slow,omitempty"`
	Problem   *string    `json:"problem,omitempty"`
	Generator *Generator `json:"generator,omitempty"` // the last line: without it the file is cut off
}

// maxLine bounds one line of a recording.
const maxLine = 16 << 20

// Write writes a recording as gzipped lines of JSON. The same recording gives the
// same bytes.
func (r *Recording) Write(w io.Writer) error {
	z := gzip.NewWriter(w)
	e := json.NewEncoder(z)
	put := func(l line) error { return e.Encode(l) }
	h := r.Header
	h.Version = Version
	errs := []error{put(line{Header: &h})}
	for i := range r.Bins {
		errs = append(errs, put(line{Bin: &r.Bins[i]}))
	}
	for i := range r.Holds {
		errs = append(errs, put(line{Hold: &r.Holds[i]}))
		for k := range r.Holds[i].Bins {
			errs = append(errs, put(line{Bin: &r.Holds[i].Bins[k]}))
		}
	}
	for i := range r.Events {
		errs = append(errs, put(line{Event: &r.Events[i]}))
	}
	for i := range r.Faults {
		errs = append(errs, put(line{Fault: &r.Faults[i]}))
	}
	for i := range r.Writes {
		errs = append(errs, put(line{Writes: &r.Writes[i]}))
	}
	for i := range r.Histories {
		errs = append(errs, put(line{History: &r.Histories[i]}))
	}
	for i := range r.Failures {
		errs = append(errs, put(line{Failure: &r.Failures[i]}))
	}
	for i := range r.Slowest {
		errs = append(errs, put(line{Slow: &r.Slowest[i]}))
	}
	for i := range r.Problems {
		errs = append(errs, put(line{Problem: &r.Problems[i]}))
	}
	errs = append(errs, put(line{Generator: &r.Generator}), z.Close())
	return errors.Join(errs...)
}

// Read reads what [Recording.Write] wrote. A file that ends early is an error.
func Read(src io.Reader) (*Recording, error) {
	z, err := gzip.NewReader(src)
	if err != nil {
		return nil, fmt.Errorf("not a recording: %w", err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	r, n, whole := new(Recording), 0, false
	for s.Scan() {
		n++
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case whole:
			return nil, fmt.Errorf("line %d: comes after the last line", n)
		case (n == 1) != (l.Header != nil):
			return nil, fmt.Errorf("line %d: the header must be the first line and no other", n)
		case l.Header != nil:
			if v := l.Header.Version; v < 1 || v > Version {
				return nil, fmt.Errorf("recording has version %d, this program reads versions 1 to %d", v, Version)
			}
			r.Header = *l.Header
			if len(r.Schedule.Stages) == 0 {
				if err := r.oneRate(s.Bytes()); err != nil {
					return nil, fmt.Errorf("line %d: %w", n, err)
				}
			}
		case l.Generator != nil:
			r.Generator, whole = *l.Generator, true
		default:
			if !r.take(&l) {
				return nil, fmt.Errorf("line %d: nothing that this program knows", n)
			}
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if r.Version == 0 || !whole {
		return nil, errors.New("recording is cut off: it has no first or no last line")
	}
	return r, nil
}

// take adds what a line between the first and the last has, and reports false if that is nothing.
func (r *Recording) take(l *line) bool {
	switch {
	case l.Hold != nil:
		r.Holds = append(r.Holds, *l.Hold)
	case l.Bin != nil && len(r.Holds) > 0:
		h := &r.Holds[len(r.Holds)-1]
		h.Bins = append(h.Bins, *l.Bin)
	case l.Bin != nil:
		r.Bins = append(r.Bins, *l.Bin)
	case l.Event != nil:
		r.Events = append(r.Events, *l.Event)
	case l.Fault != nil:
		r.Faults = append(r.Faults, *l.Fault)
	case l.Writes != nil:
		r.Writes = append(r.Writes, *l.Writes)
	case l.History != nil:
		r.Histories = append(r.Histories, *l.History)
	case l.Failure != nil:
		r.Failures = append(r.Failures, *l.Failure)
	case l.Slow != nil:
		r.Slowest = append(r.Slowest, *l.Slow)
	case l.Problem != nil:
		r.Problems = append(r.Problems, *l.Problem)
	default:
		return false
	}
	return true
}

// oneRate makes the schedule of a header of version 1 or 2, which has one rate, or 0 where a search set it.
func (r *Recording) oneRate(header []byte) error {
	var old struct {
		Header struct{ Rate float64 } `json:"header"`
	}
	if err := json.Unmarshal(header, &old); err != nil {
		return err
	}
	if rate := old.Header.Rate; rate != 0 {
		r.Schedule = schedule.Constant(rate, r.Warmup, r.For)
	}
	r.Schedule.Warmup = r.Warmup
	return nil
}

// Save writes the recording to a file, whole or not at all.
func (r *Recording) Save(name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".recording-*")
	if err != nil {
		return fmt.Errorf("save recording: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(r.Write(f), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("save recording %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}

// Load reads a recording from a file.
func Load(name string) (*Recording, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Sort puts bins and events into their order in time, in which everybody may
// expect them.
func (r *Recording) Sort() {
	byIndex(r.Bins)
	for i := range r.Holds {
		byIndex(r.Holds[i].Bins)
	}
	sort.SliceStable(r.Events, func(i, j int) bool { return r.Events[i].At < r.Events[j].At })
	sort.SliceStable(r.Faults, func(i, j int) bool { return r.Faults[i].At < r.Faults[j].At })
	slices.Sort(r.Problems)
}

func byIndex(bins []Bin) {
	sort.SliceStable(bins, func(i, j int) bool { return bins[i].Index < bins[j].Index })
}
