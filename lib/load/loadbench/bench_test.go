//go:build linux

package loadbench_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

// What `make bench` says.
const (
	fileVar   = "TUTTI_BENCH"        // the README that has the table
	rowsVar   = "TUTTI_BENCH_ROWS"   // names of rows; empty: all
	roundsVar = "TUTTI_BENCH_ROUNDS" // of each row
	keepVar   = "TUTTI_BENCH_KEEP"   // where rounds are kept until the run is over
	vegetaVar = "TUTTI_BENCH_VEGETA" // vegeta's program
	flatVar   = "TUTTI_BENCH_FLAT"   // how long memory is looked at
)

// A round is a line of the file in which rounds are kept.
type round struct {
	Key    string // by which program and where it was measured
	Row    string
	N      int
	At     time.Time
	Others float64 // the share of the processors that other programs had meanwhile, in percent
	found
}

// TestBench measures all rows beside the programs of others. It takes half an hour and wants the machine for itself, so it runs on request:
// `make bench`, which also keeps the table.
func TestBench(t *testing.T) {
	file := os.Getenv(fileVar)
	if file == "" {
		t.Skip("it takes half an hour: make bench")
	}
	b := newBench(t)
	if b.wrk == "" || b.hey == "" || b.vegeta == "" {
		t.Fatal("wrk, hey and vegeta are needed: make bench says how to get them")
	}
	rounds, err := strconv.Atoi(os.Getenv(roundsVar))
	if err != nil || rounds < 1 {
		t.Fatalf("%s=%q: not a number of rounds", roundsVar, os.Getenv(roundsVar))
	}
	z := full
	if text := os.Getenv(flatVar); text != "" {
		if z.flat, err = time.ParseDuration(text); err != nil || z.flat < 20*time.Second {
			t.Fatalf("%s=%q: not a time of at least 20s", flatVar, text)
		}
	}
	chosen, err := named(rows(z), strings.Fields(os.Getenv(rowsVar)))
	if err != nil {
		t.Fatal(err)
	}
	machine := b.machine()
	k := keeper{file: os.Getenv(keepVar), key: key(t, machine, z)}
	kept, err := k.read(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Logf("%s", machine)
	t.Logf("to be measured in about %v: %s", lasts(chosen, rounds, z, kept).Round(time.Second), strings.Join(names(chosen), ", "))
	for _, r := range chosen {
		all := kept[r.name]
		for n := len(all); n < r.rounds(rounds); n++ {
			x := b.measure(r, z, n)
			x.Key = k.key
			for who, why := range x.Trouble {
				t.Errorf("%s, round %d: %s: %s", r.name, n+1, who, why)
			}
			all = append(all, x)
			if err := k.add(x); err != nil {
				t.Fatal(err)
			}
		}
		lines := r.lines(all)
		for _, l := range lines {
			t.Log(l)
		}
		if err := writeTable(file, machine, r.name, lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.forget(names(chosen)); err != nil {
		t.Fatal(err)
	}
	t.Logf("it took %v", time.Since(began).Round(time.Second))
}

// Every row still works, in seconds: nothing here is about how fast.
func TestRows(t *testing.T) {
	b := newBench(t)
	for _, r := range rows(tiny) {
		t.Run(r.name, func(t *testing.T) {
			b := *b
			b.T = t
			x := b.measure(r, tiny, 0)
			for _, f := range r.figures {
				for _, p := range f.parts {
					who, _, _ := strings.Cut(p.key, " ")
					if _, with, ok := strings.Cut(p.key, " ÷ "); ok && x.Trouble[with] != "" {
						continue
					}
					if _, ok := x.Values[p.key]; !ok && (who == string(load.Attack) || who == string(load.Turbo) || who == "ours") {
						t.Errorf("%s: no %s: %v", f.what, p.key, x.Trouble)
					}
				}
			}
			for who, why := range x.Trouble {
				if !strings.HasSuffix(why, "not installed") {
					t.Errorf("%s: %s", who, why)
				}
			}
			if len(r.lines([]round{x})) != 1+len(r.figures) {
				t.Error("lines are missing")
			}
			if takes := r.takes(tiny); takes <= 0 {
				t.Errorf("it takes %v", takes)
			}
		})
	}
}

// newBench starts a server, and looks who is there to be measured.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, truth: newTruth(t), vegeta: os.Getenv(vegetaVar)}
	b.wrk, _ = exec.LookPath("wrk")
	b.hey, _ = exec.LookPath("hey")
	// A figure must not stand under the name of an engine that did not make it.
	for _, e := range engines {
		got, _, err := b.ours(order{Engine: e, Rate: 500, For: 200 * time.Millisecond, Timeout: 5 * time.Second, Connections: 64, Probe: true}, nil)
		if err != nil {
			t.Fatalf("engine %s: %v", e, err)
		}
		if got.Vegeta != (e == load.Attack) {
			t.Fatalf("the engine %s was asked for; vegeta's attacker sends: %v", e, got.Vegeta)
		}
	}
	return b
}

func named(all []row, want []string) ([]row, error) {
	if len(want) == 0 {
		return all, nil
	}
	var some []row
	for _, r := range all {
		if i := slices.Index(want, r.name); i >= 0 {
			some, want = append(some, r), slices.Delete(want, i, i+1)
		}
	}
	if len(want) > 0 {
		return nil, fmt.Errorf("no row %s; there are %s", strings.Join(want, ", "), strings.Join(names(all), ", "))
	}
	return some, nil
}

func names(rows []row) (all []string) {
	for _, r := range rows {
		all = append(all, r.name)
	}
	return all
}

func (r row) rounds(n int) int {
	if r.once {
		return 1
	}
	return n
}

func lasts(rows []row, rounds int, z sizes, kept map[string][]round) (d time.Duration) {
	for _, r := range rows {
		d += r.takes(z) * time.Duration(max(r.rounds(rounds)-len(kept[r.name]), 0))
	}
	return d
}

// measure does one round.
func (b *bench) measure(r row, z sizes, n int) round {
	x := round{Row: r.name, N: n, At: time.Now(), found: found{make(map[string]float64), make(map[string]string)}}
	all, own := b.used()
	r.round(b, z, n, &x.found)
	all2, own2 := b.used()
	if took := time.Since(x.At) * time.Duration(runtime.NumCPU()); took > 0 {
		x.Others = 100 * max((all2-all-(own2-own)).Seconds(), 0) / took.Seconds()
	}
	b.Logf("%s, round %d, %v, other programs %.1f %% of the processors; %s", r.name, n+1, time.Since(x.At).Round(100*time.Millisecond), x.Others, x.found)
	return x
}

func (v found) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(keys(v.Values)) {
		fmt.Fprintf(&b, "%s %s, ", k, number(v.Values[k]))
	}
	for _, k := range slices.Sorted(keys(v.Trouble)) {
		fmt.Fprintf(&b, "%s: %s, ", k, v.Trouble[k])
	}
	return strings.TrimSuffix(b.String(), ", ")
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// used is the processor time of all processes of the machine, and of ours and those that we have waited for. The kernel counts the former
// in hundredths of a second.
func (b *bench) used() (all, ours time.Duration) {
	ticks := func(fields []string) (d time.Duration) {
		for _, f := range fields {
			n, _ := strconv.ParseUint(f, 10, 64)
			d += time.Duration(n) * 10 * time.Millisecond
		}
		return d
	}
	stat, _ := os.ReadFile("/proc/stat")
	if f := strings.Fields(string(stat)); len(f) > 4 {
		all = ticks(f[1:4]) // user, nice, system
	}
	server, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.pid))
	if _, rest, ok := strings.Cut(string(server), ") "); ok {
		if f := strings.Fields(rest); len(f) > 12 {
			ours = ticks(f[11:13])
		}
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			ours += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return all, ours
}

// machine says where the figures are from, and which programs were beside ours.
func (b *bench) machine() string {
	read := func(file, name string) string {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	kb, _ := strconv.ParseFloat(strings.TrimSuffix(read("/proc/meminfo", "MemTotal"), " kB"), 64)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	all := []string{fmt.Sprintf("%d processors", runtime.NumCPU())}
	if model := read("/proc/cpuinfo", "model name"); model != "" {
		all[0] += " (" + model + ")"
	}
	all = append(all, fmt.Sprintf("%.0f GiB", kb/(1<<20)), "Linux "+strings.TrimSpace(string(kernel)), runtime.Version())
	out, _ := exec.Command(b.wrk, "-v").Output() // it exits with 1
	if f := strings.Fields(string(out)); len(f) > 1 {
		all = append(all, f[0]+" "+f[1])
	}
	if v := packaged("hey"); v != "" {
		all = append(all, "hey "+v)
	}
	if _, v, ok := strings.Cut(filepath.Base(b.vegeta), "-v"); ok {
		all = append(all, "vegeta "+v)
	}
	return strings.Join(all, ", ")
}

// packaged is the version of a Debian package; hey does not tell its own.
func packaged(name string) string {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// key says what rounds must have in common to be compared: this program, the machine, the sizes.
func key(t *testing.T, machine string, z sizes) string {
	t.Helper()
	f, err := os.Open(self(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(h, "%s %+v", machine, z)
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// A keeper keeps rounds in a file, so that a run that was broken off can go on. What another program measured, or is older than a day,
// does not count.
type keeper struct {
	file, key string
}

func (k keeper) read(now time.Time) (map[string][]round, error) {
	kept := make(map[string][]round)
	text, err := os.ReadFile(k.file)
	if errors.Is(err, os.ErrNotExist) {
		return kept, nil
	}
	for line := range bytes.Lines(text) {
		var x round
		if json.Unmarshal(line, &x) != nil {
			continue // it was being written when all ended
		}
		if x.Key == k.key && now.Sub(x.At) < 24*time.Hour && x.N == len(kept[x.Row]) {
			kept[x.Row] = append(kept[x.Row], x)
		}
	}
	return kept, err
}

func (k keeper) add(x round) error {
	line, err := json.Marshal(x)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(k.file), 0o755)
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// forget drops the rounds of rows that are in the table.
func (k keeper) forget(rows []string) error {
	text, err := os.ReadFile(k.file)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	for line := range bytes.Lines(text) {
		var x round
		if json.Unmarshal(line, &x) == nil && !slices.Contains(rows, x.Row) {
			_, _ = w.Write(line)
		}
	}
	_ = w.Flush()
	return os.WriteFile(k.file, b.Bytes(), 0o644)
}

func TestKeeper(t *testing.T) {
	now := time.Now()
	k := keeper{file: filepath.Join(t.TempDir(), "new", "rounds"), key: "a"}
	if kept, err := k.read(now); err != nil || len(kept) != 0 {
		t.Errorf("nothing kept: %v, %v", kept, err)
	}
	v := found{map[string]float64{"wrk rate": never}, map[string]string{"turbo": "?"}}
	for _, x := range []round{
		{Key: "a", Row: "speed", N: 0, At: now, found: v},
		{Key: "b", Row: "speed", N: 1, At: now, found: v},
		{Key: "a", Row: "speed", N: 1, At: now.Add(-25 * time.Hour), found: v},
		{Key: "a", Row: "stall", N: 0, At: now, found: v},
		{Key: "a", Row: "speed", N: 1, At: now, found: v},
	} {
		if err := k.add(x); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(k.file, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`{"Key": "a", "Row": "stall", "N": 1, "At"`)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	kept, err := k.read(now)
	if err != nil || len(kept["speed"]) != 2 || len(kept["stall"]) != 1 || kept["speed"][1].Values["wrk rate"] != never || kept["speed"][1].Trouble["turbo"] != "?" {
		t.Errorf("%+v, %v", kept, err)
	}
	if err := k.forget([]string{"speed"}); err != nil {
		t.Fatal(err)
	}
	if kept, err := k.read(now); err != nil || len(kept["speed"]) != 0 || len(kept["stall"]) != 1 {
		t.Errorf("after forgetting: %+v, %v", kept, err)
	}
}
