package trial_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/slo"
	"github.com/tutti-bench/tutti/lib/target"
	"github.com/tutti-bench/tutti/lib/trial"
	"github.com/tutti-bench/tutti/lib/trial/trialtest"
)

// slow is a fault that helpers keep up.
func slow(place target.Place, short bool) fault.Helped {
	return fault.Helped{
		Tool: fault.Tool{Place: place, Worker: "bench"},
		Parts: func(_ *fault.Site, nodes []target.Node) (map[string]any, error) {
			parts := make(map[string]any)
			for _, n := range nodes {
				parts[n.Name] = "delay 100ms"
			}
			return parts, nil
		},
		Prove: func(_ any, _ json.RawMessage, held time.Duration) (string, string, bool) {
			return "delay 100ms", fmt.Sprintf("100 ms for %v", held), short
		},
		What: "delayed",
	}
}

// step adds a fault that is no kill to the plan.
func step(c *trial.Config, f scenario.Fault, v fault.Fault, victims ...string) {
	f.Fault, f.Selector.Service = v, trialtest.Service
	c.Plan.Steps = append(c.Plan.Steps, plan.Step{Fault: f, Means: "m", Victims: victims})
}

// run runs a trial whose target has things done to it at times of measured load.
func run(t *testing.T, c trial.Config, at map[time.Duration]func()) *record.Recording {
	t.Helper()
	c.Hooks.Started = func(zero time.Time) {
		for d, do := range at {
			time.AfterFunc(time.Until(zero.Add(d)), do)
		}
	}
	rec, err := trial.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func problems(rec *record.Recording) string { return strings.Join(analysis.Of(rec).Problems(), "\n") }

func named(t *testing.T, rec *record.Recording, name string) record.Fault {
	t.Helper()
	i := slices.IndexFunc(rec.Faults, func(f record.Fault) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no fault %q", name)
	}
	return rec.Faults[i]
}

// edges checks when a fault was in force.
func edges(t *testing.T, f record.Fault, onset, heal time.Duration) {
	t.Helper()
	if f.Onset == nil || f.Heal == nil || f.Onset.To != onset || f.Heal.To != heal {
		t.Errorf("%s: onset %+v, heal %+v, want %v and %v", f.Name, f.Onset, f.Heal, onset, heal)
	}
}

// A fault that helpers keep up is armed before the load on all that it may hit, and proven by what it delivered.
func TestHelped(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 5 * time.Second}, slow(target.InNetwork, false), "app-1", "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		var armed []string
		rec := run(t, c, map[time.Duration]func(){
			-time.Second: func() { armed = f.Armed() },
			12 * time.Second: func() {
				if got := f.InForce("app-2"); !slices.Equal(got, []string{"slow"}) {
					t.Errorf("in force on app-2: %q", got)
				}
			},
		})
		if slices.Sort(armed); !slices.Equal(armed, []string{"app-1 slow", "app-2 slow"}) {
			t.Errorf("armed in the warm-up: %q", armed)
		}
		g := rec.Faults[0]
		edges(t, g, 10*time.Second, 15*time.Second)
		if p := problems(rec); p != "" || !g.Proven() {
			t.Errorf("problems %q, proof %+v", p, g.Proof)
		}
		if len(g.Proof) != 4 || g.Proof[2].Asked != "delay 100ms" || g.Proof[2].Delivered != "100 ms for 5s" {
			t.Errorf("proof %+v", g.Proof)
		}
		if left := f.InForce("app-1"); len(left) > 0 {
			t.Errorf("%q stays", left)
		}
	})
}

// What delivered too little is not proven, and the trial says what was asked.
func TestShort(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 5 * time.Second}, slow(target.InNetwork, true), "app-1")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		p := problems(run(t, c, nil))
		for _, want := range []string{`"slow"`, "app-1", "delay 100ms", "100 ms for 5s"} {
			if !strings.Contains(p, want) {
				t.Errorf("problems %q do not say %s", p, want)
			}
		}
	})
}

// What cannot be armed is an error of the trial, and there is no load.
func TestArmFails(t *testing.T) {
	f := &trialtest.Fake{ArmErr: errors.New("the kernel has no netem")}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second}, slow(target.InNetwork, false), "app-1")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec, err := trial.Run(t.Context(), c)
		if err == nil || errors.Is(err, trial.ErrNotReady) || len(rec.Bins) > 0 {
			t.Fatalf("error %v, %d bins", err, len(rec.Bins))
		}
		for _, want := range []string{`"slow"`, "app-1", "no netem"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %s", err, want)
			}
		}
		if f.Downs() != 1 {
			t.Error("the target was not removed")
		}
	})
}

// A fault after another's onset or heal fires so long after the measured edge.
func TestAfter(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 3, killAt10())
	for name, event := range map[string]string{"first": scenario.Onset, "second": scenario.Healed} {
		step(&c, scenario.Fault{Name: name, Verb: "latency", For: 2 * time.Second, After: &scenario.After{Fault: "crash", Event: event, Delay: 3 * time.Second}},
			slow(target.InNetwork, false), "app-2")
	}
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		edges(t, named(t, rec, "first"), 13050*time.Millisecond, 15050*time.Millisecond)
		edges(t, named(t, rec, "second"), 23050*time.Millisecond, 25050*time.Millisecond)
		if g := named(t, rec, "second"); g.At != 23050*time.Millisecond || g.Trigger != "3s after crash healed" {
			t.Errorf("due at %v by %q", g.At, g.Trigger)
		}
		if p := problems(rec); p != "" {
			t.Errorf("problems %q", p)
		}
	})
}

// A trigger that does not come makes the trial invalid, and says why it did not.
func TestNever(t *testing.T) {
	for name, x := range map[string]struct {
		first scenario.Fault
		then  scenario.After
		want  string
	}{
		"no onset": {scenario.Fault{Name: "crash", Verb: "kill", At: 10 * time.Second}, scenario.After{Fault: "crash", Event: scenario.Onset}, "never began"},
		"too late": {scenario.Fault{Name: "slow", Verb: "latency", At: 55 * time.Second}, scenario.After{Fault: "slow", Event: scenario.Healed, Delay: 2 * time.Second}, "measured load had ended"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &trialtest.Fake{KillErr: func(target.Spec, target.Node) error { return errors.New("no such container") }}
			c := config(f, 2)
			if x.first.Verb == "kill" {
				c = config(f, 2, x.first)
			} else {
				step(&c, x.first, slow(target.InNetwork, false), "app-1")
			}
			step(&c, scenario.Fault{Name: "then", Verb: "latency", After: &x.then}, slow(target.InNetwork, false), "app-2")
			ingress(t, &c)
			synctest.Test(t, func(t *testing.T) {
				rec := run(t, c, nil)
				g := named(t, rec, "then")
				if g.Ended != record.EndedNever || g.Onset != nil || !strings.Contains(g.Problem, x.want) || !strings.Contains(problems(rec), x.want) {
					t.Errorf("ended %q, problem %q", g.Ended, g.Problem)
				}
			})
		})
	}
}

func condition(t *testing.T, text string) *slo.Condition {
	t.Helper()
	c, err := slo.ParseCondition(text)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// A condition is judged on every full second once all that was due in it has its outcome, and fires the fault then.
func TestWhen(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2, killAt10())
	step(&c, scenario.Fault{Name: "more", Verb: "latency", For: 2 * time.Second, When: condition(t, "availability < 90%")}, slow(target.InNetwork, false), "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		g := named(t, rec, "more")
		// Half of what is due from 10.05 s on is lost. The second from 10 s on is complete when the last of it times out.
		if g.At < 11*time.Second || g.At > 12*time.Second || g.Trigger != "when availability < 90%" {
			t.Errorf("due at %v by %q", g.At, g.Trigger)
		}
		edges(t, g, g.At, g.At+2*time.Second)
		if p := problems(rec); p != "" {
			t.Errorf("problems %q", p)
		}
	})
}

func TestWhenNever(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "more", Verb: "latency", When: condition(t, "availability < 90%")}, slow(target.InNetwork, false), "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		if g := rec.Faults[0]; g.Ended != record.EndedNever || !strings.Contains(problems(rec), `its condition "availability < 90%" never held`) {
			t.Errorf("ended %q, problems %q", g.Ended, problems(rec))
		}
	})
}

// The node that has a role is asked for when the fault fires; several, and the fault's own chance picks.
func TestRoleByCommand(t *testing.T) {
	leader := "app-2"
	f := &trialtest.Fake{ExecFunc: func(n target.Node, command []string) (int, string) {
		if n.Name == "app-3" {
			return 1, "role:master, but broken"
		}
		if n.Name == leader {
			return 0, "role:master\n"
		}
		return 0, "role:slave\x1b[31m" + strings.Repeat("x", 200)
	}}
	c := config(f, 3)
	role := &fault.Role{Exec: []string{"redis-cli", "role"}, Contains: "master"}
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 5 * time.Second, Selector: fault.Selector{Role: role}},
		slow(target.InNetwork, false), "app-1", "app-2", "app-3")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, map[time.Duration]func(){5 * time.Second: func() { leader = "app-1" }})
		if g := rec.Faults[0]; !slices.Equal(g.Nodes, []string{"app-1"}) || g.Role != `exec redis-cli role, contains "master"` || problems(rec) != "" {
			t.Errorf("nodes %q by %q, problems %q", g.Nodes, g.Role, problems(rec))
		}
		if len(f.Armed()) != 3 {
			t.Errorf("armed %q", f.Armed())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, map[time.Duration]func(){5 * time.Second: func() { leader = "" }})
		g := rec.Faults[0]
		for _, want := range []string{"no node of app has the role", "asked 3", `app-1 "role:slave\x1b[31mxxx`, "…", `app-3 "exit code 1: role:master`} {
			if !strings.Contains(g.Problem, want) {
				t.Errorf("%q does not say %s", g.Problem, want)
			}
		}
		if len(g.Nodes) > 0 || len(g.Problem) > 400 || problems(rec) == "" {
			t.Errorf("nodes %q, %d bytes of problem", g.Nodes, len(g.Problem))
		}
	})
}

// A role by HTTP is asked at each node's own address.
func TestRoleByGet(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		if host == "127.0.0.3" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintf(w, `{"members":[{"leader":%v}]}`, host != "127.0.0.1")
	})}}
	s.Start()
	defer s.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	f := &trialtest.Fake{Network: "127.0.0."}
	c := config(f, 3)
	role := &fault.Role{Get: "http://:" + port + "/status?x=1", JSON: "members.0.leader", Equals: "true"}
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 5 * time.Second, Selector: fault.Selector{Role: role, All: true}},
		slow(target.InNetwork, false), "app-1", "app-2", "app-3")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		if g := rec.Faults[0]; !slices.Equal(g.Nodes, []string{"app-2"}) || problems(rec) != "" {
			t.Errorf("nodes %q, problems %q", g.Nodes, problems(rec))
		}
	})
}

// On a node that restarts, what can be renewed is in force again, and the record says when.
func TestRenewed(t *testing.T) {
	for _, place := range []target.Place{target.InNetwork, target.InNode} { // helpers that outlive the node, and that do not
		f := &trialtest.Fake{}
		c := config(f, 2)
		step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 20 * time.Second}, slow(place, false), "app-1", "app-2")
		ingress(t, &c)
		synctest.Test(t, func(t *testing.T) {
			var inForce []string
			rec := run(t, c, map[time.Duration]func(){
				12 * time.Second: func() { f.Die("app-2") },
				14 * time.Second: func() { f.Return("app-2") },
				16 * time.Second: func() { inForce = f.InForce("app-2") },
			})
			g := rec.Faults[0]
			edges(t, g, 10*time.Second, 30*time.Second)
			if !slices.Equal(inForce, []string{"slow"}) || g.Ended != record.EndedFor || problems(rec) != "" {
				t.Errorf("%s: in force %q, ended %q, problems %q", place, inForce, g.Ended, problems(rec))
			}
			if len(g.Renewed) != 1 || g.Renewed[0] != "app-2: in force again 0.00 s after its restart at 14.00 s" {
				t.Errorf("%s: renewed %q", place, g.Renewed)
			}
			if left := f.InForce("app-2"); len(left) > 0 {
				t.Errorf("%s: %q stays", place, left)
			}
			if p := g.Proof[len(g.Proof)-1]; p.Node != "app-2" || p.Delivered != "100 ms for 16s" {
				t.Errorf("%s: proof %+v", place, p)
			}
		})
	}
}

// A network fault whose node dies and does not come back was over when the node died.
func TestDeadAtTheEnd(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 20 * time.Second}, slow(target.InNode, false), "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, map[time.Duration]func(){12 * time.Second: func() { f.Die("app-2") }})
		g := rec.Faults[0]
		edges(t, g, 10*time.Second, 12*time.Second)
		if problems(rec) != "" || len(g.Renewed) != 1 || !strings.Contains(g.Renewed[0], "over when it died at 12.00 s") {
			t.Errorf("problems %q, renewed %q", problems(rec), g.Renewed)
		}
	})
}

// frozen is a fault that nobody can renew.
type frozen struct{ undo func(node string) }

func (z frozen) Inject(_ context.Context, _ *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effects := func() []target.Effect {
		var all []target.Effect
		for _, n := range nodes {
			all = append(all, target.Effect{Node: n, From: time.Now(), To: time.Now(), Source: "fake", Proof: "frozen"})
		}
		return all
	}
	return effects(), func(context.Context) ([]target.Effect, error) {
		for _, n := range nodes {
			if z.undo != nil {
				z.undo(n.Name)
			}
		}
		return effects(), nil
	}, nil
}

// What cannot be renewed is over when its node comes back; with its last node the fault is.
func TestOverByRestart(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "ice", Verb: "pause", At: 10 * time.Second, For: 20 * time.Second}, frozen{}, "app-1")
	step(&c, scenario.Fault{Name: "both", Verb: "pause", At: 10 * time.Second, For: 20 * time.Second}, frozen{}, "app-1", "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, map[time.Duration]func(){
			12 * time.Second: func() { f.Die("app-1") },
			14 * time.Second: func() { f.Return("app-1") },
		})
		ice := named(t, rec, "ice")
		edges(t, ice, 10*time.Second, 14*time.Second)
		if ice.Ended != record.EndedRestart || ice.Heal.From != 12*time.Second || len(ice.Renewed) != 1 || !strings.Contains(ice.Renewed[0], "over since the node's restart at 14.00 s") {
			t.Errorf("ended %q, heal %+v, renewed %q", ice.Ended, ice.Heal, ice.Renewed)
		}
		both := named(t, rec, "both")
		edges(t, both, 10*time.Second, 30*time.Second)
		if both.Ended != record.EndedFor || len(both.Renewed) != 1 || both.Heal.From != 12*time.Second {
			t.Errorf("ended %q, heal %+v, renewed %q", both.Ended, both.Heal, both.Renewed)
		}
		if p := problems(rec); p != "" {
			t.Errorf("problems %q", p)
		}
	})
}

// freezer is a cluster that freezes nodes as engines do: one that does not run cannot be, and one that died is not any more.
type freezer struct {
	*trialtest.Fake
	mu     sync.Mutex
	frozen map[string]bool
}

func (z *freezer) Up(ctx context.Context, s target.Spec) (target.Cluster, error) {
	z.frozen = make(map[string]bool)
	_, err := z.Fake.Up(ctx, s)
	return z, err
}

func (z *freezer) turn(n target.Node, want bool) (target.Effect, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	down := slices.Contains(z.Dead(), n.Name)
	now := time.Now()
	e := target.Effect{Node: n, From: now, To: now, Source: "fake", Proof: "it was not frozen any more"}
	switch {
	case want && down:
		return target.Effect{}, errors.New("it does not run")
	case !down && z.frozen[n.Name] != want:
		e.Proof = "done"
	}
	z.frozen[n.Name] = want
	return e, nil
}

func (z *freezer) Pause(_ context.Context, n target.Node) (target.Effect, error) {
	return z.turn(n, true)
}

func (z *freezer) Unpause(_ context.Context, n target.Node) (target.Effect, error) {
	return z.turn(n, false)
}

// A freeze whose node dies meanwhile is over there, and the record says so: the trial is as good as any.
func TestFrozenDies(t *testing.T) {
	for verb, k := range map[string]fault.Kind{"pause": node.PauseKind(), "stutter": node.StutterKind()} {
		for _, back := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, back %v", verb, back), func(t *testing.T) {
				f := &freezer{Fake: &trialtest.Fake{}}
				c := config(f.Fake, 2)
				c.Driver = f
				v, err := k.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				step(&c, scenario.Fault{Name: "ice", Verb: verb, At: 10 * time.Second, For: 20 * time.Second}, v, "app-1")
				ingress(t, &c)
				synctest.Test(t, func(t *testing.T) {
					died := 12*time.Second + 900*time.Millisecond // it runs then, if it stutters
					at := map[time.Duration]func(){died: func() { f.Die("app-1") }}
					healed, said := died, "over when it died at 12.90 s"
					if back {
						at[14*time.Second] = func() { f.Return("app-1") }
						healed, said = 14*time.Second, "over since the node's restart at 14.00 s"
					}
					rec := run(t, c, at)
					ice := named(t, rec, "ice")
					edges(t, ice, 10*time.Second, healed)
					if p := problems(rec); p != "" || len(ice.Renewed) != 1 || !strings.Contains(ice.Renewed[0], said) {
						t.Errorf("renewed %q, problems %q", ice.Renewed, p)
					}
				})
			})
		}
	}
}

// A node that a fault took down and that a restart policy brings back heals the fault when it is back.
func TestComesBack(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2, killAt10())
	c.Plan.Steps[0].Verb = "crash"
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, map[time.Duration]func(){12 * time.Second: func() { f.Return("app-1") }})
		g := rec.Faults[0]
		edges(t, g, 10050*time.Millisecond, 12*time.Second)
		if g.Ended != record.EndedBack || problems(rec) != "" || len(g.Renewed) != 1 {
			t.Errorf("ended %q, renewed %q, problems %q", g.Ended, g.Renewed, problems(rec))
		}
	})
}

// A network fault and a kill on one node at a time: the kill ends as planned, and the network fault comes back with the node.
func TestKillUnderNetworkFault(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2, killAt10())
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 5 * time.Second, For: 30 * time.Second}, slow(target.InNetwork, false), "app-1")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		edges(t, named(t, rec, "crash"), 10050*time.Millisecond, 20050*time.Millisecond)
		s := named(t, rec, "slow")
		edges(t, s, 5*time.Second, 35*time.Second)
		if len(s.Renewed) != 1 || !strings.Contains(s.Renewed[0], "after its restart at 20.05 s") || problems(rec) != "" {
			t.Errorf("renewed %q, problems %q", s.Renewed, problems(rec))
		}
	})
}

// A helper that is lost while its node lives ends the fault there and spoils the trial; what it left is cleared at once.
func TestLost(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 20 * time.Second}, slow(target.InNetwork, false), "app-1", "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		var left, cleared []string
		rec := run(t, c, map[time.Duration]func(){
			12 * time.Second:                      func() { f.Lose("app-1") },
			12*time.Second + 100*time.Millisecond: func() { left = f.InForce("app-1") },
			14 * time.Second:                      func() { cleared = append(f.InForce("app-1"), f.InForce("app-2")...) },
		})
		g := rec.Faults[0]
		if len(left) != 1 || len(cleared) != 0 {
			t.Errorf("left %q, still there two seconds later %q", left, cleared)
		}
		if g.Ended != record.EndedLost || !strings.Contains(problems(rec), "what kept it up on app-1 was lost") {
			t.Errorf("ended %q, problems %q", g.Ended, problems(rec))
		}
		// It is asked every second whether it is there.
		if g.Heal == nil || g.Heal.From < 11*time.Second || g.Heal.From > 12*time.Second || g.Heal.To < 12*time.Second || g.Heal.To > 13*time.Second {
			t.Errorf("heal %+v", g.Heal)
		}
	})
}

// lasting is a fault whose Revert takes its time: so much for each node.
type lasting struct{ each, may time.Duration }

func (l lasting) Inject(_ context.Context, _ *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effects := func() (all []target.Effect) {
		for _, n := range nodes {
			now := time.Now()
			all = append(all, target.Effect{Node: n, From: now, To: now, Source: "test", Proof: "p"})
		}
		return all
	}
	return effects(), func(ctx context.Context) ([]target.Effect, error) {
		select {
		case <-time.After(time.Duration(len(nodes)) * l.each):
			return effects(), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}, nil
}

func (l lasting) Lasts(nodes int, grace time.Duration) time.Duration {
	return time.Duration(nodes) * (l.may + grace)
}

// Undoing may take as long as the fault says, and no longer.
func TestLasting(t *testing.T) {
	for name, c := range map[string]struct {
		each time.Duration
		want string
	}{
		"in time":  {40 * time.Second, ""},
		"too long": {70 * time.Second, "it was not undone within 2m10s"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(&trialtest.Fake{}, 2)
			cfg.Spec.Target = &target.Target{Services: map[string]target.Service{trialtest.Service: {Scale: 2, StopGrace: 5 * time.Second}}}
			step(&cfg, scenario.Fault{Name: "roll", Verb: "rolling", At: 10 * time.Second}, lasting{c.each, 45 * time.Second}, "app-1", "app-2")
			cfg.Plan.Steps[len(cfg.Plan.Steps)-1].Kind.NoFor = true
			ingress(t, &cfg)
			synctest.Test(t, func(t *testing.T) {
				rec := run(t, cfg, nil)
				g := named(t, rec, "roll")
				if !strings.Contains(g.Problem, c.want) || (c.want == "") != (g.Problem == "") {
					t.Errorf("problem %q, want %q", g.Problem, c.want)
				}
				if c.want == "" {
					edges(t, g, 10*time.Second, 90*time.Second)
				}
			})
		})
	}
}

// stuck is a fault whose first undoing takes all its time.
type stuck struct{ tries *int }

func (k stuck) Inject(_ context.Context, _ *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effect := []target.Effect{{Node: nodes[0], From: time.Now(), To: time.Now(), Source: "test", Proof: "p"}}
	return effect, func(ctx context.Context) ([]target.Effect, error) {
		if *k.tries++; *k.tries == 1 {
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return []target.Effect{{Node: nodes[0], From: time.Now(), To: time.Now(), Source: "test", Proof: "p"}}, nil
	}, nil
}

// What was not undone in time is tried once more, with time of its own; the trial is lost all the same.
func TestUndoneAgain(t *testing.T) {
	c := config(&trialtest.Fake{}, 2)
	tries := 0
	step(&c, scenario.Fault{Name: "mud", Verb: "mud", At: 10 * time.Second, For: 5 * time.Second}, stuck{&tries}, "app-1")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		g := named(t, rec, "mud")
		if tries != 2 || !strings.Contains(g.Problem, "it was not undone within 30s") {
			t.Errorf("%d tries, problem %q", tries, g.Problem)
		}
		edges(t, g, 10*time.Second, 45*time.Second+100*time.Millisecond)
	})
}

// overtime is a fault whose Revert goes on until it is told that measured load is over.
type overtime struct{}

func (overtime) Inject(_ context.Context, s *fault.Site, nodes []target.Node) ([]target.Effect, fault.Revert, error) {
	effect := func() []target.Effect {
		return []target.Effect{{Node: nodes[0], From: time.Now(), To: time.Now(), Source: "test", Proof: "p"}}
	}
	return effect(), func(context.Context) ([]target.Effect, error) {
		<-s.Over
		return effect(), nil
	}, nil
}

// What goes on in a Revert is told when measured load ends, or the trial does.
func TestOver(t *testing.T) {
	for _, cut := range []bool{false, true} {
		c := config(&trialtest.Fake{}, 2)
		step(&c, scenario.Fault{Name: "roll", Verb: "rolling", At: 50 * time.Second}, overtime{}, "app-1")
		c.Plan.Steps[len(c.Plan.Steps)-1].Kind.NoFor = true
		ingress(t, &c)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			want := 60 * time.Second
			if cut {
				want = 55 * time.Second
				c.Hooks.Started = func(zero time.Time) { time.AfterFunc(time.Until(zero.Add(want)), cancel) }
			}
			rec, err := trial.Run(ctx, c)
			if (err != nil) != cut {
				t.Error(err)
			}
			edges(t, named(t, rec, "roll"), 50*time.Second, want)
		})
	}
}

// What is on top of others on a node goes first when load ends.
func TestUndoneInReverse(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	var mu sync.Mutex
	var order []string
	for i, name := range []string{"a", "b", "c"} {
		step(&c, scenario.Fault{Name: name, Verb: "pause", At: time.Duration(10+i) * time.Second}, frozen{func(string) {
			time.Sleep(time.Duration(i) * time.Second) // the last one takes longest
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
		}}, "app-1")
	}
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, nil)
		if got := strings.Join(order, ""); got != "cba" {
			t.Errorf("undone in the order %s", got)
		}
		if g := named(t, rec, "a"); g.Ended != record.EndedLoad || g.Heal.To != 63*time.Second {
			t.Errorf("ended %q, heal %+v", g.Ended, g.Heal)
		}
	})
}

// What happens to nodes that nobody chose is told with the fault that was in force, and does not spoil the trial.
func TestCollateral(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 3, killAt10())
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 2 * time.Second}, slow(target.InNetwork, false), "app-2")
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		rec := run(t, c, map[time.Duration]func(){
			5 * time.Second:          func() { f.Tell("app-3", record.NodeHealth, "unhealthy") },
			11 * time.Second:         func() { f.Tell("app-3", record.NodeHealth, "unhealthy"); f.Tell("app-3", record.NodeHealth, "healthy") },
			11500 * time.Millisecond: func() { f.Tell("app-2", record.NodeOOM, "") },
			20500 * time.Millisecond: func() { f.Die("app-3"); f.Return("app-3") },
			25 * time.Second:         func() { f.Tell("app-3", record.NodeHealth, "unhealthy") },
		})
		if got, want := named(t, rec, "crash").Collateral, []string{"app-3: unhealthy at 11.00 s", "app-3: died (exit code 1) at 20.50 s"}; !slices.Equal(got, want) {
			t.Errorf("beside crash: %q, want %q", got, want)
		}
		if got, want := named(t, rec, "slow").Collateral, []string{"app-3: unhealthy at 11.00 s"}; !slices.Equal(got, want) {
			t.Errorf("beside slow: %q, want %q", got, want)
		}
		if p := problems(rec); p != "" {
			t.Errorf("problems %q", p)
		}
	})
}

// paper is a journal that can be full.
type paper struct {
	mu    sync.Mutex
	lines bytes.Buffer
	syncs int
	full  bool
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return 0, errors.New("no space left")
	}
	return p.lines.Write(b)
}

func (p *paper) Sync() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncs++
	return nil
}

// Before something is done to a node it is written down; what cannot be is not done.
func TestJournal(t *testing.T) {
	f := &trialtest.Fake{}
	c := config(f, 2)
	step(&c, scenario.Fault{Name: "slow", Verb: "latency", At: 10 * time.Second, For: 2 * time.Second}, slow(target.InNetwork, false), "app-1")
	c.Plan.Steps[0].Way = "queue"
	ingress(t, &c)
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		c.Journal = p
		var before string
		rec := run(t, c, map[time.Duration]func(){10*time.Second - time.Millisecond: func() { p.mu.Lock(); defer p.mu.Unlock(); before = p.lines.String() }})
		if strings.Count(before, "\n") != 2 || !strings.Contains(before, `"step":"inject"`) {
			t.Errorf("written down before it fires: %s", before)
		}
		var steps []string
		for line := range strings.Lines(p.lines.String()) {
			var l trial.JournalLine
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Fault != "slow" || l.Verb != "latency" || l.Way != "queue" || !slices.Equal(l.Nodes, []string{"app-1"}) {
				t.Errorf("%s: %v", line, err)
			}
			steps = append(steps, l.Step)
		}
		if want := []string{"arm", "inject", "injected", "revert", "reverted"}; !slices.Equal(steps, want) || p.syncs != len(want) {
			t.Errorf("steps %q, %d times synced", steps, p.syncs)
		}
		if got := problems(rec); got != "" {
			t.Errorf("problems %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		c.Journal = p
		rec := run(t, c, map[time.Duration]func(){
			5 * time.Second: func() { p.mu.Lock(); p.full = true; p.mu.Unlock() },
			11 * time.Second: func() {
				if got := f.InForce("app-1"); len(got) > 0 {
					t.Errorf("in force without being written down: %q", got)
				}
			},
		})
		if !strings.Contains(problems(rec), "journal") || rec.Faults[0].Onset != nil {
			t.Errorf("problems %q", problems(rec))
		}
	})
}
