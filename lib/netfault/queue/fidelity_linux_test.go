package queue_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// Asked against delivered, as the receiver of the packets sees it (and not the queue): printed, and judged by nobody. The
// machine's noise is in it.
func TestFidelity(t *testing.T) {
	if os.Getenv("TUTTI_FIDELITY") == "" {
		t.Skip("TUTTI_FIDELITY is not set")
	}
	p := wire(t)
	fmt.Println("| asked | packets | lost | p50 | p99 | mean | SD |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, c := range []struct {
		delay, jitter time.Duration
		count         int
		rate          float64
	}{
		{0, 0, 5000, 1000},
		{time.Millisecond, 0, 5000, 1000},
		{10 * time.Millisecond, 0, 5000, 1000},
		{100 * time.Millisecond, 0, 5000, 1000},
		{300 * time.Millisecond, 0, 5000, 1000},
		{100 * time.Millisecond, 20 * time.Millisecond, 10000, 1000},
		{50 * time.Millisecond, 0, 50000, 10000},
	} {
		q := open(t)
		name := fmt.Sprintf("%v at %g/s", c.delay, c.rate)
		if c.jitter > 0 {
			name = fmt.Sprintf("%v ± %v at %g/s", c.delay, c.jitter, c.rate)
		}
		if c.delay > 0 {
			r := delay(c.delay)
			r.Jitter, r.Seed = c.jitter, 11
			set(t, q, map[string]rule.Part{"x": {r}})
		}
		runtime.GC()
		all := pour(t, p.peer, p.node, c.count, c.rate, c.delay+c.jitter*6+200*time.Millisecond)
		mean, sd := spread(all)
		fmt.Printf("| %s | %d | %d | %v | %v | %v | %v |\n", name, c.count, c.count-len(all), quantile(all, 0.5), quantile(all, 0.99), mean, sd)
		if c.delay > 0 {
			d := reports(t, q)["x"][0]
			fmt.Printf("| … by the queue | %d | let through %d | %v | %v | %v | %v |\n", d.Packets, d.Passed, d.Delay.P50, d.Delay.P99, d.Delay.Mean, d.Delay.SD)
		}
		must(t, q.Close())
	}
}
