package slo_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/slo"
)

func atNowhereAll(c slo.Condition) []slo.Comparison {
	var all []slo.Comparison
	for _, one := range c.Comparisons {
		all = append(all, atNowhere(one))
	}
	return all
}

func TestParseCondition(t *testing.T) {
	for text, want := range map[string]string{
		"p99 > 200ms": "p99 > 0.2s",
		" p99 <= 100ms and  availability>=99.9% ":             "p99 <= 0.1s and availability >= 99.9%",
		`error_rate{class="timeout"} > 5%`:                    `error_rate{class="timeout"} > 5%`,
		"2 * p50 > p99 - 5ms and 1 - availability > 1%":       "2 * p50 > p99 - 0.005s and 1 - availability > 1%",
		"worst(1s) < 50% and goodput < 6000/m and balance< 1": "worst(1s) < 50% and goodput < 100/s and balance < 1",
		"(ok_p99)\n  > 1s":                                    "ok_p99 > 1s",
	} {
		c, err := slo.ParseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if c.String() != want || c.Text != strings.TrimSpace(text) {
			t.Errorf("%s: got %s, text %q", text, c, c.Text)
		}
		again, err := slo.ParseCondition(want)
		if err != nil || !reflect.DeepEqual(atNowhereAll(again), atNowhereAll(c)) {
			t.Errorf("%s: its canonical form is another: %v, %v", text, again, err)
		}
		for _, m := range c.Metrics() {
			if m.Arm != "" || !strings.HasPrefix(text[m.Offset:], m.Ref.Metric) {
				t.Errorf("%s: metric %+v", text, m)
			}
		}
	}
}

func TestParseConditionErrors(t *testing.T) {
	for _, c := range []struct{ text, part, msg, nearest string }{
		{"", "", "ends too early", ""},
		{"cluster.p99 > 1s", "cluster", "names no arm", ""},
		{"during.p99 > 1s", "during", "no phases", ""},
		{"cluster.during.p99 > 1s", "during", "no phases", ""},
		{"recovery > 1s", "recovery", "about a fault", ""},
		{`lost_requests{fault="x"} > 1`, "lost_requests", "about a fault", ""},
		{"p99 > 1s and", "d", "ends too early", ""},
		{"p99 > 1s or p50 > 1s", "or", "by and alone", ""},
		{"p99 > 1s && p50 > 1s", "&&", "joins nothing", "and"},
		{"p99 > 1s AND p50 > 1s", "AND", "joins nothing", "and"},
		{"p99 > 1s, p50 > 1s", ",", "joins nothing", "and"},
		{"1s < p99 < 2s", "<", "second comparison", ""},
		{"p99 > 1s p50 > 1s", "p50", "unexpected", ""},
		{"p98 > 1s", "p98", "unknown metric", "p90"},
		{"p99 > 99%", "p99 > 99%", "compared with", ""},
		{"1 > 2", "1 > 2", "nothing is measured", ""},
		{"capacity > 1/s", "capacity", "known only after it", ""},
		{"settling > 1s", "settling", "lacks it", ""},
		{`floor{fault="x"} > 1`, "floor", "about a fault", ""},
		{strings.Repeat("p99 > 1s and ", 100) + "p99 > 1s", strings.Repeat("p99 > 1s and ", 100) + "p99 > 1s", "too long", ""},
	} {
		_, err := slo.ParseCondition(c.text)
		var e *slo.SyntaxError
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want a SyntaxError", c.text, err)
			continue
		}
		if got := c.text[e.Offset : e.Offset+e.Length]; got != c.part || !strings.Contains(e.Error(), c.msg) || e.Nearest != c.nearest {
			t.Errorf("%s: at %q, nearest %q: %v; want %q, %q: %s", c.text, got, e.Nearest, e, c.part, c.nearest, c.msg)
		}
	}
}

// FuzzParseCondition: whatever the text, there is an error inside it, or a condition whose canonical form is the same.
func FuzzParseCondition(f *testing.F) {
	for _, text := range []string{"p99 > 200ms", "p99 <= 100ms and availability >= 99.9%", "a.p99 > 1s", "p99 > 1s and", "1 < p99 < 2", "recovery > 1s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := slo.ParseCondition(text)
		if err != nil {
			var e *slo.SyntaxError
			if !errors.As(err, &e) || e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(text) || e.Msg == "" {
				t.Fatalf("%q: error %#v is outside the text", text, err)
			}
			return
		}
		s := c.String()
		if len(s) > 1000 {
			return // longer than what is read
		}
		again, err := slo.ParseCondition(s)
		if err != nil || !reflect.DeepEqual(atNowhereAll(again), atNowhereAll(c)) {
			t.Fatalf("%q: canonical form %q is another: %v", text, s, err)
		}
	})
}
