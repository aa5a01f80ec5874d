package record_test

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// BenchmarkBinner is the cost of one sample of the usual case, three nodes and hardly a failure, at 100,000 a second.
func BenchmarkBinner(b *testing.B) {
	nodes := []string{"app-1", "app-2", "app-3"}
	for _, workers := range []int{1, 64} {
		b.Run(strconv.Itoa(workers), func(b *testing.B) {
			due := func(n uint64) time.Duration { return time.Duration(n) * 10 * time.Microsecond }
			binner := record.NewBinner(due, uint64(b.N), time.Second, func(record.Bin) {})
			b.ReportAllocs()
			var next atomic.Uint64
			var all sync.WaitGroup
			b.ResetTimer()
			for range workers {
				all.Go(func() {
					for {
						n := next.Add(1) - 1
						if n >= uint64(b.N) {
							return
						}
						at := due(n)
						s := record.Sample{
							Seq: n, Due: at, Sent: at + 40*time.Microsecond, Free: record.None, Class: record.OK, Node: nodes[n%3],
							Done: at + time.Duration(200_000+(n*7919)%500_000), Status: 200, Traced: true,
						}
						if n%1000 == 0 {
							s.Class, s.Status = record.Wrong, 503
						}
						binner.Put(s)
						if n%1000 == 0 {
							runtime.Gosched()
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			binner.Close()
		})
	}
}
