package queue

import (
	"math"
	"math/bits"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// A spread sums durations up in bounded memory: quantiles by a histogram whose buckets are at most 1/1,024 of their
// value wide, so that they are off by 0.05 % at most; mean and standard deviation by Welford's method (Technometrics 4,
// 1962), exact but for rounding.
type spread struct {
	n        uint64
	min, max time.Duration
	mean, m2 float64
	buckets  []uint64
}

// Each power of two has 1,024 buckets; below 1,024 ns each nanosecond has one. A minute needs 220 KiB.
const (
	fineBits = 10
	fine     = 1 << fineBits
)

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < fine {
		return int(v)
	}
	octave := bits.Len64(v) - fineBits - 1
	return octave*fine + int(v>>octave)
}

// middle of a bucket.
func middle(bucket int) time.Duration {
	if bucket < 2*fine {
		return time.Duration(bucket) // one nanosecond wide
	}
	octave := bucket/fine - 1
	low := uint64(bucket-octave*fine) << octave
	return time.Duration(low + (1<<octave)/2)
}

func (s *spread) add(d time.Duration) {
	d = max(d, 0)
	if s.n == 0 || d < s.min {
		s.min = d
	}
	s.max = max(s.max, d)
	s.n++
	delta := float64(d) - s.mean
	s.mean += delta / float64(s.n)
	s.m2 += delta * (float64(d) - s.mean)
	b := bucketOf(d)
	if b >= len(s.buckets) {
		s.buckets = append(s.buckets, make([]uint64, b+1-len(s.buckets))...)
	}
	s.buckets[b]++
}

// quantile by the nearest rank.
func (s *spread) quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(s.n))), 1)
	var seen uint64
	for b, n := range s.buckets {
		if seen += n; seen >= rank {
			return min(max(middle(b), s.min), s.max)
		}
	}
	return s.max
}

// sum is nil if there is nothing.
func (s *spread) sum() *rule.Spread {
	if s.n == 0 {
		return nil
	}
	sum := &rule.Spread{
		Count: s.n, Min: s.min, Max: s.max, Mean: time.Duration(math.Round(s.mean)),
		P50: s.quantile(0.5), P90: s.quantile(0.9), P99: s.quantile(0.99),
	}
	if s.n > 1 {
		sum.SD = time.Duration(math.Round(math.Sqrt(s.m2 / float64(s.n-1))))
	}
	return sum
}
