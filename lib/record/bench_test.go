//go:build unix

package record_test

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/record"
)

// BenchmarkBinner/put is the cost of one sample of the usual case, three nodes and hardly a failure, at 100,000 a second.
func BenchmarkBinner(b *testing.B) {
	due := func(n uint64) time.Duration { return time.Duration(n) * 10 * time.Microsecond }
	for _, workers := range []int{1, 64} {
		b.Run("put/"+strconv.Itoa(workers), func(b *testing.B) {
			binner := record.NewBinner(due, uint64(b.N), time.Second, func(record.Bin) {})
			tellAll(b, workers, due, binner.Put)
			binner.Close()
		})
		b.Run("oracle/"+strconv.Itoa(workers), func(b *testing.B) { // the plain way
			binner := newOracle(due, uint64(b.N), time.Second, func(record.Bin) {})
			tellAll(b, workers, due, func(s record.Sample) { binner.Add(s) })
			binner.Close()
		})
	}
}

func tellAll(b *testing.B, workers int, due func(uint64) time.Duration, tell func(record.Sample)) {
	b.Helper()
	nodes := []string{"app-1", "app-2", "app-3"}
	b.ReportAllocs()
	var next atomic.Uint64
	var all sync.WaitGroup
	from := cpu(b)
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
				tell(s)
				if n%1000 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-from)/float64(b.N), "cpu-ns/op")
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
