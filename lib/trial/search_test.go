package trial_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
	"github.com/tutti-bench/tutti/lib/trial/trialtest"
)

// searching is a trial that looks for the highest rate at which a condition holds.
func searching(t *testing.T, f *trialtest.Fake, nodes int, while string) trial.Config {
	t.Helper()
	c := config(f, nodes)
	ingress(t, &c)
	condition, err := slo.ParseCondition(while)
	if err != nil {
		t.Fatal(err)
	}
	c.Plan.Capacity = &scenario.Capacity{While: condition, From: 10, To: 80, Hold: 5 * time.Second}
	c.Plan.Load.Schedule = schedule.Constant(80, time.Second, 5*time.Second)
	return c
}

var capacity = analysis.Ref{Metric: "capacity"}

func TestCapacity(t *testing.T) {
	perNode := func(n int) float64 { return 23 * float64(n) }
	for name, c := range map[string]struct {
		carries func(int) float64
		offers  float64
		nodes   int
		while   string
		state   analysis.State
		low     float64 // of the capacity
		high    float64
		answers string // of the holds, by their first letters; k is unknown
		why     string // of the last hold without met
	}{
		"found":         {carries: perNode, nodes: 1, while: "availability >= 100%", state: analysis.OK, low: 23 / 1.051, high: 23, answers: "mmu", why: "availability"},
		"found of two":  {carries: perNode, nodes: 2, while: "availability >= 100% and p99 <= 100ms", state: analysis.OK, low: 46 / 1.051, high: 46, answers: "mmmu", why: "availability"},
		"not at from":   {carries: func(int) float64 { return 9 }, nodes: 1, while: "p99 <= 100ms", state: analysis.NoData, answers: "uu", why: "p99 never"},
		"up to to":      {nodes: 1, while: "p99 <= 100ms", state: analysis.Censored, low: 80, high: 80, answers: "mmmm"},
		"own lag":       {offers: 25, nodes: 1, while: "p99 <= 100ms", state: analysis.Censored, low: 20, high: 20, answers: "mmkk", why: "own lag decides"},
		"not offered":   {offers: 25, nodes: 1, while: "availability >= 99%", state: analysis.Censored, low: 20, high: 20, answers: "mmkk", why: "offered 2"},
		"late and over": {carries: perNode, offers: 25, nodes: 1, while: "availability >= 100%", state: analysis.OK, low: 23 / 1.051, high: 23, answers: "mmu", why: "availability"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &trialtest.Fake{Carries: c.carries, Offers: c.offers}
			cfg := searching(t, f, c.nodes, c.while)
			var told []record.Hold
			cfg.Hooks.Hold = func(h record.Hold) { told = append(told, h) }
			synctest.Test(t, func(t *testing.T) {
				rec, err := trial.Run(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				a := analysis.Of(rec)
				if p := a.Problems(); len(p) > 0 {
					t.Errorf("problems: %q", p)
				}
				v := a.Metric(capacity)
				if v.State != c.state || c.state != analysis.NoData && (v.V < c.low || v.V > c.high) {
					t.Errorf("capacity %+v, want %s from %v to %v; holds %s", v, c.state, c.low, c.high, answers(rec))
				}
				if got := answers(rec); !strings.HasPrefix(got, c.answers) {
					t.Errorf("answers %s, want %s first", got, c.answers)
				}
				for _, h := range rec.Holds {
					if (h.Answer == record.Met) != (h.Why == "") || h.Why != "" && !strings.Contains(h.Why, c.why) {
						t.Errorf("at %v/s %s because %q", h.Rate, h.Answer, h.Why)
					}
				}
				if len(told) != 2*len(rec.Holds) || told[0].Answer != "" || told[1].Answer != rec.Holds[0].Answer {
					t.Errorf("told of %d moments of %d holds", len(told), len(rec.Holds))
				}
				if v := a.Metric(analysis.Ref{Metric: "availability"}); v.State != analysis.NoData {
					t.Errorf("a search has availability %v", v)
				}
			})
		})
	}
}

func answers(rec *record.Recording) string {
	var b strings.Builder
	for _, h := range rec.Holds {
		letter := map[record.Answer]string{record.Met: "m", record.Unmet: "u", record.Unknown: "k"}[h.Answer]
		b.WriteString(letter)
	}
	return b.String()
}

// Each hold is a load of its own: its bins are all of its requests and no others, on its own clock, and the recording that lies
// on the disk is the same.
func TestHoldsAreLoads(t *testing.T) {
	f := &trialtest.Fake{Carries: func(int) float64 { return 30 }}
	cfg := searching(t, f, 1, "availability >= 99%")
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		last := time.Duration(-1)
		for i, h := range rec.Holds {
			var due uint64
			for _, b := range h.Bins {
				if b.Index >= 0 {
					due += b.Due
				}
			}
			if want := uint64(h.Rate*h.For.Seconds() + 0.999); due != want {
				t.Errorf("hold %d at %v/s has %d requests, want %d", i+1, h.Rate, due, want)
			}
			if h.At <= last || i == 0 && h.At != 0 {
				t.Errorf("hold %d begins at %v, the one before at %v", i+1, h.At, last)
			}
			last = h.At + h.For
		}
		name := t.TempDir() + "/recording.jsonl.gz"
		if err := rec.Save(name); err != nil {
			t.Fatal(err)
		}
		again, err := record.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b record.Hold) bool {
			return a.Rate == b.Rate && a.Answer == b.Answer && a.At == b.At && len(a.Bins) == len(b.Bins) && a.Generator == b.Generator
		}
		if !slices.EqualFunc(rec.Holds, again.Holds, same) || analysis.Of(again).Metric(capacity) != analysis.Of(rec).Metric(capacity) {
			t.Error("the recording that was read again is another one")
		}
	})
}

// A search that is broken off has no capacity, and its trial does not count.
func TestSearchCancelled(t *testing.T) {
	f := &trialtest.Fake{}
	cfg := searching(t, f, 1, "availability >= 99%")
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(9*time.Second, func() { cancel(why) })
		rec, err := trial.Run(ctx, cfg)
		if !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		if len(analysis.Of(rec).Problems()) == 0 {
			t.Error("it counts")
		}
		if f.Downs() != 1 {
			t.Errorf("the target was removed %d times", f.Downs())
		}
	})
}

// An agent that is lost between two loads of a search is what spoils the trial: it is no target that does not settle, and no reason to
// end the run.
func TestSearchLosesAgent(t *testing.T) {
	for which, want := range map[int]string{1: "the load agent was lost", 2: "agent 2 of 2: the load agent was lost"} {
		m := &shortLived{Fake: &trialtest.Fake{}, which: which}
		cfg := searching(t, m.Fake, 1, "availability >= 99%")
		cfg.Driver, cfg.Plan.Agents = m, 2
		var stages []string
		cfg.Hooks.Stage = func(s string) {
			if stages = append(stages, s); s == "letting the target settle" {
				m.die()
			}
		}
		synctest.Test(t, func(t *testing.T) {
			rec, err := trial.Run(t.Context(), cfg)
			if err != nil {
				t.Fatalf("agent %d: %v", which, err)
			}
			if got := answers(rec); got != "m" {
				t.Errorf("agent %d: answers %s, want that of the hold before; stages %q", which, got, stages)
			}
			if p := analysis.Of(rec).Problems(); !slices.ContainsFunc(p, func(p string) bool { return strings.Contains(p, want) }) {
				t.Errorf("agent %d: problems %q, want %q", which, p, want)
			}
			if m.Downs() != 1 {
				t.Errorf("agent %d: the target was removed %d times", which, m.Downs())
			}
		})
	}
}

// mortal has a node that dies during the second hold, and comes back after a while or not at all.
type mortal struct {
	*trialtest.Fake
	back time.Duration
}

func (m *mortal) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	tell := func(kind string) {
		s.Watch(target.NodeEvent{At: time.Now(), Node: "app-2", Kind: kind})
	}
	time.AfterFunc(9*time.Second, func() { tell(record.NodeDie) })
	if m.back > 0 {
		time.AfterFunc(9*time.Second+m.back, func() { tell(record.NodeStart) })
	}
	return m.Fake.Up(ctx, s)
}

// A search goes on once every node is back; else it ends with what it has, and says why.
func TestSearchWaitsForNodes(t *testing.T) {
	for back, want := range map[time.Duration]string{20 * time.Second: "mmmm", 0: "mmk"} {
		f := &trialtest.Fake{}
		cfg := searching(t, f, 2, "availability >= 99%")
		cfg.Driver = &mortal{f, back}
		synctest.Test(t, func(t *testing.T) {
			rec, err := trial.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			last := rec.Holds[len(rec.Holds)-1]
			if got := answers(rec); got != want {
				t.Fatalf("back after %v: answers %s, want %s", back, got, want)
			}
			a := analysis.Of(rec)
			if p := a.Problems(); len(p) > 0 {
				t.Errorf("problems: %q", p)
			}
			v := a.Metric(capacity)
			if back > 0 {
				if h := rec.Holds[2]; h.Settled < 10*time.Second || v.V != 80 {
					t.Errorf("settled after %v, capacity %+v", h.Settled, v)
				}
				return
			}
			if !strings.Contains(last.Why, "app-2 was not running") || last.Generator.Scheduled != 0 || v.State != analysis.Censored || v.V != 20 {
				t.Errorf("%q, capacity %+v", last.Why, v)
			}
		})
	}
}
