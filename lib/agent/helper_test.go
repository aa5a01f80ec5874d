package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/target"
)

// desk is a worker that remembers what it was told.
type desk struct {
	mu     sync.Mutex
	armed  []string
	parts  agent.Parts
	closed int
}

func (d *desk) Arm(_ context.Context, name string, part json.RawMessage) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if string(part) == `"bad"` {
		return errors.New("this cannot work")
	}
	d.armed = append(d.armed, name)
	return nil
}

func (d *desk) Set(ctx context.Context, parts agent.Parts) (agent.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := parts["slow"]; ok {
		<-ctx.Done()
		return agent.Outcome{}, context.Cause(ctx)
	}
	o := agent.Outcome{From: time.Now(), Ended: agent.Parts{}}
	for name, p := range d.parts {
		if _, ok := parts[name]; !ok {
			o.Ended[name] = p
		}
	}
	d.parts = parts
	o.To = time.Now()
	return o, nil
}

func (d *desk) Read(context.Context) (agent.Parts, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.parts, nil
}

func (d *desk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

// helper runs a worker behind pipes, as a driver would start it.
func helper(t *testing.T, d *desk, age time.Duration) *target.Process {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := agent.Help(ctx, inR, outW, d, age)
		_ = outW.Close()
		_ = inR.Close()
		ended <- err
	}()
	return &target.Process{Stdin: inW, Stdout: outR, Kill: cancel, Wait: sync.OnceValue(func() error { return <-ended })}
}

func dialled(t *testing.T, p *target.Process) *agent.Helper {
	t.Helper()
	h, err := agent.DialHelper(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// The wire carries parts there and what they delivered back; the end of the stream ends all of it.
func TestHelper(t *testing.T) {
	d := &desk{}
	h := dialled(t, helper(t, d, time.Minute))
	if err := h.Arm(t.Context(), "cut", raw(`{"x":1}`)); err != nil || len(d.armed) != 1 {
		t.Fatalf("armed %v: %v", d.armed, err)
	}
	if err := h.Arm(t.Context(), "cut", raw(`"bad"`)); err == nil || !strings.Contains(err.Error(), "this cannot work") {
		t.Errorf("a part that cannot work: %v", err)
	}
	o, err := h.Set(t.Context(), agent.Parts{"cut": raw(`1`), "slowly": raw(`2`)})
	if err != nil || o.To.Before(o.From) || len(o.Ended) != 0 {
		t.Fatalf("outcome %+v: %v", o, err)
	}
	got, err := h.Read(t.Context())
	if err != nil || string(got["cut"]) != "1" || string(got["slowly"]) != "2" {
		t.Fatalf("read %v: %v", got, err)
	}
	o, err = h.Set(t.Context(), agent.Parts{"slowly": raw(`2`)})
	if err != nil || len(o.Ended) != 1 || string(o.Ended["cut"]) != "1" {
		t.Fatalf("outcome %+v: %v", o, err)
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if d.closed != 1 {
		t.Errorf("the worker was closed %d times", d.closed)
	}
	if _, err := h.Set(t.Context(), nil); err == nil {
		t.Error("a helper that has ended took a command")
	}
}

// Whatever the harness does, a helper ends when its age is over, and its worker undoes its work.
func TestHelperAge(t *testing.T) {
	d := &desk{}
	h := dialled(t, helper(t, d, 50*time.Millisecond))
	select {
	case <-h.Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("it lives for ever")
	}
	if err := h.Close(); err == nil || !strings.Contains(err.Error(), "older than 50ms") {
		t.Errorf("error %v", err)
	}
	if d.closed != 1 {
		t.Errorf("the worker was closed %d times", d.closed)
	}
}

// Who gives up waiting leaves the wire usable, and a late answer is not taken for the next one's.
func TestHelperGivenUp(t *testing.T) {
	h := dialled(t, helper(t, &desk{}, 300*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.Set(ctx, agent.Parts{"slow": raw(`1`)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if parts, err := h.Read(t.Context()); err == nil && len(parts) > 0 {
		t.Errorf("read %v", parts)
	}
	_ = h.Close()
}

// The end of the stream ends what is under way, long before the helper is old.
func TestHelperHangsUp(t *testing.T) {
	d := &desk{}
	p := helper(t, d, time.Hour)
	h := dialled(t, p)
	said := make(chan error, 1)
	go func() {
		_, err := h.Set(t.Context(), agent.Parts{"slow": raw(`1`)})
		said <- err
	}()
	for d.mu.TryLock() { // until the worker is at it
		d.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	if err := p.Stdin.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Gone():
	case <-time.After(10 * time.Second):
		p.Kill()
		t.Fatal("it goes on")
	}
	if err := <-said; err == nil {
		t.Error("what was cut short is said to be done")
	}
	if err := h.Close(); err != nil || d.closed != 1 {
		t.Errorf("the worker was closed %d times: %v", d.closed, err)
	}
}

// A process that is no helper is refused.
func TestHelperStranger(t *testing.T) {
	outR, outW := io.Pipe()
	inR, inW := io.Pipe()
	go func() { _, _ = io.Copy(io.Discard, inR) }()
	go func() {
		_, _ = io.WriteString(outW, "hello?\n")
		_ = outW.Close()
	}()
	_, err := agent.DialHelper(t.Context(), &target.Process{Stdin: inW, Stdout: outR, Kill: func() {}, Wait: func() error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "not understood") {
		t.Errorf("error %v", err)
	}
}
