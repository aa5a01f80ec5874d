package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/linear"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
	"github.com/tutti-bench/tutti/lib/schedule"
	"github.com/tutti-bench/tutti/targets/web"
)

// A keeper is a store of which the test says what it does with each write, counted from 1, and with each read of it.
type keeper struct {
	write func(n int) (status int, kept string)
	read  func(n, try int) int // a status to answer instead; 0: what was kept
	delay time.Duration        // of each read

	mu    sync.Mutex
	order map[string]int
	kept  map[string]string
	tries map[string]int
	open  int
	most  int
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/kv/")
	b, _ := io.ReadAll(r.Body)
	if r.Method == http.MethodGet && k.delay > 0 {
		k.count(1)
		time.Sleep(k.delay)
		k.count(-1)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Method == http.MethodPut {
		k.order[key] = len(k.order) + 1
		status, kept := http.StatusNoContent, string(b)
		if k.write != nil {
			status, kept = k.write(k.order[key])
			kept = strings.ReplaceAll(kept, "V", string(b))
		}
		if kept != "" {
			k.kept[key] = kept
		}
		w.WriteHeader(status)
		return
	}
	k.tries[key]++
	if k.read != nil {
		if status := k.read(k.order[key], k.tries[key]); status != 0 {
			http.Error(w, "not <b>now</b>", status)
			return
		}
	}
	v, ok := k.kept[key]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, "it is %s.", v)
}

func (k *keeper) count(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open += n
	k.most = max(k.most, k.open)
}

// verified writes 200 times and reads back.
func verified(t *testing.T, k *keeper, within time.Duration, problem string) record.Writes {
	t.Helper()
	k.order, k.kept, k.tries = make(map[string]int), make(map[string]string), make(map[string]int)
	s := httptest.NewServer(k)
	t.Cleanup(s.Close)
	c := dial(t, start(t, "good"))
	if _, err := c.Load(t.Context(), writing(s.URL, within), func(time.Time) {}, func(record.Bin) {}); err != nil {
		t.Fatal(err)
	}
	w, _, err := c.Verify(t.Context(), problem, func(agent.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	checkClose(t, c)
	if len(w) != 1 || w[0].Of != "write" || w[0].Within != within {
		t.Fatalf("%+v", w)
	}
	if got := w[0]; problem == "" && got.Kept+got.Lost+got.Unread != got.Acknowledged {
		t.Errorf("acknowledged ones are not kept, lost or unread: %+v", got)
	}
	return w[0]
}

func writing(url string, within time.Duration) load.Plan {
	return load.Plan{
		Schedule: schedule.Constant(400, 0, 500*time.Millisecond), Timeout: time.Second, Ingress: url, Connections: 500, Seed: 7,
		Requests: []load.Request{{Name: "write", Method: "PUT", Path: "/kv/{{.Key}}", Body: "{{.Value}}"}},
		Verify:   []load.Verify{{Of: "write", Read: load.Request{Method: "GET", Path: "/kv/{{.Key}}"}, Want: " {{.Value}}", Within: within}},
	}
}

func TestVerify(t *testing.T) {
	t.Run("all there", func(t *testing.T) {
		w := verified(t, &keeper{}, time.Minute, "")
		if w.Acknowledged != 200 || w.Kept != 200 || w.Reads != 200 || w.Lacks != nil || w.Took > 10*time.Second {
			t.Errorf("%+v", w)
		}
	})
	t.Run("every tenth lost, or something else", func(t *testing.T) {
		w := verified(t, &keeper{write: func(n int) (int, string) {
			switch n % 20 {
			case 0:
				return 204, ""
			case 10:
				return 204, "x"
			}
			return 204, "V"
		}}, time.Second, "")
		if w.Kept != 180 || w.Lost != 20 || len(w.Lacks) != record.MaxLacks || w.First >= w.Last || w.Reads < 220 {
			t.Errorf("%+v", w)
		}
		for i, l := range w.Lacks {
			if !l.Lost || l.Read != "/kv/"+load.Key(7, l.Seq) || !strings.HasPrefix(l.Got, "404 ") && l.Got != "200 it is x." || i > 0 && l.Seq <= w.Lacks[i-1].Seq {
				t.Errorf("%+v", l)
			}
		}
	})
	t.Run("there after a while", func(t *testing.T) {
		w := verified(t, &keeper{read: func(n, try int) int {
			if try < 3 {
				return []int{404, 503}[n%2]
			}
			return 0
		}}, time.Minute, "")
		if w.Kept != 200 || w.Reads != 600 || w.Lacks != nil {
			t.Errorf("%+v", w)
		}
	})
	t.Run("nobody can say of half of them", func(t *testing.T) {
		w := verified(t, &keeper{read: func(n, _ int) int { return []int{0, 503}[n%2] }}, time.Second, "")
		if w.Kept != 100 || w.Lost != 0 || w.Unread != 100 || w.Lacks[0].Lost || w.Lacks[0].Got != "503 not <b>now</b>" {
			t.Errorf("%+v", w)
		}
	})
	t.Run("not there, and then nobody can say", func(t *testing.T) {
		w := verified(t, &keeper{read: func(_, try int) int { return []int{404, 500}[min(try-1, 1)] }}, time.Second, "")
		if w.Lost != 0 || w.Unread != 200 {
			t.Errorf("%+v", w)
		}
	})
	t.Run("uncertain, and twice", func(t *testing.T) {
		w := verified(t, &keeper{write: func(n int) (int, string) {
			switch n % 10 {
			case 0:
				return 500, "V"
			case 1:
				return 500, ""
			case 2:
				return 204, "V V"
			case 3:
				return 500, "V V"
			}
			return 204, "V"
		}}, time.Minute, "")
		if w.Acknowledged != 140 || w.Kept != 140 || w.Uncertain != 60 || w.Found != 40 || w.Duplicated != 40 || w.Reads != 200 {
			t.Errorf("%+v", w)
		}
	})
	t.Run("counted alone", func(t *testing.T) {
		w := verified(t, &keeper{}, time.Minute, "it is down")
		if w.Acknowledged != 200 || w.Unread != 200 || w.Reads != 0 || w.Problem != "it is down" || w.Lacks != nil {
			t.Errorf("%+v", w)
		}
	})
	t.Run("slow answers bound how much is asked at once", func(t *testing.T) {
		k := &keeper{delay: 50 * time.Millisecond}
		if w := verified(t, k, time.Minute, ""); w.Kept != 200 || k.most > load.ReadsOpen || k.most < 2 {
			t.Errorf("%d at once: %+v", k.most, w)
		}
	})
}

// What a step of a session wrote has the key and the value of its client, whichever number it had.
func TestVerifySteps(t *testing.T) {
	k := &keeper{order: make(map[string]int), kept: make(map[string]string), tries: make(map[string]int)}
	k.write = func(n int) (int, string) { return 204, []string{"V", ""}[n%5/4] }
	s := httptest.NewServer(k)
	defer s.Close()
	p := writing(s.URL, time.Second)
	p.Requests = []load.Request{
		{Name: "look", Method: "GET", Path: "/kv/none", Expect: load.Expect{Status: []int{404}}},
		p.Requests[0],
		{Name: "again", Method: "GET", Path: "/kv/{{.Key}}", Expect: load.Expect{Status: []int{200, 404}}},
		{Name: "alone", Method: "GET", Path: "/kv/none", Expect: load.Expect{Status: []int{404}}},
	}
	p.Sessions = []load.Session{{Name: "s", First: 0, Steps: 3, Think: 50 * time.Millisecond}}
	c := dial(t, start(t, "good"))
	if _, err := c.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err != nil {
		t.Fatal(err)
	}
	w, _, err := c.Verify(t.Context(), "", func(agent.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	written := uint64(len(k.order))
	if len(w) != 1 || w[0].Acknowledged != written || w[0].Lost != (written+1)/5 || w[0].Kept != written-w[0].Lost || written < 30 {
		t.Errorf("%d writes: %+v", written, w)
	}
	if got := p.Share(1); got != 0.25 {
		t.Errorf("a step's share is %v, want a quarter", got)
	}
	checkClose(t, c)
}

// Of writes that share a key the last one is looked for, and everything that happened to the keys comes back.
func TestVerifyKeys(t *testing.T) {
	for name, c := range map[string]struct {
		write func(n int) (int, string)
		lost  uint64
	}{
		"all kept":          {nil, 0},
		"none is kept":      {func(int) (int, string) { return 204, "" }, 10},
		"something else is": {func(int) (int, string) { return 204, "v0123456789abcdef" }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{order: make(map[string]int), kept: make(map[string]string), tries: make(map[string]int), write: c.write}
			s := httptest.NewServer(k)
			defer s.Close()
			p := writing(s.URL, time.Second)
			p.Keys = 10
			p.Requests = append(p.Requests, load.Request{Name: "read", Method: "GET", Path: "/kv/{{.Key}}", Expect: load.Expect{Status: []int{200, 404}}})
			a := dial(t, start(t, "good"))
			if _, err := a.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err != nil {
				t.Fatal(err)
			}
			w, histories, err := a.Verify(t.Context(), "", func(agent.Progress) {})
			if err != nil || len(w) != 1 || len(histories) != 10 {
				t.Fatalf("%+v, %d histories, %v", w, len(histories), err)
			}
			if w[0].Lost != c.lost || w[0].Kept+w[0].Lost != w[0].Acknowledged || w[0].Acknowledged < 60 {
				t.Errorf("%+v, want %d keys lost", w[0], c.lost)
			}
			writes, reads := uint64(0), uint64(0)
			for i, h := range histories {
				if h.Of != "write" || h.Key != uint64(i) || h.Cut {
					t.Errorf("history %d is of %s, key %d", i, h.Of, h.Key)
				}
				for j, o := range h.Ops {
					if o.End < o.Start || j > 0 && o.Start < h.Ops[j-1].Start {
						t.Errorf("key %d: %+v", h.Key, o)
					}
					if !o.Write {
						reads++
						continue
					}
					if writes++; load.KeyOf(p.Seed, o.Value-1, 10) != h.Key {
						t.Errorf("key %d has the write of number %d", h.Key, o.Value-1)
					}
				}
			}
			if writes != w[0].Acknowledged || writes+reads != 200 {
				t.Errorf("%d writes and %d reads of 200", writes, reads)
			}
			checkClose(t, a)
		})
	}
}

// What cannot be read back is said at once, and reading is broken off when nobody waits for it any more.
func TestVerifyBrokenOff(t *testing.T) {
	k := &keeper{order: make(map[string]int), kept: make(map[string]string), tries: make(map[string]int), write: func(int) (int, string) { return 204, "" }}
	s := httptest.NewServer(k)
	defer s.Close()
	c := dial(t, start(t, "good"))
	verify := func(ctx context.Context) error {
		_, _, err := c.Verify(ctx, "", func(agent.Progress) {})
		return err
	}
	if err := verify(t.Context()); err == nil || !strings.Contains(err.Error(), "no load") {
		t.Errorf("before any load: %v", err)
	}
	if _, err := c.Load(t.Context(), writing(s.URL, time.Hour), func(time.Time) {}, func(record.Bin) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	told := 0
	_, _, err := c.Verify(ctx, "", func(p agent.Progress) {
		if told++; p.Of != 200 || p.Done != 0 {
			t.Errorf("%+v", p)
		}
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("broken off: %v", err)
	}
	if err := c.Probe(t.Context(), agent.Probe{URL: s.URL}); err != nil {
		t.Errorf("the agent is of no more use: %v", err)
	}
	checkClose(t, c)
}

// What the agent keeps of a true store is in order; of a copy that lags behind it is not, though what is written last is there in the end.
func TestHistoriesOfStores(t *testing.T) {
	for name, c := range map[string]struct {
		node *web.Node
		good bool
	}{
		"true":   {&web.Node{Store: "memory", Jitter: 3 * time.Millisecond}, true},
		"behind": {&web.Node{Store: "memory", StoreStale: 300 * time.Millisecond}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error)
			node := c.node
			node.Name, node.Drain = "app-1", 5*time.Second
			go func() { ended <- node.Serve(ctx, l) }()
			p := writing("http://"+l.Addr().String(), 3*time.Second)
			p.Keys, p.Schedule.Stages[0].For = 10, 1500*time.Millisecond
			p.Verify[0].Want, p.Verify[0].Whole = "{{.Value}}", true
			p.Requests = append(p.Requests, load.Request{Name: "read", Method: "GET", Path: "/kv/{{.Key}}", Expect: load.Expect{Status: []int{200, 404}}})
			a := dial(t, start(t, "good"))
			if _, err := a.Load(t.Context(), p, func(time.Time) {}, func(record.Bin) {}); err != nil {
				t.Fatal(err)
			}
			w, histories, err := a.Verify(t.Context(), "", func(agent.Progress) {})
			if err != nil {
				t.Fatal(err)
			}
			checkClose(t, a)
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			found := linear.Judge(histories)
			if w[0].Lost != 0 || w[0].Unread != 0 || found.Keys != 10 || found.Unknown != 0 || found.Reads < 200 {
				t.Errorf("%+v, %+v", w[0], found)
			}
			if c.good && (found.Linearizable != 10 || found.Stale != 0) || !c.good && (found.Violated < 8 || found.Stale < 50 || len(found.Bad) == 0) {
				t.Errorf("%+v", found)
			}
		})
	}
}
