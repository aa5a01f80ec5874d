package httpload

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// Each engine at full speed on 64 connections: what is due is due long ago.
func BenchmarkEngine(b *testing.B) {
	address := constant(b)
	for _, engine := range []load.Engine{load.Attack, load.Turbo} {
		b.Run(string(engine), func(b *testing.B) {
			p := load.Plan{
				Schedule: schedule.Constant(1e9, 0, time.Duration(b.N)), Timeout: time.Hour, Ingress: "http://ingress", Dial: address,
				Connections: 64, Requests: []load.Request{{Name: "one", Method: "GET", Path: "/"}}, NodeHeader: "X-Node", Engine: engine,
			}
			var bad atomic.Int64
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			err := new(Generator).Generate(b.Context(), p, func(time.Time) {}, func(s record.Sample) {
				if s.Class != record.OK || s.Node != "app-1" {
					bad.Add(1)
				}
			})
			b.StopTimer()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "mallocs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			if bad.Load() > 0 || err != nil {
				b.Errorf("%d of %d went wrong: %v", bad.Load(), b.N, err)
			}
		})
	}
}

// constant serves one answer as cheaply as it can.
func constant(tb testing.TB) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nX-Node: app-1\r\n\r\nok\n")
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
