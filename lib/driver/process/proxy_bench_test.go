package process_test

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/driver/process"
	"github.com/tutti-bench/tutti/lib/target"
)

// BenchmarkProxyLatency sends 500 requests a second in turn to a node behind a proxy and to one without, and reports what
// the proxy adds.
func BenchmarkProxyLatency(b *testing.B) {
	up := func(proxied bool) target.Node {
		tg := waiting(1)
		app := tg.Services["app"]
		app.Command, app.Expose = []string{"web"}, []string{"8080"}
		tg.Services["app"] = app
		s := spec(tg, "")
		s.Proxied = map[string]bool{"app": proxied}
		c, err := process.New(process.Config{}).Up(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Down(b.Context()) })
		return c.Nodes()[0]
	}
	nodes := [2]target.Node{up(false), up(true)}
	time.Sleep(200 * time.Millisecond) // the one without is not waited for
	client := &http.Client{Timeout: time.Second}
	var took [2][]time.Duration
	tick := time.NewTicker(time.Second / 500)
	defer tick.Stop()
	for b.Loop() {
		for i, n := range nodes {
			<-tick.C
			began := time.Now()
			r, err := client.Get("http://" + port(n, "8080") + "/")
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
			took[i] = append(took[i], time.Since(began))
		}
	}
	quantile := func(i int, q float64) float64 {
		slices.Sort(took[i])
		return float64(took[i][int(q*float64(len(took[i])-1))].Microseconds())
	}
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		b.ReportMetric(quantile(0, q.q), "direct-"+q.name+"-µs")
		b.ReportMetric(quantile(1, q.q), "proxied-"+q.name+"-µs")
		b.ReportMetric(quantile(1, q.q)/quantile(0, q.q), "ratio-"+q.name)
	}
}
