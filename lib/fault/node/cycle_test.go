package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/target"
)

// quick is a cluster whose calls take 10 ms and fail from the n-th on.
type quick struct {
	bare
	slow  time.Duration // what a freeze takes more, but for the first
	ahead time.Duration // its clock, of ours
	state map[string]string
	log   []string
	fails int // the call that fails, from 1; 0: none
}

func newQuick() *quick { return &quick{state: make(map[string]string)} }

func (c *quick) do(ctx context.Context, n target.Node, state string) (target.Effect, error) {
	from, takes := time.Now(), 10*time.Millisecond
	if state == "frozen" && len(c.log) > 0 {
		takes += c.slow
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return target.Effect{}, context.Cause(ctx)
	}
	c.log = append(c.log, state+" "+n.Name)
	if len(c.log) == c.fails {
		return target.Effect{}, errors.New("the engine is out of coolant")
	}
	if state == "running" && c.state[n.Name] == state || state == "frozen" && c.state[n.Name] == state {
		return target.Effect{}, errors.New("there is nothing to do")
	}
	c.state[n.Name] = state
	return target.Effect{Node: n, From: from.Add(c.ahead), To: time.Now().Add(c.ahead), Source: "fake", Proof: state}, nil
}

func (c *quick) Pause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "frozen")
}

func (c *quick) Unpause(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "running")
}

func (c *quick) Stop(ctx context.Context, n target.Node, _ time.Duration) (target.Effect, error) {
	return c.do(ctx, n, "stopped")
}

func (c *quick) Start(ctx context.Context, n target.Node) (target.Effect, error) {
	return c.do(ctx, n, "running")
}

// A stutter keeps to its grid, says what share of the time nodes were frozen, and ends in whatever part of a cycle it is.
func TestStutter(t *testing.T) {
	for held, want := range map[time.Duration]struct {
		cycles string
		state  string
	}{
		3*time.Second + 500*time.Millisecond: {"in 4 cycles", "frozen"},
		3*time.Second + 900*time.Millisecond: {"in 4 cycles", "running"},
		100 * time.Millisecond:               {"in 1 cycles", "frozen"},
	} {
		t.Run(held.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newQuick()
				_, revert, err := made(t, node.StutterKind(), nil).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(1))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(held)
				synctest.Wait()
				if got := c.state["app-1"]; got != want.state {
					t.Errorf("after %v it is %s, want %s", held, got, want.state)
				}
				var first target.Effect
				for i := range 2 {
					effects, err := revert(t.Context())
					if err != nil || len(effects) != 1 {
						t.Fatalf("%v, %v", effects, err)
					}
					e := effects[0]
					if i == 1 && fmt.Sprint(e) != fmt.Sprint(first) {
						t.Errorf("undone twice it says %+v, once %+v", e, first)
					}
					first = e
					if e.Short || e.Asked != "frozen for 800ms of every 1s" || !strings.Contains(e.Delivered, want.cycles) {
						t.Errorf("asked %q, delivered %q, short %v", e.Asked, e.Delivered, e.Short)
					}
				}
				calls := len(c.log)
				time.Sleep(5 * time.Second)
				if c.state["app-1"] != "running" || len(c.log) != calls {
					t.Errorf("after the end it is %s, and %d calls came", c.state["app-1"], len(c.log)-calls)
				}
			})
		})
	}
}

// A freeze that comes late has its length all the same, as long as the node runs for half of what it should.
func TestStutterLate(t *testing.T) {
	for slow, want := range map[time.Duration]struct {
		delivered string
		short     bool
	}{
		0:                      {"frozen for 81.5% of 9.81s in 10 cycles, of 81.5% by then", false}, // 10 × 0.8 of 9.81
		80 * time.Millisecond:  {"frozen for 80.9% of 9.89s in 10 cycles, of 80.9% by then", false}, // 10 × 0.8 of 9.89
		190 * time.Millisecond: {"frozen for 71.7% of 9.9s in 10 cycles, of 80.8% by then", false},  // 0.8 and 9 × 0.7 of 9.9
		290 * time.Millisecond: {"frozen for 62.6% of 9.9s in 10 cycles, of 80.8% by then", true},   // 0.8 and 9 × 0.6 of 9.9
	} {
		t.Run(slow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newQuick()
				c.slow = slow
				e := stuttered(t, c)
				if e.Delivered != want.delivered || e.Short != want.short {
					t.Errorf("delivered %q, short %v; want %q, %v", e.Delivered, e.Short, want.delivered, want.short)
				}
			})
		})
	}
}

// stuttered is what ten freezes of a node came to.
func stuttered(t *testing.T, c *quick) target.Effect {
	t.Helper()
	_, revert, err := made(t, node.StutterKind(), nil).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(1))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(9950 * time.Millisecond)
	effects, err := revert(t.Context())
	if err != nil || len(effects) != 1 {
		t.Fatalf("%v, %v", effects, err)
	}
	return effects[0]
}

// Lateness does not come of the clock of an engine in a machine of its own.
func TestStutterClock(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newQuick()
				c.slow, c.ahead = 80*time.Millisecond, ahead
				e := stuttered(t, c)
				// As with one clock: see TestStutterLate.
				if want := "frozen for 80.9% of 9.89s in 10 cycles, of 80.9% by then"; e.Delivered != want {
					t.Errorf("delivered %q, want %q", e.Delivered, want)
				}
			})
		})
	}
}

// One call that fails ends the cycle, and the Revert says so and lets the node run.
func TestStutterFails(t *testing.T) {
	for _, call := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(call), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newQuick()
				c.fails = call
				_, revert, err := made(t, node.StutterKind(), nil).Inject(t.Context(), &fault.Site{Cluster: c}, nodes(1))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if len(c.log) != call {
					t.Errorf("it went on: %q", c.log)
				}
				_, err = revert(t.Context())
				if err == nil || !strings.Contains(err.Error(), "app-1: ") || !strings.Contains(err.Error(), "out of coolant") {
					t.Errorf("error %v", err)
				}
				if c.state["app-1"] != "running" {
					t.Errorf("it is %s", c.state["app-1"])
				}
			})
		})
	}
	for _, p := range []fault.Params{{"run": time.Duration(0)}, {"freeze": time.Duration(0)}} {
		if _, err := node.StutterKind().New(p); err == nil || !strings.Contains(err.Error(), "above 0") {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// One after the other, each when the target answers again.
func TestRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newQuick()
		asked := 0
		s := &fault.Site{Cluster: c, Ready: func(context.Context) error {
			asked++
			for _, n := range nodes(3) {
				if c.state[n.Name] == "stopped" {
					t.Errorf("%s is down when the target is asked", n.Name)
				}
			}
			time.Sleep(time.Second)
			return nil
		}}
		effects, revert, err := made(t, node.RollingRestartKind(), fault.Params{"pause": 5 * time.Second}).Inject(t.Context(), s, nodes(3))
		if err != nil || names(effects) != "app-1" || !slices.Equal(c.log, []string{"stopped app-1"}) {
			t.Fatalf("effects on %s after %q: %v", names(effects), c.log, err)
		}
		began := time.Now()
		healed, err := revert(t.Context())
		if err != nil || names(healed) != "app-1 app-2 app-3" || asked != 3 {
			t.Errorf("undone on %s, asked %d times: %v", names(healed), asked, err)
		}
		if took, want := time.Since(began), 2*5*time.Second+3*time.Second+5*10*time.Millisecond; took != want {
			t.Errorf("it took %v, want %v", took, want)
		}
		for _, e := range healed {
			if e.To != healed[2].To || e.Asked == "" || !strings.Contains(e.Delivered, "down for") || e.Short {
				t.Errorf("effect %+v", e)
			}
		}
		if want := []string{"stopped app-1", "running app-1", "stopped app-2", "running app-2", "stopped app-3", "running app-3"}; !slices.Equal(c.log, want) {
			t.Errorf("calls %q, want %q", c.log, want)
		}
		if again, err := revert(t.Context()); err != nil || names(again) != names(healed) || len(c.log) != 6 {
			t.Errorf("undone twice on %s with %q: %v", names(again), c.log, err)
		}
	})
}

// Where a node does not come back, those after it are left alone, and the error says so; a further call brings back what
// is down.
func TestRollingRestartStops(t *testing.T) {
	for name, want := range map[string]struct {
		fails int // the call
		ready error
		says  []string
	}{
		"the start fails":        {4, nil, []string{"app-2: ", "did not come back", "out of coolant", "left alone: app-3"}},
		"the stop fails":         {3, nil, []string{"app-2: ", "out of coolant", "left alone: app-3"}},
		"the target is not back": {0, errors.New("no answer"), []string{"app-1: ", "does not answer", "left alone: app-2, app-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newQuick()
				c.fails = want.fails
				s := &fault.Site{Cluster: c, Ready: func(context.Context) error { return want.ready }}
				_, revert, err := made(t, node.RollingRestartKind(), nil).Inject(t.Context(), s, nodes(3))
				if err != nil {
					t.Fatal(err)
				}
				_, err = revert(t.Context())
				for _, w := range want.says {
					if err == nil || !strings.Contains(err.Error(), w) {
						t.Errorf("%q is not in: %v", w, err)
					}
				}
				if _, err := revert(t.Context()); err != nil {
					t.Errorf("the second time: %v", err)
				}
				for _, n := range nodes(3) {
					if c.state[n.Name] == "stopped" {
						t.Errorf("%s is down", n.Name)
					}
				}
				if slices.Contains(c.log, "stopped app-3") {
					t.Errorf("it went on: %q", c.log)
				}
			})
		})
	}
	// A target that does not answer has a minute.
	synctest.Test(t, func(t *testing.T) {
		c := newQuick()
		s := &fault.Site{Cluster: c, Ready: func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		_, revert, err := made(t, node.RollingRestartKind(), nil).Inject(t.Context(), s, nodes(2))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err = revert(t.Context()); err == nil || !strings.Contains(err.Error(), "not within 1m0s") || time.Since(began) > 61*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
	if _, _, err := made(t, node.RollingRestartKind(), nil).Inject(t.Context(), &fault.Site{Cluster: newQuick()}, nodes(1)); err == nil {
		t.Error("without a way to ask the target it goes on")
	}
}

// When measured load is over nothing more goes down; what is down is brought back, without any pause.
func TestOver(t *testing.T) {
	for after, want := range map[time.Duration]struct {
		says string
		log  []string
	}{
		0:               {"2 of 3 nodes left alone: app-2, app-3", []string{"stopped app-1", "running app-1"}},
		4 * time.Second: {"2 of 3 nodes left alone: app-2, app-3", []string{"stopped app-1", "running app-1"}},
		11*time.Second + 25*time.Millisecond: {
			"1 of 3 nodes left alone: app-3",
			[]string{"stopped app-1", "running app-1", "stopped app-2", "running app-2"},
		},
	} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, over := newQuick(), make(chan struct{})
				s := &fault.Site{Cluster: c, Over: over, Ready: func(context.Context) error {
					time.Sleep(time.Second)
					return nil
				}}
				_, revert, err := made(t, node.RollingRestartKind(), fault.Params{"pause": 10 * time.Second}).Inject(t.Context(), s, nodes(3))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				time.AfterFunc(after, func() { close(over) })
				time.Sleep(time.Nanosecond)
				effects, err := revert(t.Context())
				if err == nil || !strings.Contains(err.Error(), want.says) || !slices.Equal(c.log, want.log) || len(effects) != len(want.log)/2 {
					t.Errorf("%d effects after %q: %v", len(effects), c.log, err)
				}
				if took := time.Since(began); took > after+2*time.Second {
					t.Errorf("it took %v", took)
				}
				if _, err := revert(t.Context()); err != nil || len(c.log) != len(want.log) {
					t.Errorf("undone twice with %q: %v", c.log, err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c, over := newQuick(), make(chan struct{})
		_, revert, err := made(t, node.RestartKind(), fault.Params{"pause": time.Minute}).Inject(t.Context(), &fault.Site{Cluster: c, Over: over}, nodes(1))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(5*time.Second, func() { close(over) })
		if _, err := revert(t.Context()); err != nil || c.state["app-1"] != "running" || time.Since(began) > 6*time.Second {
			t.Errorf("after %v it is %s: %v", time.Since(began), c.state["app-1"], err)
		}
	})
}

// What belongs to a Revert counts into the time that it may take.
func TestLasts(t *testing.T) {
	if got := (node.Restart{Pause: time.Minute}).Lasts(3, time.Hour); got != time.Minute {
		t.Errorf("a restart takes %v more", got)
	}
	one := node.RollingRestart{Pause: time.Minute}.Lasts(1, 5*time.Second)
	if one < 2*time.Minute+5*time.Second || (node.RollingRestart{Pause: time.Minute}).Lasts(3, 5*time.Second) != 3*one {
		t.Errorf("a rolling restart takes %v more for a node", one)
	}
}
