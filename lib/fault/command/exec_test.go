package command_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/command"
	"github.com/tutti-bench/tutti/lib/target"
)

// shell is a cluster that runs a few commands: each word does what it says.
type shell struct {
	mu  sync.Mutex
	ran []string
}

func (*shell) Nodes() []target.Node { return nil }
func (*shell) Attach(context.Context, ...string) (*target.Process, error) {
	return nil, errors.New("not in this test")
}
func (*shell) Down(context.Context) error { return nil }

func (s *shell) Exec(ctx context.Context, n target.Node, words []string) (target.Executed, error) {
	line := strings.Join(words, " ")
	s.mu.Lock()
	s.ran = append(s.ran, n.Name+" "+line)
	s.mu.Unlock()
	e := target.Executed{From: time.Now(), Output: "OK \x1b[31m" + n.Name + "\nmore\n"}
	var err error
	switch words[0] {
	case "sleep":
		d, _ := time.ParseDuration(words[1])
		select {
		case <-time.After(d):
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if len(words) > 2 {
			e.Code = 3
		}
	case "fail":
		e.Code, e.Output = 7, strings.Repeat("x", 5000)+"\x1b[31mé out of coolant\n"
	case "none":
		err = errors.New("no such file")
	}
	e.To = time.Now()
	return e, err
}

func inject(t *testing.T, ctx context.Context, s *shell, p fault.Params) ([]target.Effect, fault.Revert, error) { //nolint:revive // t first
	t.Helper()
	f, err := command.ExecKind().New(p)
	if err != nil {
		t.Fatal(err)
	}
	return f.Inject(ctx, &fault.Site{Cluster: s}, []target.Node{{Name: "app-1"}, {Name: "app-2"}})
}

func words(line string) []string { return strings.Fields(line) }

func TestExec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shell{}
		began := time.Now()
		effects, revert, err := inject(t, t.Context(), s, fault.Params{"command": words("sleep 2s"), "undo": words("mend")})
		if err != nil || len(effects) != 2 || time.Since(began) != 2*time.Second {
			t.Fatalf("%+v after %v: %v", effects, time.Since(began), err)
		}
		if e := effects[1]; e.Node.Name != "app-2" || e.From != began || e.To != time.Now() || e.Proof != "exit code 0: OK [31mapp-2" {
			t.Errorf("effect %+v", e)
		}
		for range 2 {
			back, err := revert(t.Context())
			if err != nil || len(back) != 2 || !strings.HasPrefix(back[0].Proof, "exit code 0") {
				t.Errorf("undone: %+v, %v", back, err)
			}
		}
		if len(s.ran) != 4 {
			t.Errorf("ran %q", s.ran)
		}
	})
}

// Without an undo there is nothing to do but to say when.
func TestExecWithoutUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shell{}
		_, revert, err := inject(t, t.Context(), s, fault.Params{"command": words("true")})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		back, err := revert(t.Context())
		if err != nil || len(back) != 2 || back[0].To != time.Now() || len(s.ran) != 2 {
			t.Errorf("%+v, %q, %v", back, s.ran, err)
		}
	})
}

// Where no driver tells when, it is told on the engine's clock, which may not be ours.
func TestExecClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := func(at time.Time) time.Time { return at.Add(time.Hour) }
		f, err := command.ExecKind().New(fault.Params{"command": words("sleep 20s")})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		effects, revert, err := f.Inject(t.Context(), &fault.Site{Cluster: &shell{}, Engine: ahead}, []target.Node{{Name: "app-1"}})
		if err != nil || len(effects) != 1 {
			t.Fatalf("%+v, %v", effects, err)
		}
		if e := effects[0]; e.From != ahead(began) || e.To != ahead(time.Now()) || !strings.Contains(e.Proof, "after 10s") {
			t.Errorf("effect %+v", e)
		}
		back, err := revert(t.Context())
		if err != nil || len(back) != 1 || back[0].From != ahead(time.Now()) || back[0].To != ahead(time.Now()) {
			t.Errorf("undone: %+v, %v", back, err)
		}
	})
}

// What fails says why, in safe text and not too much of it.
func TestExecFails(t *testing.T) {
	_, revert, err := inject(t, t.Context(), &shell{}, fault.Params{"command": words("fail")})
	if revert == nil {
		t.Error("there is no way back")
	}
	for _, want := range []string{"app-1: the command ended with exit code 7", "app-2: ", "é out of coolant"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 2500 {
		t.Errorf("%d bytes: %q", len(err.Error()), err)
	}
	if _, _, err := inject(t, t.Context(), &shell{}, fault.Params{"command": words("none")}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a command that is not there: %v", err)
	}
	_, revert, err = inject(t, t.Context(), &shell{}, fault.Params{"command": words("true"), "undo": words("fail")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := revert(t.Context()); err == nil || !strings.Contains(err.Error(), "app-1: its undo ended with exit code 7") {
		t.Errorf("an undo that fails: %v", err)
	}
	if _, err := command.ExecKind().New(nil); err == nil || !strings.Contains(err.Error(), "command") {
		t.Errorf("without a command: %v", err)
	}
}

// A command that goes on counts as begun after 10 s. When it is undone it is waited for no more; if it has failed by then,
// that is said once.
func TestExecGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for held, says := range map[time.Duration]string{time.Second: "", 20 * time.Second: "exit code 3"} {
			s := &shell{}
			began := time.Now()
			effects, revert, err := inject(t, t.Context(), s, fault.Params{"command": words("sleep 20s badly"), "undo": words("mend")})
			if err != nil || time.Since(began) != 10*time.Second {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			if e := effects[0]; !strings.Contains(e.Proof, "still running after 10s") || e.From != began || e.To != time.Now() {
				t.Errorf("effect %+v", e)
			}
			time.Sleep(held)
			before := time.Now()
			_, err = revert(t.Context())
			if (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) || time.Now() != before {
				t.Errorf("undone %v later after %v: %v", held, time.Since(before), err)
			}
			if _, err := revert(t.Context()); err != nil {
				t.Errorf("undone twice: %v", err)
			}
			if len(s.ran) != 4 {
				t.Errorf("ran %q", s.ran)
			}
		}
	})
}

// One that is given up is undone all the same.
func TestExecCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shell{}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		_, revert, err := inject(t, ctx, s, fault.Params{"command": words("sleep 20s"), "undo": words("mend")})
		if err == nil || !strings.Contains(err.Error(), "enough") {
			t.Errorf("error %v", err)
		}
		if _, err := revert(t.Context()); err != nil || len(s.ran) != 4 {
			t.Errorf("undone with %q: %v", s.ran, err)
		}
	})
}
