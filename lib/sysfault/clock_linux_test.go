package sysfault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/tutti-bench/tutti/lib/sysfault/task"
	"golang.org/x/sys/unix"
)

// near is how exact the tests look at clocks of another process: the machine may be busy.
const near = 2 * time.Second

// ask asks a child for its clocks, and says how wrong the first is and what the second says.
func (c *child) ask(t *testing.T) (skew, mono time.Duration) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, "now"); err != nil {
		t.Fatal(err)
	}
	var wall, since int64
	if _, err := fmt.Sscan(c.line(t), &wall, &since); err != nil {
		t.Fatal(err)
	}
	return time.Until(time.Unix(0, wall)), time.Duration(since)
}

func (c *child) wants(t *testing.T, skew time.Duration) {
	t.Helper()
	if got, _ := c.ask(t); (got - skew).Abs() > near {
		t.Errorf("the clock is wrong by %v, want %v", got, skew)
	}
}

func needsClock(t *testing.T) {
	t.Helper()
	needsRoot(t)
	if _, err := NewClock(); err != nil {
		t.Skip(err)
	}
}

func skew(d time.Duration) task.Skew { return task.Skew{Offset: d} }

// The clock of a static program is wrong while a part says so, ahead or behind, by the sum of all parts; the monotonic one goes on.
func TestClock(t *testing.T) {
	needsClock(t)
	node := nodeKey + "=" + t.Name()
	c := start(t, "time", node)
	c.line(t)
	h := help(t, task.Clock, node)
	_, before := c.ask(t)
	h.set(t, map[string]any{"ahead": skew(time.Hour)})
	c.wants(t, time.Hour)
	h.set(t, map[string]any{"ahead": skew(time.Hour), "behind": skew(-2*time.Hour - 300*time.Millisecond)})
	c.wants(t, -time.Hour)
	r := read[task.Skewed](t, h, "behind")
	if r.Processes != 1 || len(r.Missed) > 0 || (r.Seen-r.Asked).Abs() > near || r.Asked != -time.Hour-300*time.Millisecond {
		t.Errorf("report %+v", r)
	}
	t.Logf("asked %v, seen %v (off by %v), stood still for %v", r.Asked, r.Seen, r.Seen-r.Asked, r.Stopped)
	out := h.set(t, map[string]any{"ahead": skew(time.Hour)})
	c.wants(t, time.Hour)
	if r := report[task.Skewed](t, out.Ended, "behind"); r.Processes != 1 {
		t.Errorf("report of what has ended %+v", r)
	}
	_, after := c.ask(t)
	if after <= before || after-before > time.Minute {
		t.Errorf("the monotonic clock went from %v to %v", before, after)
	}
	for range 2 {
		h.set(t, nil)
		c.wants(t, 0)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	c.wants(t, 0)
}

// A program that is started while the clock is wrong gets it soon, and a helper's end gives all of them their time back.
func TestClockOfLaterPrograms(t *testing.T) {
	needsClock(t)
	node := nodeKey + "=" + t.Name()
	c := start(t, "time", node)
	c.line(t)
	h := help(t, task.Clock, node)
	h.set(t, map[string]any{"clock": skew(time.Hour)})
	if _, err := fmt.Fprintln(c.in, "fork"); err != nil {
		t.Fatal(err)
	}
	if l := c.line(t); l != "ready" {
		t.Fatalf("the new program says %q", l)
	}
	eventually(t, "the new program's clock is wrong too", func() bool {
		got, _ := c.ask(t)
		return (got - time.Hour).Abs() < near
	})
	if r := read[task.Skewed](t, h, "clock"); r.Processes < 2 {
		t.Errorf("report %+v", r)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	c.wants(t, 0)
}

// What a helper has left that was killed, another one undoes, or makes its own.
func TestClockAfterAKilledHelper(t *testing.T) {
	needsClock(t)
	node := nodeKey + "=" + t.Name()
	c := start(t, "time", node)
	c.line(t)
	for _, last := range []func(h *helper) error{
		func(h *helper) error { return h.Close() },
		func(h *helper) error { _, err := h.Set(t.Context(), nil); return err },
		func(h *helper) error {
			h.set(t, map[string]any{"other": skew(time.Minute)})
			c.wants(t, time.Minute)
			return h.Close()
		},
	} {
		h := help(t, task.Clock, node)
		h.set(t, map[string]any{"clock": skew(time.Hour)})
		if err := h.process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-h.Gone()
		c.wants(t, time.Hour)
		if err := last(help(t, task.Clock, node)); err != nil {
			t.Fatal(err)
		}
		c.wants(t, 0)
	}
}

// A node that dies, or is not there, is told of.
func TestClockOfADeadNode(t *testing.T) {
	needsClock(t)
	node := nodeKey + "=" + t.Name()
	h := help(t, task.Clock, node)
	if _, err := h.Set(t.Context(), parts(t, map[string]any{"clock": skew(time.Hour)})); err == nil || !strings.Contains(err.Error(), "no process") {
		t.Errorf("error %v", err)
	}
	c := start(t, "time", node)
	c.line(t)
	h.set(t, map[string]any{"clock": skew(time.Hour)})
	_ = c.Process.Kill()
	_ = c.wait()
	h.set(t, nil)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// One that stands still already cannot be waited for for ever, and one that is busy reading clocks survives any change.
func TestClockOfABusyProgram(t *testing.T) {
	needsClock(t)
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc: ", err)
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "busy.c"), filepath.Join(dir, "busy")
	if err := os.WriteFile(source, []byte(busyC), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-O1", "-pthread", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	node := nodeKey + "=" + t.Name()
	c := run(t, program, node)
	if l := c.line(t); l != "ready" {
		t.Fatal(l)
	}
	h := help(t, task.Clock, node)
	for i := range 5 {
		h.set(t, map[string]any{"clock": skew(time.Duration(i+1) * -time.Hour)})
		if i%2 == 1 {
			h.set(t, nil)
		}
	}
	h.set(t, map[string]any{"clock": skew(-90 * time.Minute)})
	// Its three ways to ask agree, and the monotonic clock does not go back.
	if _, err := fmt.Fprint(c.in, "x"); err != nil {
		t.Fatal(err)
	}
	var byNS, byUS, byS, raw, back int64
	if _, err := fmt.Sscan(c.line(t), &byNS, &byUS, &byS, &raw, &back); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]int64{"clock_gettime": byNS - raw, "gettimeofday": byUS - raw, "time": byS - raw} {
		if want := int64(-90 * 60); got < want-2 || got > want+2 {
			t.Errorf("%s is wrong by %d s, want %d", name, got, want)
		}
	}
	if back != 0 {
		t.Errorf("the monotonic clock went back %d times", back)
	}
	r := read[task.Skewed](t, h, "clock")
	if len(r.Missed) > 0 {
		t.Errorf("missed %v", r.Missed)
	}
	t.Logf("it stood still for %v", r.Stopped)
	if err := c.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("it has died: ", err)
	}
}

// busyC reads clocks from several threads, under signals that come at any time.
const busyC = `
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long back;
static void tick(int s) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); }
static void *spin(void *x) {
	struct timespec was = {0}, t; struct timeval v;
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		if (t.tv_sec < was.tv_sec) __sync_add_and_fetch(&back, 1);
		was = t;
		clock_gettime(CLOCK_REALTIME, &t);
		if (t.tv_nsec < 0 || t.tv_nsec >= 1000000000) abort();
		gettimeofday(&v, 0);
		if (v.tv_usec < 0 || v.tv_usec >= 1000000) abort();
		time(0);
	}
}
int main(void) {
	signal(SIGALRM, tick);
	struct itimerval every = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_REAL, &every, 0);
	for (int i = 0; i < 3; i++) { pthread_t p; pthread_create(&p, 0, spin, 0); }
	puts("ready"); fflush(stdout);
	while (getchar() == 'x') {
		struct timespec a, r; struct timeval b;
		clock_gettime(CLOCK_REALTIME, &a); gettimeofday(&b, 0); time_t c = time(0);
		syscall(SYS_clock_gettime, CLOCK_REALTIME, &r);
		printf("%ld %ld %ld %ld %ld\n", (long)a.tv_sec, (long)b.tv_sec, (long)c, (long)r.tv_sec, back); fflush(stdout);
	}
}
`

// The stubs add what they should, whatever the fractions are, and to wall clocks alone.
func TestStubs(t *testing.T) {
	i, err := processor()
	if err != nil {
		t.Skip(err)
	}
	for _, skew := range []time.Duration{time.Hour, -time.Hour, time.Hour + 999999999, -1, -time.Hour - 999999999, 1500 * time.Millisecond} {
		call, free := loaded(t, i.stubs[0], skew)
		for id, wrong := range map[uintptr]bool{unix.CLOCK_REALTIME: true, unix.CLOCK_REALTIME_COARSE: true, unix.CLOCK_MONOTONIC: false, unix.CLOCK_BOOTTIME: false} {
			var got, want unix.Timespec
			if err := unix.ClockGettime(int32(id), &want); err != nil {
				t.Fatal(err)
			}
			if e := call(id, unsafe.Pointer(&got)); e != 0 {
				t.Fatalf("clock %d: error %d", id, e)
			}
			off := time.Duration(got.Nano() - want.Nano())
			if wrong {
				off -= skew
			}
			if off < -10*time.Millisecond || off > near || got.Nsec < 0 || got.Nsec >= 1e9 {
				t.Errorf("clock %d, skew %v: off by %v (%+v)", id, skew, off, got)
			}
		}
		var none unix.Timespec
		if e := call(99, unsafe.Pointer(&none)); -int32(e) != int32(unix.EINVAL) || none != (unix.Timespec{}) {
			t.Errorf("an unknown clock: %d, %+v", int32(e), none)
		}
		free()

		call, free = loaded(t, i.stubs[1], skew)
		var v unix.Timeval
		// The first argument is the time here, the second the zone.
		if e := call(uintptr(unsafe.Pointer(&v)), nil); e != 0 {
			t.Fatalf("gettimeofday: error %d", e)
		}
		if off := time.Until(time.Unix(v.Unix())) - skew; off.Abs() > near || v.Usec < 0 || v.Usec >= 1e6 {
			t.Errorf("gettimeofday, skew %v: off by %v (%+v)", skew, off, v)
		}
		free()
	}
	runtime.KeepAlive(i)
}

// loaded puts a stub where it can be run.
func loaded(t *testing.T, s stub, skew time.Duration) (call func(uintptr, unsafe.Pointer) uintptr, free func()) {
	t.Helper()
	code, err := s.with(skew)
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	copy(at, code)
	if err := unix.Mprotect(at, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		t.Fatal(err)
	}
	return func(a uintptr, b unsafe.Pointer) uintptr { return callC(uintptr(unsafe.Pointer(&at[0])), a, b) },
		func() { _ = unix.Munmap(at) }
}

// Jumps lead where they should: the bytes are those that an assembler makes.
func TestJumps(t *testing.T) {
	for name, c := range map[string]struct {
		i    isa
		n    int64
		want string
	}{
		"amd64":      {amd64(), 0x1000, "e9 fb 0f 00 00"},
		"amd64 back": {amd64(), -0x1000, "e9 fb ef ff ff"},
		"arm64":      {arm64(), 0x1000, "5f 24 03 d5 ff 03 00 14"},
		"arm64 back": {arm64(), -0x1000, "5f 24 03 d5 ff fb ff 17"},
	} {
		got, err := c.i.jump(c.n)
		if err != nil || fmt.Sprintf("% x", got) != c.want {
			t.Errorf("%s: % x, %v; want %s", name, got, err, c.want)
		}
	}
	if _, err := amd64().jump(1 << 40); err == nil {
		t.Error("amd64 jumps anywhere")
	}
	if _, err := arm64().jump(1 << 28); err == nil {
		t.Error("arm64 jumps anywhere")
	}
	for _, i := range []isa{amd64(), arm64()} {
		for _, s := range i.stubs {
			if _, err := s.with(-time.Second / 3); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
}

// A vDSO that somebody else has changed is left alone.
func TestForeignVDSO(t *testing.T) {
	i, err := processor()
	if err != nil {
		t.Skip(err)
	}
	v, err := ownVDSO(i)
	if err != nil {
		t.Skip(err)
	}
	image := append([]byte(nil), v.image...)
	put := func(edits []edit) {
		for _, e := range edits {
			copy(image[e.at:], e.data)
		}
	}
	edits, err := v.edits(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	put(edits[:len(edits)-1]) // a helper was killed halfway
	if state, by, err := v.state(image); state != vdsoSkewed || by != time.Minute || err != nil {
		t.Errorf("half changed: state %d by %v: %v", state, by, err)
	}
	if ok, err := v.whole(image, time.Minute); ok || err != nil {
		t.Errorf("half changed is taken for whole: %v", err)
	}
	put(edits)
	if ok, err := v.whole(image, time.Minute); !ok || err != nil {
		t.Errorf("changed, and not seen: %v", err)
	}
	back, err := v.edits(0)
	if err != nil {
		t.Fatal(err)
	}
	put(back)
	if ok, err := v.whole(image, 0); !ok || err != nil {
		t.Errorf("undone, and not seen: %v", err)
	}
	image[v.entry[i.stubs[0].name]] = 0xcc // a breakpoint
	if state, _, err := v.state(image); state != vdsoForeign || err != nil {
		t.Errorf("a breakpoint: state %d: %v", state, err)
	}
	if state, _, err := v.state(image[:100]); state != vdsoForeign || err != nil {
		t.Errorf("another kind: state %d: %v", state, err)
	}
}
