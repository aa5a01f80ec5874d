package fault

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tutti-bench/tutti/lib/target"
)

// A Selector says which replicas of a service a fault hits.
type Selector struct {
	Service string
	All     bool
	Count   int     // pick: 2; 0 with neither All nor Share nor Replica set means one
	Share   float64 // pick: 50 %, as a ratio; rounded up
	Replica int     // replica: 2; the highest if there are fewer
}

// Choose picks the nodes, all randomness from rng. At least one node is chosen as long
// as the service has any, so that an arm with a single replica is hit too; a service without
// replicas is an error. The result is in the order of the nodes.
func (s Selector) Choose(nodes []target.Node, rng *rand.Rand) ([]target.Node, error) {
	var of []target.Node
	for _, n := range nodes {
		if n.Service == s.Service {
			of = append(of, n)
		}
	}
	if len(of) == 0 {
		return nil, fmt.Errorf("service %q has no replica to hit", s.Service)
	}
	if s.Replica > 0 {
		return of[min(s.Replica, len(of))-1:][:1], nil
	}
	k := max(s.Count, 1)
	switch {
	case s.All:
		k = len(of)
	case s.Share > 0:
		k = int(math.Ceil(s.Share*float64(len(of)) - 1e-9))
	}
	k = min(max(k, 1), len(of))
	picked := rng.Perm(len(of))[:k]
	slices.Sort(picked)
	chosen := make([]target.Node, k)
	for i, p := range picked {
		chosen[i] = of[p]
	}
	return chosen, nil
}
