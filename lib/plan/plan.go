// Package plan decides everything about a run before it starts: which trials, in
// which order, with which seeds and victims. It is pure: the same scenario, targets
// and abilities give the same plan, and `tutti plan` prints it without doing anything.
package plan

import (
	"context"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/scenario"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/lib/target"
)

// A Kit is what a program knows: the verbs and the drivers. It is passed by value;
// to add a verb, assign to the map of your own copy.
type Kit struct {
	Faults  fault.Kinds
	Drivers map[string]Opener // docker, process, by the names that a scenario may use
}

// An Opener opens a driver for one run. What has to outlive a crash of the program (the
// watchdog, the run's lock) is there before the first call to an engine. release lets go of it all, once the
// run has cleaned up after itself. An error is a [target.UnavailableError] where the engine is not there.
type Opener func(ctx context.Context, run string) (d target.Driver, release func(context.Context) error, err error)

// A Plan is all trials of a run.
type Plan struct {
	Scenario *scenario.Scenario
	Targets  map[string]*target.Target // by arm
	Warnings []string                  // what the reader should know before it starts

	kinds fault.Kinds
	facts target.Facts
}

// A Trial is one arm to be run once, on a fresh target.
type Trial struct {
	Arm   string
	Block int // from 1
	Order int // from 1: its place in the run
	Seed  int64
	Load  load.Plan
	// Agents is how many of them send the load side by side; 0 counts as 1.
	Agents int
	// Capacity is the search that the load is, nil for none. Load then is its longest hold: at the highest rate.
	Capacity *scenario.Capacity
	Steps    []Step // in the order of their times; last those that wait for something
}

// A Step is a fault with its victims drawn.
type Step struct {
	scenario.Fault
	Kind    fault.Kind
	Way     string   // the implementation that was chosen, of the Kind's; "" if it has none
	Means   string   // what the record says of the implementation
	Victims []string // names of replicas; for a whole service all of them; for a role those that it will be asked of
}

// Spares is how many spare blocks a run may add for invalid ones: at most one for each six.
func Spares(blocks int) int { return (blocks + 5) / 6 }

// Blocks is how many valid blocks the run has at most: the scenario's repeats, or what they may be extended to.
func (p *Plan) Blocks() int { return max(p.Scenario.Repeats, p.Scenario.Most) }

// Last is the number of the last block that there can be, spare ones among them.
func (p *Plan) Last() int { return p.Blocks() + Spares(p.Blocks()) }

// Block returns the trials of block n, counted from 1, in the order in which they run.
// Blocks beyond the scenario's repeats are spare ones.
func (p *Plan) Block(kinds fault.Kinds, n int) ([]Trial, error) {
	s := p.Scenario
	seed := derive(s.Seed, "block", n)
	order := rng(seed, "order").Perm(len(s.Arms))
	trials := make([]Trial, len(order))
	for i, a := range order {
		arm := s.Arms[a]
		steps, err := p.steps(kinds, arm, seed)
		if err != nil {
			return nil, err
		}
		trials[i] = Trial{
			Arm: arm.Name, Block: n, Order: (n-1)*len(order) + i + 1, Seed: seed,
			Load: p.load(arm, seed), Agents: s.Load.Agents, Capacity: s.Load.Capacity, Steps: steps,
		}
	}
	return trials, nil
}

func (p *Plan) load(arm scenario.Arm, seed int64) load.Plan {
	l := p.Scenario.Load
	when := l.Schedule
	if c := l.Capacity; c != nil {
		when.Stages = []schedule.Stage{{Rate: c.To, For: c.Hold}}
	}
	if when.Arrivals == schedule.Poisson {
		when.Seed = seed // the same for every arm of a block
	}
	var verify []load.Verify
	for _, v := range p.Scenario.Verify {
		verify = append(verify, v.Verify)
	}
	return withClient(l.Client, load.Plan{
		Verify: verify, Keys: l.Keys,
		Schedule: when, Timeout: l.Timeout, Ingress: arm.Ingress.String(), Requests: l.Requests, Sessions: l.Sessions,
		NodeHeader: arm.NodeHeader, AttemptsHeader: arm.Attempts, Seed: seed,
		Connections: inflight(when, l.Timeout), Env: arm.Env,
	})
}

// withClient is a load that is sent as the scenario says.
func withClient(c scenario.Client, p load.Plan) load.Plan {
	if c.Connections > 0 {
		p.Connections = c.Connections
	}
	p.NoKeepAlive, p.MaxAge, p.HTTP2, p.Redirects, p.Engine = c.NoKeepAlive, c.MaxAge, c.HTTP2, c.Redirects, c.Generator
	if t := c.TLS; t != nil {
		p.TLS = &load.TLS{CA: t.Certificates, ServerName: t.ServerName, Insecure: t.Insecure}
	}
	return p
}

// inflight is how many requests can be open at once if the target answers none at the highest rate, and a
// quarter more for the jitter of deadlines. Beyond maxInflight requests are shed. A user has one open.
func inflight(s schedule.Schedule, timeout time.Duration) int {
	if s.Closed() {
		return s.Users()
	}
	const spare, maxInflight = 256, 12_000 // an open request costs the agent about 33 kB, and its container has a limit
	return int(min(math.Ceil(s.Peak()*timeout.Seconds()*1.25)+spare, maxInflight))
}

// Replicas is how many replicas a service has in an arm when a trial begins.
func (p *Plan) Replicas(arm scenario.Arm, service string) int {
	return target.Spec{Target: p.Targets[arm.Name], Scale: arm.Scale}.Replicas(service)
}

// Spec is an arm's target, without what only a run knows.
func (p *Plan) Spec(arm scenario.Arm) target.Spec {
	spec, _ := p.spec(arm) // Build has told what is wrong
	return spec
}

// most is how many replicas of each service there may be at once.
func (p *Plan) most(arm scenario.Arm) map[string]int {
	most := make(map[string]int)
	for name := range p.Targets[arm.Name].Services {
		most[name] = p.Replicas(arm, name)
	}
	for _, f := range possible(arm, p.kinds) {
		if to := f.Params.Count("to", 0); to > most[f.Selector.Service] {
			most[f.Selector.Service] = to
		}
	}
	return most
}

// nodes lists an arm's replicas as they will be named, by service, then number.
func (p *Plan) nodes(arm scenario.Arm) []target.Node {
	var nodes []target.Node
	services := p.Targets[arm.Name].Services
	for _, name := range slices.Sorted(maps.Keys(services)) {
		for i := range p.Replicas(arm, name) {
			nodes = append(nodes, target.Node{
				Name: target.ReplicaName(name, i+1), Service: name, Replica: i + 1, Zone: services[name].Labels[target.LabelZone],
			})
		}
	}
	return nodes
}

func rng(seed int64, what string) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(derive(seed, what, 0)), 0x7475747469)) // "tutti"
}

// derive makes independent seeds from one: FNV-1a over seed, purpose and number.
func derive(seed int64, what string, n int) int64 {
	h := fnv.New64a()
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(uint64(seed)>>(8*i)), byte(uint64(n)>>(8*i))
	}
	_, _ = h.Write(b[:]) // a hash never fails
	_, _ = h.Write([]byte(what))
	return int64(h.Sum64() >> 1)
}

// Duration estimates how long a run takes without an extension: trials by the clock of their load, at the worst of what they read back, and
// perTrial for starting and removing each target.
func (p *Plan) Duration(perTrial time.Duration) time.Duration {
	return time.Duration(p.Scenario.Repeats) * p.PerBlock(perTrial)
}

// PerBlock is how long one block takes, estimated as [Plan.Duration] is.
func (p *Plan) PerBlock(perTrial time.Duration) time.Duration {
	return time.Duration(len(p.Scenario.Arms)) * (p.TrialLoad() + p.Verifying() + perTrial)
}

// Verifying is how long reading back takes at most in each trial; 0 where nothing is verified.
func (p *Plan) Verifying() time.Duration {
	return p.load(p.Scenario.Arms[0], 0).Verifying()
}

// The parts of a search that no scenario says.
const (
	LeadIn = time.Second            // load at a hold's rate before it is measured, for the target to get used to it
	Settle = 500 * time.Millisecond // rest before a hold, at the least
)

// TrialLoad is how long a trial's load takes with its warm-up; of a search, one that comes to the end of its range.
func (p *Plan) TrialLoad() time.Duration {
	l := p.Scenario.Load
	c := l.Capacity
	if c == nil {
		return l.Schedule.Warmup + l.For()
	}
	holds := load.Search{From: c.From, To: c.To}.Usual()
	return l.Schedule.Warmup + time.Duration(holds)*(LeadIn+c.Hold+Settle)
}
