package scenario_test

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

func TestSessions(t *testing.T) {
	s := parse(t, "testdata/valid/sessions.yaml")
	checkWhole(t, s)
	checkEqual(t, "sessions", s.Load.Sessions, []load.Session{
		{Name: "order", First: 1, Steps: 4, Weight: 0.5, Think: 500 * time.Millisecond},
		{Name: "session-2", First: 5, Steps: 2, Weight: 1, Think: time.Second},
	})
	var names []string
	for _, r := range s.Load.Requests {
		names = append(names, r.Name)
	}
	checkEqual(t, "requests, the steps among them", names, []string{
		"GET /", "login", "cart", "checkout", "GET /shop{{.Captured.where}}", "GET /about", "HEAD /about{{with .Env.TENANT}}/{{.}}{{end}}",
	})
	for i, want := range [][]load.Capture{
		1: {{Name: "csrf", Match: `name="csrf" value="([^"]+)"`}, {Name: "user", JSON: "$.user.id"}},
		2: {{Name: "item", JSON: "$.items[0]['item id']", Match: "^i-([0-9]+)$"}, {Name: "csrf", Header: "X-CSRF"}},
		3: {{Name: "where", Header: "Location", Match: "/orders/[a-z0-9]+"}},
		6: nil,
	} {
		checkEqual(t, names[i]+" captures", s.Load.Requests[i].Capture, want)
	}
}
