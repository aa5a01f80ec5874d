//go:build linux

package loadbench_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A row is one thing that is measured, in rounds in which all who take part take turns.
type row struct {
	name, title string
	once        bool // one round is all there is: it shows something over time
	round       func(b *bench, z sizes, n int, v *found)
	takes       func(z sizes) time.Duration // one round
	figures     []figure
}

// Sizes are how long things take.
type sizes struct {
	speed, schedule, pacing time.Duration
	stall                   time.Duration // the whole run, of which a tenth is the stall; the same for the freeze
	outstanding             time.Duration // that the server stalls
	flat                    time.Duration
	cancel                  time.Duration // when
	failures                time.Duration
	samples                 int // of each distribution
}

// full is what the figures are made with; tiny shows that all of it still works.
var (
	full = sizes{
		speed: 3 * time.Second, schedule: 4 * time.Second, pacing: 5 * time.Second, stall: 10 * time.Second, outstanding: 5 * time.Second,
		flat: 10 * time.Minute, cancel: time.Second, failures: 2 * time.Second, samples: 200_000,
	}
	tiny = sizes{
		speed: time.Second, schedule: 200 * time.Millisecond, pacing: 200 * time.Millisecond, stall: 500 * time.Millisecond, outstanding: 200 * time.Millisecond,
		flat: 1200 * time.Millisecond, cancel: 100 * time.Millisecond, failures: 300 * time.Millisecond, samples: 2000,
	}
)

// A found is what one round found. The first word of each name says who it is about.
type found struct {
	Values  map[string]float64
	Trouble map[string]string // by who: why there are no figures of it
}

func (v *found) set(name string, x float64) { v.Values[name] = x }

// ratio sets a figure if both sides are there.
func (v *found) ratio(name, of, to string) {
	a, ok1 := v.Values[of]
	b, ok2 := v.Values[to]
	if ok1 && ok2 && b > 0 {
		v.Values[name] = a / b
	}
}

func (v *found) failed(who string, err error) {
	if err != nil && v.Trouble[who] == "" {
		v.Trouble[who] = err.Error()
	}
}

// A figure is a line of the table: one or more values of a round, and what the median of the only one should be.
type figure struct {
	what  string
	parts []part
	goal  goal
}

type part struct {
	key, unit string
}

// A goal is a bound on the median of the rounds, or on the worst of them.
type goal struct {
	atLeast, atMost float64 // 0: no bound
	none            bool    // nothing at all: at most 0
	always          bool    // in each round
}

// engines are ours, by the names of their figures.
var engines = []load.Engine{load.Turbo, load.Attack}

// inTurn calls each function once. Who begins changes from round to round.
func inTurn(n int, all ...func()) {
	for i := range all {
		all[(i+n)%len(all)]()
	}
}

// each calls f for each engine, in turn; others take their turns with them.
func (b *bench) each(n int, v *found, f func(e load.Engine) error, others ...func()) {
	var all []func()
	for _, e := range engines {
		all = append(all, func() {
			v.failed(string(e), f(e))
		})
	}
	inTurn(n, append(all, others...)...)
}

// with has a program of others take its turn, if it is there.
func with(program, who string, v *found, f func() error) func() {
	return func() {
		if program == "" {
			v.failed(who, errors.New("it is not installed"))
			return
		}
		v.failed(who, f())
	}
}

func rows(z sizes) []row {
	return []row{
		speedRow(), scheduleRow(), pacingRow(), stallRow(), freezeRow(), memoryRow(), flatRow(z.flat), cancelRow(), failuresRow(), percentilesRow(),
	}
}

const overhead = 400 * time.Millisecond // of a program's start and end

const (
	clients = 64 // connections of the closed loop
	µs      = 1e6
	ms      = 1e3
	mb      = 1e6
)

// speedRow: as many requests as go through 64 connections.
func speedRow() row {
	figures := []figure{
		{what: "turbo ÷ wrk, rate", parts: []part{{"turbo rate ÷ wrk", "×"}}, goal: goal{atLeast: 0.85}},
		{what: "turbo ÷ wrk, processor time of a request", parts: []part{{"turbo cpu ÷ wrk", "×"}}, goal: goal{atMost: 1.25}},
		{what: "attack ÷ wrk, rate", parts: []part{{"attack rate ÷ wrk", "×"}}, goal: goal{atLeast: 0.50}},
		{what: "attack ÷ vegeta, rate", parts: []part{{"attack rate ÷ vegeta", "×"}}, goal: goal{atLeast: 1.6}},
	}
	for _, who := range []string{"wrk", "turbo", "attack", "vegeta", "hey"} {
		figures = append(figures, figure{what: who, parts: []part{{who + " rate", "/s"}, {who + " cpu", "µs of processor time each"}, {who + " memory", "MB"}}})
	}
	return row{
		name: "speed", title: "closed loop, 64 connections", figures: figures,
		takes: func(z sizes) time.Duration { return 5 * (z.speed + overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			// take measures one of them. f returns what its process took.
			take := func(who string, f func() (cost, error)) error {
				var c cost
				got, err := b.while(orders{Sample: true}, func() (err error) {
					c, err = f()
					return err
				})
				rate := steady(got.Samples)
				if err == nil && (rate == 0 || got.Count == 0) {
					err = fmt.Errorf("the server saw %d requests, in no steady stream", got.Count)
				}
				if err != nil {
					return err
				}
				v.set(who+" rate", rate)
				v.set(who+" cpu", c.cpu.Seconds()*µs/float64(got.Count))
				v.set(who+" memory", float64(c.peak)/mb)
				return nil
			}
			b.each(n, v, func(e load.Engine) error {
				return take(string(e), func() (cost, error) {
					// Nothing that is due is ever late enough to be given up, and the load is broken off long before its schedule ends: else it is a
					// matter of chance whether the millions that were due and not sent are accounted for, one by one, in the processor time.
					got, c, err := b.ours(order{Engine: e, Rate: unreachable, For: 2 * z.speed, Timeout: time.Minute, Connections: clients, CancelAt: z.speed}, nil)
					if err == nil {
						err = got.good(true)
					}
					return c, err
				})
			}, with(b.wrk, "wrk", v, func() error {
				return take("wrk", func() (cost, error) {
					c, _, _, err := b.wrkAttack(z.speed, clients)
					return c, err
				})
			}), with(b.vegeta, "vegeta", v, func() error {
				return take("vegeta", func() (cost, error) {
					return b.vegetaAttack(z.speed, "", nil, "-rate=0", "-workers="+strconv.Itoa(clients), "-max-workers="+strconv.Itoa(clients))
				})
			}), with(b.hey, "hey", v, func() error {
				return take("hey", func() (cost, error) {
					c, _, err := b.heyAttack(z.speed, clients, 0)
					return c, err
				})
			}))
			for _, who := range []string{"turbo", "attack"} {
				v.ratio(who+" rate ÷ wrk", who+" rate", "wrk rate")
				v.ratio(who+" cpu ÷ wrk", who+" cpu", "wrk cpu")
				v.ratio(who+" rate ÷ vegeta", who+" rate", "vegeta rate")
			}
		},
	}
}

// scheduleRow: the share of a schedule that was sent in time, close to what the machine can do at all.
func scheduleRow() row {
	shares := map[load.Engine]float64{load.Attack: 0.28, load.Turbo: 0.57}
	r := row{
		name: "schedule", title: "open loop at a share of wrk's rate in the same round, at most 256 connections",
		takes: func(z sizes) time.Duration { return z.speed + 2*z.schedule + 3*overhead },
		round: func(b *bench, z sizes, n int, v *found) {
			top := 4000.0 // without wrk, to see that it works
			if b.wrk != "" {
				got, err := b.while(orders{Sample: true}, func() error {
					_, _, _, err := b.wrkAttack(z.speed, clients)
					return err
				})
				if top = steady(got.Samples); err != nil || top == 0 {
					v.failed("wrk", errors.Join(err, errors.New("no rate of wrk's")))
					return
				}
				v.set("wrk rate", top)
			}
			b.each(n, v, func(e load.Engine) error {
				rate := math.Round(top * shares[e])
				who := string(e)
				var t told
				got, err := b.while(orders{Arrivals: int(rate*z.schedule.Seconds()) + 1000}, func() (err error) {
					t, _, err = b.ours(order{Engine: e, Rate: rate, For: z.schedule, Timeout: 10 * time.Second, Connections: 256}, nil)
					return err
				})
				if err = t.whole(err); err != nil {
					return err
				}
				end, in := t.Zero+int64(z.schedule+10*time.Millisecond), 0
				for _, at := range got.Arrivals {
					if at <= end {
						in++
					}
				}
				v.set(who+" held", 100*float64(in)/float64(t.Scheduled))
				v.set(who+" in time", 100*float64(t.OnTime)/float64(t.Scheduled))
				v.set(who+" lag", t.Lag["p99"].Seconds()*ms)
				v.set(who+" rate", rate)
				return nil
			})
		},
	}
	for _, e := range engines {
		who := string(e)
		r.figures = append(
			r.figures,
			figure{what: fmt.Sprintf("%s at %g × wrk: arrived by the schedule's end", who, shares[e]), parts: []part{{who + " held", "%"}}, goal: goal{atLeast: 99.95}},
			figure{what: who, parts: []part{{who + " rate", "/s"}, {who + " in time", "% sent within 10 ms"}, {who + " lag", "ms lag at p99"}}},
		)
	}
	return r
}

// pacingRow: how far from its due time a request arrives, at 1,000/s.
func pacingRow() row {
	const rate = 1000
	r := row{
		name: "pacing", title: "1,000/s, as the server saw it",
		takes: func(z sizes) time.Duration { return 3 * (z.pacing + overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			take := func(who string, f func() error) error {
				got, err := b.while(orders{Arrivals: int(rate*z.pacing.Seconds()) + 1000}, f)
				if err == nil && len(got.Arrivals) < int(0.99*rate*z.pacing.Seconds()) {
					err = fmt.Errorf("only %d arrivals", len(got.Arrivals))
				}
				if err != nil {
					return err
				}
				p := paceOf(got.Arrivals, rate)
				v.set(who+" p50", p.p50.Seconds()*ms)
				v.set(who+" p99", p.p99.Seconds()*ms)
				v.set(who+" cv", p.cv)
				return nil
			}
			b.each(n, v, func(e load.Engine) error {
				return take(string(e), func() error {
					t, _, err := b.ours(order{Engine: e, Rate: rate, For: z.pacing, Timeout: 10 * time.Second, Connections: 256}, nil)
					return t.whole(err)
				})
			}, with(b.vegeta, "vegeta", v, func() error {
				return take("vegeta", func() error {
					_, err := b.vegetaAttack(z.pacing, "", nil, "-rate="+strconv.Itoa(rate))
					return err
				})
			}))
		},
	}
	for _, e := range engines {
		who := string(e)
		r.figures = append(
			r.figures,
			figure{what: who + ", lateness at p50", parts: []part{{who + " p50", "ms"}}, goal: goal{atMost: 0.15}},
			figure{what: who + ", lateness at p99", parts: []part{{who + " p99", "ms"}}, goal: goal{atMost: 0.5}},
			figure{what: who + ", variation of the gaps", parts: []part{{who + " cv", ""}}, goal: goal{atMost: 0.2}},
		)
	}
	r.figures = append(r.figures, figure{what: "vegeta", parts: []part{{"vegeta p50", "ms at p50"}, {"vegeta p99", "ms at p99"}, {"vegeta cv", "variation"}}})
	return r
}

// quantileParts are all that is said of some latencies.
func quantileParts(who string) []part {
	return []part{{who + " p95", "ms at p95"}, {who + " p99", "ms at p99"}, {who + " p999", "ms at p99.9"}, {who + " max", "ms at most"}}
}

func (v *found) quantiles(who string, q quantiles) {
	for _, l := range levels {
		x := never
		if d := q[l.name]; d >= 0 {
			x = d.Seconds() * ms
		}
		v.set(who+" "+l.name, x)
	}
}

// stallRow: a server that answers nobody for a tenth of the time. By due time the percentiles are arithmetic.
func stallRow() row {
	const rate, connections = 1000, 50
	r := row{
		name: "stall", title: "the server stalls for 1 s of 10 s, 1,000/s, 50 connections",
		takes: func(z sizes) time.Duration { return 3 * (z.stall + overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			from, length := z.stall*4/10, z.stall/10
			truth := waits(uint64(rate*z.stall.Seconds()), rate, from, length)
			v.quantiles("truth", truth)
			o := orders{StallAt: from, StallFor: length}
			b.each(n, v, func(e load.Engine) error {
				var t told
				_, err := b.while(o, func() (err error) {
					t, _, err = b.ours(order{Engine: e, Rate: rate, For: z.stall, Timeout: 10 * time.Second, Connections: connections}, nil)
					return err
				})
				if err != nil {
					return err
				}
				v.quantiles(string(e), t.Response)
				for _, l := range levels[1:] {
					v.set(string(e)+" off "+l.name, off(t.Response[l.name], truth[l.name]))
				}
				return t.good(false)
			}, with(b.vegeta, "vegeta", v, func() error {
				file := filepath.Join(b.TempDir(), "results")
				_, err := b.while(o, func() error {
					_, err := b.vegetaAttack(z.stall, file, nil, "-rate="+strconv.Itoa(rate), "-max-workers="+strconv.Itoa(connections))
					return err
				})
				if err != nil {
					return err
				}
				q, _, err := b.vegetaResults(file)
				v.quantiles("vegeta", q)
				return err
			}))
		},
	}
	for _, e := range engines {
		who := string(e)
		for _, l := range [][2]string{{"p99", "p99"}, {"p999", "p99.9"}, {"max", "max"}} {
			r.figures = append(r.figures, figure{what: who + ", " + l[1] + " off the truth by", parts: []part{{who + " off " + l[0], "%"}}, goal: goal{atMost: 3}})
		}
		r.figures = append(r.figures, figure{what: who, parts: quantileParts(who)})
	}
	r.figures = append(r.figures, figure{what: "vegeta -max-workers=50", parts: quantileParts("vegeta")}, figure{what: "truth", parts: quantileParts("truth")})
	return r
}

// freezeRow: the generator itself is stopped for a tenth of the time, as a busy machine may do to it.
func freezeRow() row {
	const rate = 1000
	r := row{
		name: "freeze", title: "the generator is stopped (SIGSTOP) for 1 s of 10 s, 1,000/s",
		takes: func(z sizes) time.Duration { return 3 * (z.stall + overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			b.each(n, v, func(e load.Engine) error {
				var from, to time.Duration
				var ferr error
				var t told
				_, err := b.while(orders{}, func() (err error) {
					o := order{Engine: e, Rate: rate, For: z.stall, Timeout: 10 * time.Second, Connections: 256, Probe: true}
					t, _, err = b.ours(o, func(pid int, zero time.Time) {
						from, to, ferr = freeze(pid, zero, z.stall*4/10, z.stall/10)
					})
					return errors.Join(err, ferr)
				})
				if err = t.whole(err); err != nil {
					return err
				}
				truth := waits(t.Scheduled, rate, from, to-from)
				v.quantiles(string(e), t.Response)
				v.set(string(e)+" off", off(t.Response["p99"], truth["p99"]))
				v.set(string(e)+" own", t.Own["p99"].Seconds()*ms)
				v.set(string(e)+" own off", off(t.Own["p99"], truth["p99"]))
				return nil
			}, with(b.vegeta, "vegeta", v, func() error {
				file := filepath.Join(b.TempDir(), "results")
				var ferr error
				_, err := b.while(orders{}, func() error {
					var frozen sync.WaitGroup
					_, err := b.vegetaAttack(z.stall, file, func(pid int) {
						began := time.Now()
						frozen.Go(func() { _, _, ferr = freeze(pid, began, z.stall*4/10, z.stall/10) })
					}, "-rate="+strconv.Itoa(rate))
					frozen.Wait()
					return errors.Join(err, ferr)
				})
				if err != nil {
					return err
				}
				q, _, err := b.vegetaResults(file)
				v.quantiles("vegeta", q)
				return err
			}))
		},
	}
	for _, e := range engines {
		who := string(e)
		r.figures = append(
			r.figures,
			figure{what: who + ", p99 off the truth by", parts: []part{{who + " off", "%"}}, goal: goal{atMost: 5}},
			figure{what: who + ", p99 of the lag it calls its own, off by", parts: []part{{who + " own off", "%"}}, goal: goal{atMost: 5}},
			figure{what: who, parts: append(quantileParts(who), part{who + " own", "ms of it its own at p99"})},
		)
	}
	r.figures = append(r.figures, figure{what: "vegeta", parts: quantileParts("vegeta")})
	return r
}

// freeze stops a process for a while and says when that was, from zero on.
func freeze(pid int, zero time.Time, at, length time.Duration) (from, to time.Duration, err error) {
	time.Sleep(time.Until(zero.Add(at)))
	err = syscall.Kill(pid, syscall.SIGSTOP)
	from = time.Since(zero)
	time.Sleep(length)
	to = time.Since(zero)
	return from, to, errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
}

// memoryRow: 10,000 requests without an answer.
func memoryRow() row {
	const rate, many, few = 2000, 10_000, 256
	r := row{
		name: "memory", title: "10,000 requests outstanding: 2,000/s, the server stalls for 5 s",
		takes: func(z sizes) time.Duration { return 5 * (z.outstanding + 2*overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			o := orders{StallFor: z.outstanding, Arrivals: int(rate*z.outstanding.Seconds()) + 1000}
			var all []func()
			for _, connections := range []int{many, few} {
				all = append(all, func() {
					b.each(n, v, func(e load.Engine) error {
						var t told
						var c cost
						got, err := b.while(o, func() (err error) {
							t, c, err = b.ours(order{Engine: e, Rate: rate, For: z.outstanding, Timeout: 10 * time.Second, Connections: connections}, nil)
							return err
						})
						if err = t.whole(err); err != nil {
							return err
						}
						v.set(fmt.Sprintf("%s memory %d", e, connections), float64(c.peak)/mb)
						if connections == many {
							v.set(string(e)+" sent", 100*float64(got.during(z.outstanding))/float64(t.Scheduled))
							v.set(string(e)+" in time", 100*float64(t.OnTime)/float64(t.Scheduled))
						}
						return nil
					})
				})
			}
			inTurn(n, append(all, with(b.vegeta, "vegeta", v, func() error {
				var c cost
				got, err := b.while(o, func() (err error) {
					c, err = b.vegetaAttack(z.outstanding, "", nil, "-rate="+strconv.Itoa(rate), "-timeout=10s")
					return err
				})
				v.set("vegeta memory", float64(c.peak)/mb)
				v.set("vegeta sent", 100*float64(got.during(z.outstanding))/float64(rate*z.outstanding.Seconds()))
				return err
			}))...)
		},
	}
	for _, e := range engines {
		who := string(e)
		f := figure{what: who + ", at most 10,000 connections: resident at most", parts: []part{{fmt.Sprintf("%s memory %d", who, many), "MB"}}}
		if e == load.Turbo {
			f.goal.atMost = 64
		}
		r.figures = append(
			r.figures, f,
			figure{what: who + ", at most 256 connections: resident at most", parts: []part{{fmt.Sprintf("%s memory %d", who, few), "MB"}}},
			figure{what: who + ", arrived before the stall's end", parts: []part{{who + " sent", "%"}}, goal: goal{atLeast: 99.9}},
			figure{what: who + ", sent within 10 ms", parts: []part{{who + " in time", "%"}}},
		)
	}
	r.figures = append(r.figures, figure{what: "vegeta", parts: []part{{"vegeta memory", "MB"}, {"vegeta sent", "% arrived before the stall's end"}}})
	return r
}

// during is how many requests arrived within d of the first one.
func (s seen) during(d time.Duration) (n int) {
	if len(s.Arrivals) == 0 {
		return 0
	}
	end := slices.Min(s.Arrivals) + int64(d)
	for _, at := range s.Arrivals {
		if at < end {
			n++
		}
	}
	return n
}

// flatRow: memory over time. Both engines run side by side, since the time is what matters here. The connections are few enough for all to be
// open within the first tenth of the time: else every stall of the machine that is longer than any before it opens some more, of about 10 kB
// each, and that looks like a leak.
func flatRow(d time.Duration) row {
	const rate, connections = 2000, 16
	r := row{
		name: "flat", title: fmt.Sprintf("memory over %s at 2,000/s on at most %d connections", d, connections), once: true,
		takes: func(sizes) time.Duration { return d + overhead },
		round: func(b *bench, _ sizes, _ int, v *found) {
			var all sync.WaitGroup
			var mu sync.Mutex
			_, err := b.while(orders{}, func() error {
				for _, e := range engines {
					all.Go(func() {
						one := found{make(map[string]float64), make(map[string]string)}
						one.failed(string(e), b.flat(e, rate, connections, d, &one))
						mu.Lock()
						defer mu.Unlock()
						for k, x := range one.Values {
							v.set(k, x)
						}
						for who, why := range one.Trouble {
							v.Trouble[who] = why
						}
					})
				}
				all.Wait()
				return nil
			})
			v.failed("server", err)
		},
	}
	for _, e := range engines {
		who := string(e)
		r.figures = append(
			r.figures,
			figure{what: who + ", grown from the first tenth of the time to the last by", parts: []part{{who + " grown", "%"}}, goal: goal{atMost: 5}},
			figure{what: who + ", resident", parts: []part{{who + " 1", "MB in the first tenth"}, {who + " 5", "MB in the fifth"}, {who + " 10", "MB in the last"}}},
			figure{what: who + ", of that without pages of its file", parts: []part{{who + " private 1", "MB"}, {who + " private 5", "MB"}, {who + " private 10", "MB"}}},
		)
	}
	return r
}

func (b *bench) flat(e load.Engine, rate float64, connections int, d time.Duration, v *found) error {
	t, _, err := b.ours(order{Engine: e, Rate: rate, For: d, Timeout: 10 * time.Second, Connections: connections, Watch: true}, nil)
	if err = t.whole(err); err != nil {
		return err
	}
	// The median of a tenth of the time: between two collections of garbage memory always grows.
	at := func(sizes []uint64, tenth int) float64 {
		if len(sizes) < 10 {
			return float64(t.Peak) / mb // too short to say anything
		}
		var all []float64
		for _, m := range sizes[len(sizes)*(tenth-1)/10 : len(sizes)*tenth/10] {
			all = append(all, float64(m)/mb)
		}
		return median(all)
	}
	for _, tenth := range []int{1, 5, 10} {
		v.set(fmt.Sprintf("%s %d", e, tenth), at(t.Memory, tenth))
		v.set(fmt.Sprintf("%s private %d", e, tenth), at(t.Private, tenth))
	}
	v.set(string(e)+" grown", 100*(at(t.Memory, 10)/at(t.Memory, 1)-1))
	return nil
}

// cancelRow: how long after a cancel requests still arrive, or Generate has not returned, while the server is slow to answer.
func cancelRow() row {
	r := row{
		name: "cancel", title: "cancelled with a thousand requests open, 1,000/s, the server answers after 2 s",
		takes: func(z sizes) time.Duration { return 2 * (z.cancel + 2*overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			b.each(n, v, func(e load.Engine) error {
				var t told
				got, err := b.while(orders{Delay: 2 * z.cancel, Arrivals: 10_000}, func() (err error) {
					o := order{Engine: e, Rate: 1000, For: 4 * z.cancel, Timeout: time.Minute, Connections: 10_000, CancelAt: z.cancel}
					t, _, err = b.ours(o, nil)
					return err
				})
				if err == nil && (t.Canceled == 0 || len(got.Arrivals) == 0) {
					err = errors.New("it was not cancelled, or sent nothing")
				}
				if err != nil {
					return err
				}
				since := func(at int64) float64 { return time.Duration(max(at-t.Canceled, 0)).Seconds() * ms }
				v.set(string(e)+" returned", since(t.Returned))
				v.set(string(e)+" last", since(slices.Max(got.Arrivals)))
				v.set(string(e)+" silence", since(max(t.Returned, slices.Max(got.Arrivals))))
				return nil
			})
		},
	}
	for _, e := range engines {
		who := string(e)
		r.figures = append(r.figures,
			figure{what: who + ", from cancel to silence", parts: []part{{who + " silence", "ms"}}, goal: goal{atMost: 100}},
			figure{what: who, parts: []part{{who + " last", "ms to the last request"}, {who + " returned", "ms to the return"}}})
	}
	return r
}

// failuresRow: connections that are reset when they are used again. All other failures are in httpload's tests, which know no speed.
func failuresRow() row {
	const rate, workers, every = 2000, 50, 100
	r := row{
		name: "failures", title: "GET at 2,000/s, every 100th request on a reused connection is reset",
		takes: func(z sizes) time.Duration { return 5 * (z.failures + overhead) },
		round: func(b *bench, z sizes, n int, v *found) {
			take := func(who string, f func() (uint64, error)) error {
				var reported uint64
				got, err := b.while(orders{ResetEvery: every}, func() (err error) {
					reported, err = f()
					return err
				})
				if err == nil && got.Resets == 0 {
					err = errors.New("nothing was reset")
				}
				if err != nil {
					return err
				}
				v.set(who+" injected", float64(got.Resets))
				v.set(who+" reported", float64(reported))
				v.set(who+" off", math.Abs(float64(reported)-float64(got.Resets)))
				return nil
			}
			b.each(n, v, func(e load.Engine) error {
				return take(string(e), func() (uint64, error) {
					t, _, err := b.ours(order{Engine: e, Rate: rate, For: z.failures, Timeout: 10 * time.Second, Connections: workers}, nil)
					if err == nil && t.counted() != t.Scheduled {
						err = t.good(false)
					}
					return t.counted() - t.Classes[record.OK.String()], err
				})
			}, with(b.wrk, "wrk", v, func() error {
				return take("wrk", func() (uint64, error) {
					_, _, failed, err := b.wrkAttack(z.failures, workers)
					return failed, err
				})
			}), with(b.vegeta, "vegeta", v, func() error {
				return take("vegeta", func() (uint64, error) {
					file := filepath.Join(b.TempDir(), "results")
					if _, err := b.vegetaAttack(z.failures, file, nil, "-rate="+strconv.Itoa(rate)); err != nil {
						return 0, err
					}
					_, failed, err := b.vegetaResults(file)
					return failed, err
				})
			}), with(b.hey, "hey", v, func() error {
				return take("hey", func() (uint64, error) {
					_, failed, err := b.heyAttack(z.failures, workers, rate/workers)
					return failed, err
				})
			}))
		},
	}
	for _, e := range engines {
		r.figures = append(r.figures, figure{what: string(e) + ", reported less or more than were reset", parts: []part{{string(e) + " off", ""}}, goal: goal{none: true, always: true}})
	}
	for _, who := range []string{"turbo", "attack", "wrk (as fast as it goes)", "vegeta", "hey"} {
		name, _, _ := strings.Cut(who, " ")
		r.figures = append(r.figures, figure{what: who, parts: []part{{name + " reported", "reported"}, {name + " injected", "reset"}}})
	}
	return r
}

// percentilesRow: what is lost between the times of requests and their percentiles, in this process.
func percentilesRow() row {
	shapes := []struct {
		name string
		draw func(r *rand.Rand) float64 // ms
	}{
		{"one hump", func(r *rand.Rand) float64 { return math.Exp(0.3 * r.NormFloat64()) }},
		{"two humps", func(r *rand.Rand) float64 { // a tenth of the requests are in a stall of a second
			if r.Float64() < 0.1 {
				return 1000 * r.Float64()
			}
			return math.Exp(0.3 * r.NormFloat64())
		}},
		{"timeouts", func(r *rand.Rand) float64 { // 1.1 % end after 2 s
			if r.Float64() < 0.011 {
				return 2000 + r.Float64()
			}
			return math.Exp(0.3 * r.NormFloat64())
		}},
	}
	r := row{
		name: "percentiles", title: "worst error over 1,000 quantiles from p0.1 to p99.99",
		takes: func(sizes) time.Duration { return 2 * time.Second },
		round: func(_ *bench, z sizes, n int, v *found) {
			for i, s := range shapes {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(i)))
				var h record.Hist
				var m vegeta.Metrics
				all := make([]time.Duration, z.samples)
				for k := range all {
					all[k] = time.Duration(s.draw(rnd) * float64(time.Millisecond))
					h.Add(all[k])
					m.Add(&vegeta.Result{Latency: all[k], Code: 200})
				}
				m.Close()
				slices.Sort(all)
				var ours, theirs float64
				for q := range 1001 {
					p := min(max(float64(q)/1000, 0.001), 0.9999)
					k := uint64(max(math.Ceil(p*float64(len(all))), 1))
					truth := all[k-1]
					got, _ := h.Rank(k)
					ours = max(ours, off(got, truth))
					theirs = max(theirs, off(m.Latencies.Quantile(p), truth))
				}
				v.set("ours "+s.name, ours)
				v.set("vegeta "+s.name, theirs)
			}
		},
	}
	for _, s := range shapes {
		r.figures = append(r.figures,
			figure{what: s.name, parts: []part{{"ours " + s.name, "%"}}, goal: goal{atMost: 1, always: true}},
			figure{what: s.name + ", vegeta", parts: []part{{"vegeta " + s.name, "%"}}})
	}
	return r
}
