package reports_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clipperhouse/displaywidth"

	"github.com/tutti-bench/tutti/lib/analysis/analysistest"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/reports"
)

// A tape keeps every write of the live view.
type tape struct {
	mu     sync.Mutex
	writes []string
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes = append(t.writes, string(p))
	return len(p), nil
}

func (t *tape) all() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.writes, "")
}

func begin() reports.LiveTrial {
	return reports.LiveTrial{
		Scenario: "node-crash", Arm: "cluster", Block: 6, Blocks: 10, N: 12, Of: 20, Warmup: 2 * time.Second, For: 30 * time.Second,
		Schedule: schedule.Constant(200, 2*time.Second, 30*time.Second), Left: 11 * time.Minute, Faults: []reports.LiveFault{{Name: "crash", At: 10 * time.Second, For: 10 * time.Second}},
	}
}

// play feeds a recording at its own pace, up to a moment of measured load.
func play(l *reports.Live, until time.Duration) {
	rec := analysistest.Crash("cluster", 3, 1).Recording()
	l.Trial(begin())
	l.Stage("starting the target")
	time.Sleep(time.Second)
	l.Stage("warm-up")
	zero := time.Now().Add(rec.Warmup)
	l.Started(zero)
	told := 0
	for _, b := range rec.Bins {
		if b.Start() > until {
			break
		}
		for told < len(rec.Events) && rec.Events[told].At < b.Start() {
			l.Event(rec.Events[told])
			told++
		}
		time.Sleep(time.Until(zero.Add(b.Start() + record.Grid)))
		l.Bin(b)
	}
}

func TestLivePlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tape
		l := reports.NewLive(&w, reports.LiveOptions{})
		play(l, 12*time.Second)
		l.Done(nil, nil)
		l.Done([]string{"fault \"crash\" has no proof"}, nil)
		l.Done(nil, errors.New("the engine went away"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		got := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `).ReplaceAllString(w.all(), "")
		want := `trial=12/20 block=6 arm=cluster left=11min
block=6 arm=cluster starting the target
block=6 arm=cluster warm-up
block=6 arm=cluster t=10.0s due=200/s ok=200/s p99=9.24ms bad=2
block=6 arm=cluster t=10.0s fault=crash die app-1 exit code 137
block=6 arm=cluster valid
block=6 arm=cluster invalid: fault "crash" has no proof
block=6 arm=cluster failed: the engine went away
`
		if got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if strings.Contains(w.all(), "\x1b") {
			t.Error("plain lines have an escape")
		}
	})
}

func TestLivePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tape
		l := reports.NewLive(&w, reports.LiveOptions{TTY: true, Width: func() int { return 80 }})
		l.Trial(begin())
		l.Done([]string{"a reason"}, nil)
		play(l, 20*time.Second)
		synctest.Wait()
		last := picture(w.writes[len(w.writes)-1])
		for _, want := range []string{
			"node-crash   block 6/10, cluster", "trial 12/20", "11 min left", "20.", "of 30 s", "rate         200 /s", "due 200, answered OK 200",
			"p99", "never: over 1 % bad", "bad so far", "timeout", "app-1 ✕ down", "app-3 ●", "▲ in force   crash", "10.0 s   app-1 died, exit code 137", "△ 12 invalid: a reason", "Ctrl-C",
		} {
			if !strings.Contains(last, want) {
				t.Errorf("the picture has no %q:\n%s", want, last)
			}
		}
		for _, line := range strings.Split(last, "\n") {
			if n := len([]rune(line)); n > 79 {
				t.Errorf("a line is %d wide: %q", n, line)
			}
		}
		if n := len(w.writes); n > 250 {
			t.Errorf("%d drawings in 23 s: more than ten a second", n)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if end := w.writes[len(w.writes)-1]; !strings.HasSuffix(end, "\x1b[J") {
			t.Errorf("Close leaves %q on the terminal", end)
		}
	})
}

// TestLiveHold: each hold of a search is a load on a clock of its own, and its answer is told.
func TestLiveHold(t *testing.T) {
	for _, tty := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var w tape
			l := reports.NewLive(&w, reports.LiveOptions{TTY: tty, Width: func() int { return 100 }})
			b := begin()
			b.Faults, b.For, b.Schedule = nil, 5*time.Second, schedule.Constant(640, time.Second, 5*time.Second)
			l.Trial(b)
			bin := func(i int, due uint64) {
				h := new(record.Hist)
				h.AddN(time.Millisecond, due)
				l.Bin(record.Bin{Index: i, Due: due, Good: due, Cells: []record.Cell{{Class: record.OK, Count: due, Response: h}}})
			}
			for _, rate := range []uint64{40, 80} {
				l.Hold(record.Hold{Rate: float64(rate), For: 5 * time.Second, Warmup: time.Second})
				l.Started(time.Now())
				for i := range 15 {
					bin(i, rate/10)
				}
				time.Sleep(1500 * time.Millisecond)
				if rate == 40 {
					l.Hold(record.Hold{Rate: 40, Answer: record.Met})
				}
			}
			synctest.Wait()
			said := w.all()
			if tty {
				said = picture(w.writes[len(w.writes)-1])
			}
			wants := []string{"held 40/s: met"}
			if tty {
				wants = append(wants, "rate         80 /s", "due 80, answered OK 80", "of 5 s")
			}
			for _, want := range wants {
				if !strings.Contains(said, want) {
					t.Errorf("tty %v: no %q in\n%s", tty, want, said)
				}
			}
			l.Hold(record.Hold{Rate: 80, Answer: record.Unknown, Why: "the load generator offered 60/s only"})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if !tty && !strings.Contains(w.all(), "held 80/s: cannot be told, the load generator offered 60/s only") {
				t.Error(w.all())
			}
		})
	}
}

// TestLiveNext: what comes next, and how long a fault is still to be in force.
func TestLiveNext(t *testing.T) {
	for until, want := range map[time.Duration]string{6 * time.Second: `in force     no fault; crash in (3\.[789]|4\.0) s`, 15 * time.Second: `▲ in force   crash, (4\.[789]|5\.0) s to go`, 24 * time.Second: `in force     no fault\n`} {
		synctest.Test(t, func(t *testing.T) {
			var w tape
			l := reports.NewLive(&w, reports.LiveOptions{TTY: true})
			play(l, until)
			if until > 20*time.Second {
				l.Event(record.Event{At: 20 * time.Second, Kind: "fault.heal", Fault: "crash"})
			}
			time.Sleep(150 * time.Millisecond) // more than between two drawings
			synctest.Wait()
			if last := picture(w.writes[len(w.writes)-1]); !regexp.MustCompile(want).MatchString(last) {
				t.Errorf("after %v there is no %q:\n%s", until, want, last)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestLiveTicks: while nothing happens the time left goes on, once a second; a terminal that was resized is drawn on at once.
func TestLiveTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tape
		l := reports.NewLive(&w, reports.LiveOptions{TTY: true})
		b := begin()
		b.Left = 90 * time.Second
		l.Trial(b)
		l.Stage("waiting until it is ready")
		time.Sleep(10*time.Second + 500*time.Millisecond)
		synctest.Wait()
		n := len(w.writes)
		if last := picture(w.writes[n-1]); !strings.Contains(last, "1 min 20 s left") || n > 13 {
			t.Errorf("after 10 s, %d drawings:\n%s", n, last)
		}
		l.Resized()
		synctest.Wait()
		if len(w.writes) != n+1 {
			t.Errorf("%d drawings after a resize", len(w.writes)-n)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l.Resized() // a late signal
	})
}

// TestLiveNarrow: on 40 columns the strips have fewer seconds, and end with the newest one.
func TestLiveNarrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w tape
		l := reports.NewLive(&w, reports.LiveOptions{TTY: true, Width: func() int { return 40 }})
		play(l, 13*time.Second)
		synctest.Wait()
		last := picture(w.writes[len(w.writes)-1])
		for _, want := range []string{"due 200, OK ", "▂▂▂×", "2 ●  app-1 ✕ down"} {
			if !strings.Contains(last, want) {
				t.Errorf("no %q in\n%s", want, last)
			}
		}
		for _, line := range strings.Split(last, "\n") {
			if strings.HasSuffix(line, "…") && (strings.Contains(line, "p99") || strings.Contains(line, "OK")) {
				t.Errorf("cut: %s", line)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLiveCalm: the picture keeps its height through a trial, fits a low and a narrow terminal, and
// is taken away whole where a resize has wrapped its lines.
func TestLiveCalm(t *testing.T) {
	for _, c := range []struct{ width, height int }{{80, 24}, {80, 12}, {80, 5}, {30, 24}} {
		t.Run(fmt.Sprintf("%dx%d", c.width, c.height), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w tape
				var width atomic.Int64
				width.Store(int64(c.width))
				l := reports.NewLive(&w, reports.LiveOptions{
					TTY: true, Color: true, Width: func() int { return int(width.Load()) }, Height: func() int { return c.height },
				})
				play(l, 12*time.Second)
				synctest.Wait()
				first := strings.Count(w.writes[0], "\n")
				for _, s := range w.writes {
					if n := strings.Count(s, "\n"); n != first || n > c.height-1 {
						t.Fatalf("a picture of %d lines after one of %d, on %d rows:\n%s", n, first, c.height, picture(s))
					}
					for _, line := range strings.Split(picture(s), "\n") {
						if n := displaywidth.String(line); n > c.width-1 {
							t.Fatalf("a line is %d wide on %d columns: %q", n, c.width, line)
						}
					}
				}
				rows := 0
				for _, line := range strings.Split(strings.TrimSuffix(picture(w.writes[len(w.writes)-1]), "\n"), "\n") {
					rows += max(1, (displaywidth.String(line)+19)/20)
				}
				width.Store(20)
				l.Stage("resized")
				synctest.Wait()
				time.Sleep(time.Second)
				synctest.Wait()
				if up := fmt.Sprintf("\x1b[%dA\r", rows); !strings.Contains(strings.Join(w.writes, ""), up) {
					t.Errorf("wrapped to %d rows, the picture is not redrawn from its first", rows)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// picture takes the steering of one drawing away.
func picture(s string) string {
	return regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]|\r`).ReplaceAllString(s, "")
}

// TestLiveHostile gives every text that can come from a target something that would steer.
func TestLiveHostile(t *testing.T) {
	for _, tty := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var w tape
			l := reports.NewLive(&w, reports.LiveOptions{TTY: tty})
			b := begin()
			b.Arm, b.Nodes = hostile, []string{hostile}
			l.Note(hostile)
			l.Trial(b)
			l.Stage(hostile)
			l.Started(time.Now())
			l.Hold(record.Hold{Rate: 20})
			l.Hold(record.Hold{Rate: 20, Answer: hostile, Why: hostile})
			l.Event(record.Event{Kind: hostile, Node: hostile, Fault: hostile, Detail: hostile})
			l.Bin(record.Bin{Due: 1, Cells: []record.Cell{{Node: hostile, Class: record.Wrong, Count: 1}}, Tried: map[string]uint64{hostile: 1}})
			l.Done([]string{hostile}, nil)
			synctest.Wait()
			time.Sleep(time.Second)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			rest := regexp.MustCompile(`\x1b\[\d*[AJK]\r?`).ReplaceAllString(w.all(), "")
			if i := strings.IndexFunc(rest, func(r rune) bool { return r != '\n' && (r < 0x20 || r == 0x7f || r == 0x202e || r == 0x9b) }); i >= 0 {
				t.Errorf("tty %v: steering reached the terminal: %q", tty, rest[i:min(i+40, len(rest))])
			}
		})
	}
}

// TestLiveNeverBlocks gives the view a terminal that was stopped.
func TestLiveNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := reports.NewLive(w, reports.LiveOptions{})
		begun := time.Now()
		l.Trial(begin())
		for i := range 5000 {
			l.Event(record.Event{Kind: fmt.Sprint(i)})
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("5000 events to a stopped terminal took %v", d)
		}
		if err := l.Close(); err == nil {
			t.Error("Close says nothing of a terminal that does not read")
		}
		var b bytes.Buffer
		go func() { _, _ = io.Copy(&b, r) }()
		synctest.Wait()
		if !strings.Contains(b.String(), "lines left out") {
			t.Errorf("nobody tells of the lines that were left out: %.200s", b.String())
		}
		_ = w.Close()
	})
}
