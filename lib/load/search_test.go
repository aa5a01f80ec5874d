package load_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tutti-bench/tutti/lib/load"
)

// tried is what a search asks of something that holds up to a capacity, and the highest rate that was met.
func tried(t *testing.T, s load.Search, capacity float64) (rates []float64, met float64) {
	t.Helper()
	most := s.Usual()
	for {
		rate, more := s.Next()
		if !more {
			return rates, met
		}
		if again, _ := s.Next(); again != rate {
			t.Fatalf("asked twice it says %v and %v", rate, again)
		}
		if rates = append(rates, rate); len(rates) > most {
			t.Fatalf("more than %d rates, from %v to %v for %v: %v", most, s.From, s.To, capacity, rates)
		}
		if rate <= capacity {
			met = max(met, rate)
		}
		s.Tell(rate, rate <= capacity)
	}
}

func TestSearch(t *testing.T) {
	for _, c := range []struct {
		from, to, capacity float64
		want               []float64
	}{
		{50, 5000, 49, []float64{50, 50}},
		{50, 400, 1e6, []float64{50, 100, 200, 400}},
		{50, 300, 1e6, []float64{50, 100, 200, 300}},
		{50, 50, 60, []float64{50}},
		{50, 400, 120, []float64{50, 100, 200, 141, 119, 130, 124, 124}},
	} {
		got, _ := tried(t, load.Search{From: c.from, To: c.to}, c.capacity)
		if !slices.Equal(got, c.want) {
			t.Errorf("from %v to %v for %v: %v, want %v", c.from, c.to, c.capacity, got, c.want)
		}
	}
}

// Whatever the capacity, it is found from below to 5 %, with no more rates than were promised.
func TestSearchFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 5000 {
		s := load.Search{From: math.Exp(r.Float64() * 8)}
		s.To = s.From * (1 + 2000*r.Float64())
		capacity := s.From * math.Exp(r.Float64()*math.Log(s.To/s.From))
		rates, met := tried(t, s, capacity)
		if met > capacity || capacity > met*(1+load.Resolution)*1.005 && met < s.To {
			t.Fatalf("from %v to %v for %v: found %v, tried %v", s.From, s.To, capacity, met, rates)
		}
	}
}

// A rate that was not met by chance alone does not set the limit; and chance alone does not keep a search going.
func TestSearchTriesAgain(t *testing.T) {
	s, first := load.Search{From: 50, To: 400}, true
	var rates []float64
	for {
		rate, more := s.Next()
		if !more {
			break
		}
		rates = append(rates, rate)
		s.Tell(rate, rate <= 250 && (rate != 100 || !first))
		first = first && rate != 100
	}
	if want := []float64{50, 100, 70.7, 84.1, 91.7, 95.8, 100, 200, 400, 283, 238, 260, 249, 260}; !slices.Equal(rates, want) {
		t.Errorf("tried %v, want %v", rates, want)
	}
	r := rand.New(rand.NewPCG(4, 2))
	for range 2000 {
		s, n := load.Search{From: 10, To: 10_000}, 0
		for {
			rate, more := s.Next()
			if !more {
				break
			}
			if n++; n > s.Most() {
				t.Fatal("it does not end")
			}
			s.Tell(rate, r.IntN(2) == 0)
		}
	}
}

func TestSearchStops(t *testing.T) {
	s := load.Search{From: 50, To: 400}
	s.Tell(50, true)
	s.Stop()
	if rate, more := s.Next(); more {
		t.Errorf("stopped, it asks for %v", rate)
	}
}
