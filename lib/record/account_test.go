package record_test

import (
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/record"
)

// Scheduled = the sum of all classes; whatever breaks that is found.
func TestAccount(t *testing.T) {
	if r := recording(t); r.Generator.Check(r.Bins) != nil {
		t.Fatalf("a sound recording: %v", r.Generator.Check(r.Bins))
	}
	for want, spoil := range map[string]func(*record.Recording){
		"19 of 20":                    func(r *record.Recording) { r.Generator.Counted-- },
		"20 of 21":                    func(r *record.Recording) { r.Generator.Scheduled++ },
		"holds 19 requests":           func(r *record.Recording) { r.Bins = r.Bins[1:] },
		"2 requests were due in bin":  func(r *record.Recording) { r.Bins[3].Cells[0].Count++ },
		"3 requests were due in bin":  func(r *record.Recording) { r.Bins[3].Due++ },
		"is there twice":              func(r *record.Recording) { r.Bins[0].Index = r.Bins[1].Index },
		"were good, and":              func(r *record.Recording) { r.Bins[3].Good-- },
		"the generator counted 1":     func(r *record.Recording) { r.Generator.Counted, r.Generator.Scheduled = 1, 1 },
		" have a good class":          func(r *record.Recording) { r.Bins[3].Cells[len(r.Bins[3].Cells)-1].Class = record.Refused },
		"the recording holds 0 reque": func(r *record.Recording) { r.Bins = nil },
	} {
		r := recording(t)
		spoil(r)
		if err := r.Generator.Check(r.Bins); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
