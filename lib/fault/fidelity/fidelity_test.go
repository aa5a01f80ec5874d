package fidelity_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// wireShare is the payload's share of what is on the wire in full TCP segments: 1448 of 1514 bytes, with time stamps and the
// Ethernet header that the kernel's token bucket counts.
const wireShare = 1448.0 / 1514

// A row is one line of the table.
type row struct {
	verb, asked, delivered, tolerance string
	ok                                bool
	way                               string
	note                              bool // printed as it is: there is no tolerance
}

// A sheet is the table in the making.
type sheet struct {
	*bench
	rows []row
}

func (s *sheet) add(in *injected, asked, delivered, tolerance string, ok bool) {
	means := ""
	if in != nil {
		if means = in.way.Name; means == "" {
			means = in.way.Means
		}
	}
	s.rows = append(s.rows, row{in.verb, asked, delivered, tolerance, ok, means, tolerance == ""})
	s.Logf("%-12s asked %-28s delivered %-44s %-24s %v", in.verb, asked, delivered, tolerance, ok)
}

// with injects a verb, measures, and undoes it. What this machine lacks is a row of its own.
func (s *sheet) with(verb string, p fault.Params, asked string, n []target.Node, measure func(in *injected) error) {
	s.Helper()
	in, err := s.inject(verb, p, n...)
	if lacking := new(fault.LackError); errors.As(err, &lacking) {
		s.rows = append(s.rows, row{verb: verb, asked: asked, delivered: "cannot be had here: " + lacking.Error(), note: true})
		s.Logf("%-12s %v", verb, err)
		return
	}
	if err == nil {
		err = measure(in)
		in.end()
	}
	if err != nil {
		s.rows = append(s.rows, row{verb: verb, asked: asked, delivered: "failed: " + oneLine(err.Error()), tolerance: "must work"})
		s.Errorf("%s: %v", verb, err)
	}
}

func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }

// TestFidelity measures every verb against what was asked of it. It takes some minutes and wants a quiet machine, so it runs on
// request: `make fidelity`, which also keeps the table.
func TestFidelity(t *testing.T) {
	file := os.Getenv("TUTTI_FIDELITY")
	if file == "" {
		t.Skip("it takes minutes: make fidelity")
	}
	s := &sheet{bench: newBench(t, 5)}
	one := s.cluster.Nodes()[:1]
	s.delays(one)
	s.shares(one)
	s.rates(one)
	s.processors(one)
	s.stores(one)
	s.names(one)
	s.edges()
	s.nodes()
	if err := s.write(file); err != nil {
		t.Fatal(err)
	}
}

// delays: the median and the spread of what a delay adds to a round trip.
func (s *sheet) delays(n []target.Node) {
	quiet, err := trips(s.Context(), n[0].Address, 1000, 200)
	if err != nil {
		s.Fatal(err)
	}
	base := spreadOf(quiet)
	for _, d := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		s.with("latency", fault.Params{"delay": d}, d.String(), n, func(in *injected) error {
			got, err := trips(s.Context(), n[0].Address, 1000, 200)
			x := spreadOf(got)
			added := x.p50 - base.p50
			s.add(in, d.String(), fmt.Sprintf("%s at the median, %s at p99, of %d", ms(added), ms(x.p99-base.p50), x.n),
				"1 ms or 2 % at the median", x.n >= 990 && math.Abs((added-d).Seconds()) <= max(0.001, 0.02*d.Seconds()))
			return err
		})
	}
	const d, jitter = 100 * time.Millisecond, 20 * time.Millisecond
	s.with("latency", fault.Params{"delay": d, "jitter": jitter}, "100ms ± 20ms", n, func(in *injected) error {
		got, err := trips(s.Context(), n[0].Address, 4000, 400)
		x := spreadOf(got)
		s.add(in, "100ms ± 20ms", fmt.Sprintf("%s ± %s (standard deviation) of %d", ms(x.mean-base.mean), ms(x.sd), x.n),
			"10 % of the spread", math.Abs((x.sd-jitter).Seconds()) <= 0.1*jitter.Seconds())
		return err
	})
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1e3) }

// shares: how many of 20,000 packets were hit. The interval is the normal approximation of the binomial's 99.9 %.
func (s *sheet) shares(n []target.Node) {
	const packets, rate = 20_000, 4000
	plain, err := trips(s.Context(), n[0].Address, packets, rate)
	if err != nil {
		s.Fatal(err)
	}
	s.Logf("without a fault %d of %d came back", len(plain), packets)
	lostAnyway := packets - len(plain)
	count := func(verb string, share float64, hit func([]trip) int) {
		asked := fmt.Sprintf("%g %%", share*100)
		s.with(verb, fault.Params{"share": share}, asked, n, func(in *injected) error {
			got, err := trips(s.Context(), n[0].Address, packets, rate)
			k := hit(got)
			width := 3.2905 * math.Sqrt(share*(1-share)/packets)
			s.add(in, asked, fmt.Sprintf("%.2f %% (%d of %d packets)", 100*float64(k)/packets, k, packets),
				fmt.Sprintf("%.2f … %.2f %%", 100*(share-width), 100*(share+width)), math.Abs(float64(k)/packets-share) <= width)
			return err
		})
	}
	lost := func(got []trip) int { return packets - len(got) - lostAnyway }
	for _, share := range []float64{0.01, 0.1, 0.5} {
		count("loss", share, lost)
	}
	count("duplicate", 0.1, func(got []trip) int { return len(got) - packets + lostAnyway })
	// A corrupt packet fails its checksum, and the kernel of who receives it drops it; one that comes through counts too.
	count("corrupt", 0.1, func(got []trip) int {
		k := lost(got)
		for _, t := range got {
			if !t.whole {
				k++
			}
		}
		return k
	})
	count("reorder", 0.1, func(got []trip) int {
		k, highest := 0, uint32(0)
		for _, t := range got {
			if t.seq < highest {
				k++
			}
			highest = max(highest, t.seq)
		}
		return k
	})
}

// rates: what one TCP connection gets through, both ways.
func (s *sheet) rates(n []target.Node) {
	for _, rate := range []int64{1e6, 10e6, 100e6} {
		asked := fmt.Sprintf("%d mbit", rate/1e6)
		s.with("bandwidth", fault.Params{"rate": rate}, asked, n, func(in *injected) error {
			length := 6 * time.Second
			if rate < 2e6 {
				length = 12 * time.Second
			}
			in1, err1 := upload(n[0].Address, length)
			out, err2 := download(n[0].Address, length)
			in1, out = in1/wireShare, out/wireShare
			near := func(x float64) bool { return math.Abs(x/float64(rate)-1) <= 0.05 }
			s.add(in, asked+", both ways", fmt.Sprintf("in %.3g, out %.3g mbit", in1/1e6, out/1e6), "5 %", near(in1) && near(out))
			return errors.Join(err1, err2)
		})
	}
}

// processors: what of the processors a node gets, and what a burner takes.
func (s *sheet) processors(n []target.Node) {
	limiter, ok := s.cluster.(target.Limiter)
	if !ok {
		s.Fatal("the cluster cannot limit")
	}
	used := func(d time.Duration, busy bool) (float64, error) {
		before, err := limiter.Throttled(s.Context(), n[0])
		began := time.Now()
		if busy {
			_, _, gerr := get(n[0], "/spin?for="+d.String(), 4*d+10*time.Second)
			err = errors.Join(err, gerr)
		} else {
			time.Sleep(d)
		}
		took := time.Since(began)
		after, aerr := limiter.Throttled(s.Context(), n[0])
		return (after.Used - before.Used).Seconds() / took.Seconds(), errors.Join(err, aerr)
	}
	for _, cores := range []float64{0.2, 0.5, 1} {
		asked := fmt.Sprintf("limit %g cores", cores)
		s.with("cpu", fault.Params{"limit": cores}, asked, n, func(in *injected) error {
			got, err := used(5*time.Second, true)
			s.add(in, asked, fmt.Sprintf("%.3f cores, while it wanted all", got), "5 %", math.Abs(got/cores-1) <= 0.05)
			return err
		})
	}
	online := float64(cpus(s.facts))
	for _, share := range []float64{0.5, 0.9} {
		asked := fmt.Sprintf("burn %g %% of %g cores", 100*share, online)
		s.with("cpu", fault.Params{"burn": share}, asked, n, func(in *injected) error {
			got, err := used(5*time.Second, false)
			s.add(in, asked, fmt.Sprintf("%.3f cores, %.1f %%, while nothing else ran in its group", got, 100*got/online), "5 %", math.Abs(got/online/share-1) <= 0.05)
			return err
		})
	}
}

// cpus is how many processors the machine's nodes may use.
func cpus(f target.Facts) int {
	for _, name := range []string{"cpus", "processors", "ncpu"} {
		if n, err := strconv.Atoi(f.Details[name]); err == nil && n > 0 {
			return n
		}
	}
	return numCPU()
}

// stores: memory, disks and clocks.
func (s *sheet) stores(n []target.Node) {
	s.with("disk-full", fault.Params{"volume": "data", "size": int64(16 << 20)}, "volume full", n, func(in *injected) error {
		_, said, err := get(n[0], "/write?path=/data/x&bytes=100000", 5*time.Second)
		s.add(in, "volume full", said, "a write fails", strings.Contains(said, "no space left"))
		return err
	})
	_, said, err := get(n[0], "/write?path=/data/x&bytes=100000", 5*time.Second)
	if err != nil || said != "ok" {
		s.Errorf("after disk-full a write says %q: %v", said, err)
	}
	const share = 0.8
	s.with("memory", fault.Params{"fill": share}, "fill 80 % of 256 MiB", n, func(in *injected) error {
		time.Sleep(2 * time.Second)
		used, limit, err := s.memory(n[0])
		if err != nil {
			return err
		}
		got := used / limit
		s.add(in, "fill 80 % of 256 MiB", fmt.Sprintf("%.1f %%", 100*got), "5 %", math.Abs(got/share-1) <= 0.05)
		return nil
	})
	for _, skew := range []time.Duration{time.Hour, -10 * time.Minute} {
		s.with("clock", fault.Params{"skew": skew}, skew.String(), n, func(in *injected) error {
			_, said, err := get(n[0], "/clock", 5*time.Second)
			now := time.Now()
			at, perr := strconv.ParseInt(said, 10, 64)
			got := time.Unix(0, at).Sub(now)
			s.add(in, skew.String(), got.Round(time.Millisecond).String()+", as the node's own HTTP answer says", "100 ms", math.Abs((got-skew).Seconds()) < 0.1)
			return errors.Join(err, perr)
		})
	}
	s.with("disk-slow", fault.Params{"volume": "data", "rate": int64(1 << 20)}, "1 MiB/s", n, func(in *injected) error {
		ends := in.end()
		in.revert = nil
		said := "no report"
		for _, e := range ends {
			said = e.Asked + "; " + e.Delivered
		}
		s.add(in, "1 MiB/s", oneLine(said), "", true)
		return nil
	})
}

// memory asks a node's own control group what it uses, without the files that the kernel would give up at once, as
// `docker stats` counts.
func (s *sheet) memory(n target.Node) (used, limit float64, err error) {
	x, ok := s.cluster.(target.Execer)
	if !ok {
		return 0, 0, errors.New("the cluster cannot run commands")
	}
	read := func(file string) (string, error) {
		out, err := x.Exec(s.Context(), n, []string{"/main", "cat", file})
		if err == nil && out.Code != 0 {
			err = errors.New(oneLine(out.Output))
		}
		return strings.TrimSpace(out.Output), err
	}
	for _, version := range []struct{ used, limit, stat, cache string }{
		{"memory.current", "memory.max", "memory.stat", "inactive_file"},
		{"memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes", "memory/memory.stat", "total_inactive_file"},
	} {
		var text [3]string
		var errs [3]error
		for i, f := range []string{version.used, version.limit, version.stat} {
			text[i], errs[i] = read("/sys/fs/cgroup/" + f)
		}
		if err = errors.Join(errs[:]...); err != nil {
			continue
		}
		used, err1 := strconv.ParseFloat(text[0], 64)
		limit, err2 := strconv.ParseFloat(text[1], 64)
		cache, err3 := -1.0, error(nil)
		for line := range strings.Lines(text[2]) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == version.cache {
				cache, err3 = strconv.ParseFloat(value, 64)
			}
		}
		if cache < 0 {
			err3 = fmt.Errorf("%s says nothing of %s", version.stat, version.cache)
		}
		return used - cache, limit, errors.Join(err1, err2, err3)
	}
	return 0, 0, err
}

// names: what becomes of look-ups and of answers.
func (s *sheet) names(n []target.Node) {
	modes := map[string]string{"silent": "timeout", "refused": "misbehaving", "nxdomain": "no such host"}
	for _, mode := range slices.Sorted(maps.Keys(modes)) {
		want := modes[mode]
		s.with("dns", fault.Params{"mode": mode}, mode, n, func(in *injected) error {
			_, said, err := get(n[0], "/lookup?name=app&timeout=2s", 10*time.Second)
			s.add(in, mode, short(said), want, strings.Contains(said, want))
			return err
		})
	}
	s.with("dns", fault.Params{"mode": "slow", "delay": 500 * time.Millisecond}, "slow by 500ms", n, func(in *injected) error {
		began := time.Now()
		_, said, err := get(n[0], "/lookup?name=app&timeout=5s", 10*time.Second)
		took := time.Since(began)
		s.add(in, "slow by 500ms", fmt.Sprintf("%s after %s", said, ms(took)), "25 ms", said == "ok" && took > 490*time.Millisecond && took < 525*time.Millisecond)
		return err
	})
	s.with("http", fault.Params{"status": 503, "share": 0.5, "port": 8080}, "503 for 50 %", n, func(in *injected) error {
		const asks = 1000
		bad := 0
		for range asks {
			status, _, err := get(n[0], "/", 5*time.Second)
			if err != nil {
				return err
			}
			if status == 503 {
				bad++
			}
		}
		width := 3.2905 * math.Sqrt(0.25/asks)
		s.add(in, "503 for 50 %", fmt.Sprintf("%.1f %% of %d", 100*float64(bad)/asks, asks), fmt.Sprintf("± %.1f %%", 100*width), math.Abs(float64(bad)/asks-0.5) <= width)
		return nil
	})
}

func short(s string) string {
	if i := strings.LastIndex(s, ": "); i >= 0 {
		return s[i+2:]
	}
	return s
}

// edgeTimes is how often an edge is looked at: it is the machine's scheduling that makes it wide, which one look may miss.
const edgeTimes = 5

// edges: how wide the instant is in which a fault begins, at one node and at five.
func (s *sheet) edges() {
	all := s.cluster.Nodes()
	network := map[string]fault.Params{
		"blackhole": {}, "partition": {}, "refuse": {}, "reset": {}, "loss": {"share": 0.1}, "latency": {"delay": 50 * time.Millisecond},
		"bandwidth": {"rate": int64(10e6)}, "dns": {"mode": "silent"},
	}
	for _, verb := range slices.Sorted(maps.Keys(network)) {
		for _, n := range []int{1, 5} {
			limit := 10 * time.Millisecond
			if n == 5 {
				limit = 20 * time.Millisecond
			}
			asked := fmt.Sprintf("edge, %d of 5 nodes", n)
			var seen []time.Duration
			for range edgeTimes - 1 {
				in, err := s.inject(verb, network[verb], all[:n]...)
				if err != nil {
					break // the last one tells of it
				}
				seen = append(seen, in.bracket())
				in.end()
			}
			s.with(verb, network[verb], asked, all[:n], func(in *injected) error {
				seen = append(seen, in.bracket())
				slices.Sort(seen)
				worst := seen[len(seen)-1]
				s.add(in, asked, fmt.Sprintf("%s at the median, %s at most, of %d", ms(seen[len(seen)/2]), ms(worst), len(seen)), limit.String(), worst <= limit)
				return nil
			})
		}
	}
	for _, verb := range []string{"pause", "kill", "stop", "crash"} {
		for _, n := range []int{1, 5} {
			asked := fmt.Sprintf("edge, %d of 5 nodes", n)
			s.with(verb, fault.Params{}, asked, all[:n], func(in *injected) error {
				s.add(in, asked, ms(in.bracket()), "", true)
				return nil
			})
			for _, x := range all[:n] {
				s.answers(x)
			}
		}
	}
}

// nodes: verbs about a node as a whole, by what the fault says it delivered and by what a client sees in it and after it.
func (s *sheet) nodes() {
	state := func(n target.Node) string {
		if _, _, err := get(n, "/", patience); err != nil {
			return "no answer"
		}
		return "answers"
	}
	for _, c := range []struct {
		verb, asked, during string
		p                   fault.Params
	}{
		{"stutter", "frozen 800 ms of every second", "", fault.Params{}},
		{"remove", "gone, then created anew", "no answer", fault.Params{}},
		{"oom", "killed for memory", "no answer", fault.Params{}},
		{"restart", "stopped and started", "no answer", fault.Params{}},
		{"rolling-restart", "stopped and started, one by one", "no answer", fault.Params{}},
		{"scale", "5 to 4 replicas", "no answer", fault.Params{"to": 4}},
		{"exec", "a command with exit code 0", "answers", fault.Params{"command": []string{"/main", "cat", "/proc/self/comm"}}},
	} {
		all := s.cluster.Nodes() // anew: what is created anew has other ids
		hit := all[:1]
		if c.verb == "scale" {
			hit = all
		}
		s.with(c.verb, c.p, c.asked, hit, func(in *injected) error {
			n := hit[len(hit)-1]
			during := "in turn"
			if c.during != "" {
				during = state(n)
			} else {
				time.Sleep(5 * time.Second)
			}
			said := ""
			for _, e := range in.end() {
				said = e.Delivered
			}
			in.revert = nil
			for _, now := range s.cluster.Nodes() {
				s.answers(now)
			}
			delivered := fmt.Sprintf("a client sees: %s; afterwards: %s", during, state(s.cluster.Nodes()[len(hit)-1]))
			if said != "" {
				delivered += "; " + said
			}
			s.add(in, c.asked, delivered, "by what a client sees", c.during == "" || during == c.during)
			return nil
		})
	}
}

// The marks between which the table stands in the README.
const from, to = "<!-- fidelity: made by `make fidelity` -->", "<!-- /fidelity -->"

// write keeps the table in a Markdown file.
func (s *sheet) write(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the marks %s … %s are missing", file, from, to)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n%s, %s\n\n| verb | asked | delivered | tolerance | | way |\n|---|---|---|---|---|---|\n", head, from, time.Now().Format("2 January 2006"), s.machine())
	for _, r := range s.rows {
		mark := "✔"
		switch {
		case r.note:
			mark = ""
		case !r.ok:
			mark = "**miss**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.verb, cell(r.asked), cell(r.delivered), cell(r.tolerance), mark, cell(r.way))
	}
	b.WriteString(to + tail)
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func cell(s string) string { return strings.ReplaceAll(oneLine(s), "|", "\\|") }

func (s *sheet) machine() string {
	d := s.facts.Details
	var b []string
	for _, name := range []string{"engine", "kernel", "cgroup", "cgroup version", "cgroup driver", "storage"} {
		if d[name] != "" {
			b = append(b, name+" "+d[name])
		}
	}
	return fmt.Sprintf("%d processors, %s", numCPU(), strings.Join(b, ", "))
}
