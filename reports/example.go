package reports

import (
	"strconv"
	"strings"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/rundir"
)

// How many examples a report shows of an arm; run.json has more.
const (
	shownFailures = 8
	shownSlowest  = 3
)

// exampleTable shows some requests in full: of each arm's first trial that counts and has any.
func (s *sheet) exampleTable() table {
	t := table{
		id: "t-examples", class: "er",
		caption: "Some of those requests, and the slowest answers, of the first trial of each arm that counts and has any; run.json has more of every trial. Times are since the start of measured load.",
		head: []column{
			left("class"), left("answered by"), left("phase"), left("request"), num("number"), num("due"), num("response"), left("what came"),
		},
	}
	for _, a := range s.arms {
		var failures, slowest []row
		s.each(func(trial rundir.Trial, at *analysis.Trial) {
			if at == nil || trial.Arm != a.Name || !trial.Counted {
				return
			}
			if len(failures) == 0 {
				some := record.Spread(at.Rec.Failures, shownFailures, func(e *record.Example) string {
					return e.Class.String() + "\x00" + string(at.PhaseAt(e.Due)) + "\x00" + e.Node
				})
				failures = exampleRows(at, some)
			}
			if len(slowest) == 0 {
				slowest = exampleRows(at, at.Rec.Slowest[:min(len(at.Rec.Slowest), shownSlowest)])
			}
		})
		if len(failures)+len(slowest) > 0 {
			t.rows = append(t.rows, row{group: a.Name, cells: []cell{ofArm(a)}})
			t.rows = append(append(t.rows, failures...), slowest...)
		}
	}
	return t
}

func exampleRows(t *analysis.Trial, of []record.Example) []row {
	var rows []row
	for i := range of {
		e := &of[i]
		request := ""
		if e.Request >= 0 && e.Request < len(t.Rec.Requests) {
			request = t.Rec.Requests[e.Request]
		}
		phase := string(t.PhaseAt(e.Due))
		if phase == "" {
			phase = "between"
		}
		rows = append(rows, row{cells: []cell{
			text(e.Class.String()), text(e.Node), text(phase), text(request), text(count(e.Seq)), text(duration(e.Due)), text(duration(e.Response())),
			text(whatCame(e)),
		}})
	}
	return rows
}

// whatCame is what is known of an answer in words.
func whatCame(e *record.Example) string {
	var parts []string
	if e.Status != 0 {
		parts = append(parts, "status "+strconv.Itoa(e.Status))
	}
	if e.Error != "" {
		parts = append(parts, e.Error)
	}
	if len(e.Tried) > 1 {
		parts = append(parts, "tried "+strings.Join(e.Tried, ", "))
	}
	if e.Sent == record.None {
		parts = append(parts, "never sent")
	}
	return strings.Join(parts, "; ")
}

// exampleLine counts what is shown elsewhere; "" if that is nothing.
func (s *sheet) exampleLine() string {
	failed := 0
	s.each(func(_ rundir.Trial, a *analysis.Trial) {
		if a != nil {
			failed += len(a.Rec.Failures)
		}
	})
	if failed == 0 {
		return ""
	}
	return plural(failed, "failed request", "failed requests") + ", one by one, in run.json"
}
