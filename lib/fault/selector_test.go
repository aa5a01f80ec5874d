package fault_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// mixed are n replicas of app between those of others.
func mixed(n int) []target.Node {
	nodes := []target.Node{{Name: "aaa-1", Service: "aaa"}}
	for i := range n {
		nodes = append(nodes, target.Node{Name: target.ReplicaName("app", i+1), Service: "app", Replica: i + 1})
	}
	return append(nodes, target.Node{Name: "lb-1", Service: "lb"})
}

func choose(t *testing.T, s fault.Selector, of int, seed uint64) []string {
	t.Helper()
	chosen, err := s.Choose(mixed(of), rand.New(rand.NewPCG(seed, 1)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range chosen {
		if n.Service != "app" {
			t.Errorf("%s was chosen", n.Name)
		}
		names = append(names, n.Name)
	}
	return names
}

// How many are chosen of how many: never none, never more than there are, shares rounded up.
func TestChooseHowMany(t *testing.T) {
	for _, c := range []struct {
		s        fault.Selector
		of, want int
	}{
		{fault.Selector{}, 1, 1},
		{fault.Selector{}, 5, 1},
		{fault.Selector{All: true}, 5, 5},
		{fault.Selector{All: true}, 1, 1},
		{fault.Selector{Count: 2}, 5, 2},
		{fault.Selector{Count: 2}, 1, 1},
		{fault.Selector{Count: 9}, 3, 3},
		{fault.Selector{Share: 0.5}, 1, 1},
		{fault.Selector{Share: 0.5}, 2, 1},
		{fault.Selector{Share: 0.5}, 3, 2},
		{fault.Selector{Share: 0.5}, 4, 2},
		{fault.Selector{Share: 0.01}, 3, 1},
		{fault.Selector{Share: 1}, 3, 3},
		{fault.Selector{Share: 0.1}, 10, 1},
		{fault.Selector{Share: 0.7}, 10, 7},
	} {
		c.s.Service = "app"
		if got := choose(t, c.s, c.of, 7); len(got) != c.want {
			t.Errorf("%+v of %d chose %v, want %d", c.s, c.of, got, c.want)
		}
	}
}

// A numbered replica is that one, or the highest there is.
func TestChooseReplica(t *testing.T) {
	for of, want := range map[int]string{1: "app-1", 2: "app-2", 5: "app-3"} {
		if got := choose(t, fault.Selector{Service: "app", Replica: 3}, of, 7); !slices.Equal(got, []string{want}) {
			t.Errorf("replica 3 of %d is %v, want %s", of, got, want)
		}
	}
}

// The seed alone decides; every replica has its turn; the order is that of the nodes.
func TestChooseSeed(t *testing.T) {
	s := fault.Selector{Service: "app", Count: 2}
	seen := make(map[string]int)
	for seed := range uint64(400) {
		got := choose(t, s, 4, seed)
		if !slices.Equal(got, choose(t, s, 4, seed)) {
			t.Fatalf("seed %d chose twice differently", seed)
		}
		if !slices.IsSorted(got) {
			t.Errorf("seed %d: %v is not in the order of the nodes", seed, got)
		}
		seen[fmt.Sprint(got)]++
	}
	if len(seen) != 6 {
		t.Errorf("of 4 two can be chosen in 6 ways, seen %v", seen)
	}
	for pair, n := range seen {
		if n < 30 || n > 110 { // 67 expected, five standard deviations
			t.Errorf("%s was chosen %d times of 400", pair, n)
		}
	}
}

func TestChooseNobody(t *testing.T) {
	_, err := fault.Selector{Service: "db"}.Choose(mixed(3), rand.New(rand.NewPCG(1, 1)))
	if err == nil || !strings.Contains(err.Error(), `"db"`) {
		t.Errorf("error %v", err)
	}
}

// zoned are two services in zone a, one in b and one in none.
func zoned() []target.Node {
	var nodes []target.Node
	for _, s := range []struct {
		service, zone string
		n             int
	}{{"app-a", "a", 2}, {"app-b", "b", 3}, {"db-a", "a", 1}, {"lb", "", 1}} {
		for i := range s.n {
			nodes = append(nodes, target.Node{Name: target.ReplicaName(s.service, i+1), Service: s.service, Replica: i + 1, Zone: s.zone})
		}
	}
	return nodes
}

// A zone without a service is hit whole, with one as that service is, and by pick as pick says.
func TestChooseZone(t *testing.T) {
	for _, c := range []struct {
		s    fault.Selector
		of   string // candidates
		want int
	}{
		{fault.Selector{Zone: "a"}, "app-a-1 app-a-2 db-a-1", 3},
		{fault.Selector{Zone: "a", All: true}, "app-a-1 app-a-2 db-a-1", 3},
		{fault.Selector{Zone: "a", Count: 1}, "app-a-1 app-a-2 db-a-1", 1},
		{fault.Selector{Zone: "a", Share: 0.5}, "app-a-1 app-a-2 db-a-1", 2},
		{fault.Selector{Zone: "b", Service: "app-b"}, "app-b-1 app-b-2 app-b-3", 1},
		{fault.Selector{Zone: "b", Service: "app-b", Count: 2}, "app-b-1 app-b-2 app-b-3", 2},
		{fault.Selector{Zone: "a", Service: "app-a", Role: &fault.Role{}}, "app-a-1 app-a-2", 1},
	} {
		names := func(nodes []target.Node, err error) []string {
			if err != nil {
				t.Fatalf("%+v: %v", c.s, err)
			}
			var names []string
			for _, n := range nodes {
				names = append(names, n.Name)
			}
			return names
		}
		if got := strings.Join(names(c.s.Candidates(zoned())), " "); got != c.of {
			t.Errorf("%+v: candidates %s, want %s", c.s, got, c.of)
		}
		got := names(c.s.Choose(zoned(), rand.New(rand.NewPCG(3, 1))))
		if len(got) != c.want {
			t.Errorf("%+v chose %v, want %d", c.s, got, c.want)
		}
		for _, n := range got {
			if !strings.Contains(c.of, n) {
				t.Errorf("%+v chose %s", c.s, n)
			}
		}
	}
}

// Who hits nothing is told what there is.
func TestCandidatesNone(t *testing.T) {
	for want, s := range map[string]fault.Selector{
		`no node is in zone "c"; the zones are a, b`:              {Zone: "c"},
		`service "app-a" has no node in zone "b"; it is in a`:     {Service: "app-a", Zone: "b"},
		`service "lb" has no node in zone "b": it has no label`:   {Service: "lb", Zone: "b"},
		`service "cache" has no replica to hit`:                   {Service: "cache"},
		`no node is in zone "a": no service has the label tutti.`: {Zone: "a"},
	} {
		nodes := zoned()
		if strings.Contains(want, "no service has") {
			nodes = mixed(2)
		}
		if of, err := s.Candidates(nodes); err == nil || !strings.HasPrefix(err.Error(), want) || of != nil {
			t.Errorf("%+v: %v, %v, want %s", s, of, err, want)
		}
	}
}
