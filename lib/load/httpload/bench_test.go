package httpload

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
)

// The whole engine at full speed on 64 connections: what is due is due long ago, and vegeta's workers
// are bounded, which a measurement never does. Both carriers take plain HTTP, alternating.
func BenchmarkEngine(b *testing.B) {
	address := constant(b)
	for _, c := range []struct {
		name string
		by   func(context.Context, load.Plan) carrier
	}{
		{"plain", func(ctx context.Context, p load.Plan) carrier { return newPlain(ctx, p) }},
		{"net_http", func(ctx context.Context, p load.Plan) carrier { return newSecure(ctx, p) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := load.Plan{
				Schedule: schedule.Constant(1e9, 0, time.Minute), Timeout: time.Hour, Ingress: "http://ingress", Dial: address,
				Connections: 10_000, Requests: []load.Request{{Name: "one", Method: "GET", Path: "/"}}, NodeHeader: "X-Node",
			}
			templates, err := p.Templates()
			if err != nil {
				b.Fatal(err)
			}
			by := c.by(b.Context(), p)
			defer by.close()
			var bad, peak atomic.Int64
			a := &attack{plan: p, templates: templates, zero: time.Now(), carrier: by, peak: &peak, emit: func(s record.Sample) {
				if s.Class != record.OK || s.Node != "app-1" {
					bad.Add(1)
				}
			}}
			const workers = 64
			attacker := vegeta.NewAttacker(vegeta.Workers(workers), vegeta.MaxWorkers(workers), vegeta.Client(&http.Client{
				Transport: transport(func(r *http.Request) (*http.Response, error) { return a.roundTrip(b.Context(), r) }),
			}))
			target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: p.Ingress})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			for range attacker.Attack(target, counted(b.N), 0, "") {
				continue
			}
			b.StopTimer()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "mallocs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			if bad.Load() > 0 {
				b.Errorf("%d of %d went wrong", bad.Load(), b.N)
			}
		})
	}
}

// counted is a pacer for as many requests, as fast as they go.
type counted uint64

func (c counted) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	return 0, hits >= uint64(c)
}

func (c counted) Rate(time.Duration) float64 { return 0 }

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
