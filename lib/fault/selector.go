package fault

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tutti-bench/tutti/lib/target"
)

// A Selector says which nodes a fault hits.
type Selector struct {
	Service string
	All     bool
	Count   int     // pick: 2; 0 with neither All nor Share nor Replica set means one
	Share   float64 // pick: 50 %, as a ratio; rounded up
	Replica int     // replica: 2; the highest if there are fewer
	Zone    string  // nodes of this zone; without Service of all services, and then all of them
	Role    *Role   // asked of each node when the fault fires; then chosen among those that fit
}

// A Role is a question to a node, by which the ones that are meant are found. It is asked by HTTP or by a command.
type Role struct {
	Get      string   // http://:2379/metrics, at the node's own address
	Status   int      // expected of Get; 0: any of 200…399
	JSON     string   // a path into the answer's JSON: "role", "cluster.leader.0"
	Equals   string   // what stands there
	Exec     []string // or a command inside the node; exit code 0 expected
	Contains string   // what the answer, or the command's output, has to contain
}

// Choose picks the nodes among the candidates, all randomness from rng. At least one node is chosen as long as there is a
// candidate, so that an arm with a single replica is hit too; none is an error. The role is not asked: who knows
// which nodes fit it gives only those. The result is in the order of the nodes.
func (s Selector) Choose(nodes []target.Node, rng *rand.Rand) ([]target.Node, error) {
	of, err := s.Candidates(nodes)
	if err != nil {
		return nil, err
	}
	if s.Replica > 0 {
		return of[min(s.Replica, len(of))-1:][:1], nil
	}
	k := max(s.Count, 1)
	switch {
	case s.All, s.Service == "" && s.Count == 0 && s.Share == 0: // a lost zone is lost whole
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

// Candidates are the nodes that may be chosen, or asked for their role: those of the service and of the zone. That there is
// none is an error, which says what there is.
func (s Selector) Candidates(nodes []target.Node) ([]target.Node, error) {
	var of []target.Node
	var zones []string // of the service's nodes
	for _, n := range nodes {
		if s.Service != "" && n.Service != s.Service {
			continue
		}
		if n.Zone != "" && !slices.Contains(zones, n.Zone) {
			zones = append(zones, n.Zone)
		}
		if s.Zone == "" || n.Zone == s.Zone {
			of = append(of, n)
		}
	}
	slices.Sort(zones)
	switch {
	case len(of) > 0:
		return of, nil
	case s.Zone == "":
		return nil, fmt.Errorf("service %q has no replica to hit", s.Service)
	case len(zones) == 0 && s.Service == "":
		return nil, fmt.Errorf("no node is in zone %q: no service has the label %s", s.Zone, target.LabelZone)
	case len(zones) == 0:
		return nil, fmt.Errorf("service %q has no node in zone %q: it has no label %s", s.Service, s.Zone, target.LabelZone)
	case s.Service == "":
		return nil, fmt.Errorf("no node is in zone %q; the zones are %s", s.Zone, strings.Join(zones, ", "))
	}
	return nil, fmt.Errorf("service %q has no node in zone %q; it is in %s", s.Service, s.Zone, strings.Join(zones, ", "))
}
