package slo_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/analysis"
	"github.com/tutti-bench/tutti/lib/slo"
)

func mustParse(t *testing.T, text string) slo.Comparison {
	t.Helper()
	c, err := slo.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// atNowhere forgets where metrics stand, so that trees can be compared.
func atNowhere(c slo.Comparison) slo.Comparison {
	return c.Map(func(m slo.Metric) slo.Metric {
		m.Offset = 0
		return m
	})
}

// canonical maps what a user may write to the form that String gives it.
var canonical = map[string]string{
	`cluster.availability >= 99%`:                                    `cluster.availability >= 99%`,
	`cluster.availability>=0.99`:                                     `cluster.availability >= 0.99`,
	`2 * single.p99 >= cluster.p99 + 50ms`:                           `2 * single.p99 >= cluster.p99 + 0.05s`,
	`a.goodput / b.goodput >= 0.9`:                                   `a.goodput / b.goodput >= 0.9`,
	`a.p99/b.p99 <= 200%`:                                            `a.p99 / b.p99 <= 200%`,
	`a-b.p99 - a.p99 <= -50ms`:                                       `a-b.p99 - a.p99 <= -0.05s`,
	`a.p99 - (b.p99 - 1ms) < 3us`:                                    `a.p99 - (b.p99 - 0.001s) < 0.000003s`,
	`((a.p99)) == 1µs`:                                               `a.p99 == 0.000001s`,
	`(a.p99 + b.p99) * 2 != 1m`:                                      `(a.p99 + b.p99) * 2 != 60s`,
	`a.goodput > 6000/m`:                                             `a.goodput > 100/s`,
	`300/s * 5s <= a.lost_requests`:                                  `300/s * 5s <= a.lost_requests`,
	`300/s.p99 > 3/s`:                                                `300 / s.p99 > 3/s`,
	`a.lost_requests / 300/s <= 1s`:                                  `a.lost_requests / 300/s <= 1s`,
	`a.availability * 100 >= 99`:                                     `a.availability * 100 >= 99`,
	`1 - a.availability <= 0.1%`:                                     `1 - a.availability <= 0.1%`,
	`5% * a.p99 < 1h`:                                                `5% * a.p99 < 3600s`,
	`a.during.p99{request="GET /"} <= 1s`:                            `a.during.p99{request="GET /"} <= 1s`,
	`a.after.error_rate{ request = "x" , class = "timeout" } <= .1%`: `a.after.error_rate{class="timeout", request="x"} <= 0.1%`,
	`a.available_windows( 1s,99.9% ) >= 95%`:                         `a.available_windows(1s, 99.9%) >= 95%`,
	`a.worst(500ms) >= 50%`:                                          `a.worst(0.5s) >= 50%`,
	`a.recovery{fault="c\"d"} < b.recovery`:                          `a.recovery{fault="c\"d"} < b.recovery`,
	"a.p99\n  <=\t1s ":                                               `a.p99 <= 1s`,
}

func TestParse(t *testing.T) {
	for text, want := range canonical {
		c := mustParse(t, text)
		if c.String() != want {
			t.Errorf("%s: got %s, want %s", text, c, want)
		}
		if again := mustParse(t, want); !reflect.DeepEqual(atNowhere(again), atNowhere(c)) {
			t.Errorf("%s: its canonical form is another comparison: %#v and %#v", text, c, again)
		}
	}
}

func TestParseTree(t *testing.T) {
	c := mustParse(t, `cluster.during.p99{request="w"} <= 2 * single.available_windows(1s, 99%) * 50ms`)
	want := slo.Comparison{
		L:  slo.Metric{Arm: "cluster", Ref: analysis.Ref{Metric: "p99", Phase: analysis.During, Request: "w"}},
		Op: "<=",
		R: slo.Binary{
			Op: '*', Unit: analysis.Seconds,
			L: slo.Binary{
				Op: '*', Unit: analysis.Ratio, L: slo.Num{V: 2, Unit: analysis.Number},
				R: slo.Metric{Arm: "single", Ref: analysis.Ref{Metric: "available_windows", Args: []float64{1, 0.99}}, Offset: 39},
			},
			R: slo.Num{V: 0.05, Unit: analysis.Seconds},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %#v\nwant %#v", c, want)
	}
	if arms := c.Arms(); !reflect.DeepEqual(arms, []string{"cluster", "single"}) {
		t.Errorf("arms %q", arms)
	}
}

// Every metric of this version can be written as its spec says, and is what it says.
func TestParseEveryMetric(t *testing.T) {
	values := map[analysis.Unit]string{analysis.Seconds: "1s", analysis.Ratio: "99%", analysis.PerSecond: "1/s", analysis.Number: "1"}
	for _, s := range analysis.Specs() {
		text := "arm."
		if s.Phased {
			text += "during."
		}
		text += s.Name
		var args []string
		for _, a := range s.Args {
			args = append(args, values[a])
		}
		if args != nil {
			text += "(" + strings.Join(args, ", ") + ")"
		}
		var labels []string
		for _, l := range s.Labels {
			labels = append(labels, l+`="reset"`)
		}
		if labels != nil {
			text += "{" + strings.Join(labels, ", ") + "}"
		}
		c := mustParse(t, text+" > "+values[s.Unit])
		if got := slo.UnitOf(c.L); got != s.Unit || c.Metrics()[0].String() != text {
			t.Errorf("%s: unit %q, written %q", text, got, c.Metrics()[0])
		}
	}
	for _, name := range analysis.Later() {
		checkWrong(t, "arm."+name+" > 1", name, "this version of tutti lacks it", "")
	}
}

// checkWrong checks that a text is refused at the offending part, with a part of the
// message and the nearest word.
func checkWrong(t *testing.T, text, part, msg, nearest string) {
	t.Helper()
	_, err := slo.Parse(text)
	var e *slo.SyntaxError
	if !errors.As(err, &e) {
		t.Errorf("%s: got %v, want a SyntaxError", text, err)
		return
	}
	if got := text[e.Offset : e.Offset+e.Length]; got != part || !strings.Contains(e.Error(), msg) || e.Nearest != nearest {
		t.Errorf("%s: at %q, nearest %q: %v; want %q, %q: %s", text, got, e.Nearest, e, part, nearest, msg)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, part, msg, nearest string }{
		{``, ``, "ends too early", ""},
		{`a.avialability > 1`, "avialability", "unknown metric", "availability"},
		{`a.P99 > 1s`, "P99", "unknown metric", "p99"},
		{`a.durring.p99 > 1s`, "durring", "unknown phase", "during"},
		{`a.b.during.p99 > 1s`, "a.b.during.p99", "too many names", ""},
		{`during.during.p99 > 1s`, "during", "is a phase", ""},
		{`during.p99 > 1s`, "during.p99", "of which arm", ""},
		{`p99 > 1s`, "p99", "of which arm", ""},
		{`a. > 1s`, ">", "name is missing", ""},
		{`a.during.recovery > 1s`, "during", "not measured in phases", ""},
		{`a.p99 > 300`, "a.p99 > 300", "a number", ""},
		{`a.p99 + a.goodput > 1`, "a.p99 + a.goodput", "is added to", ""},
		{`a.p99 - 5 > 1s`, "a.p99 - 5", "is taken from", ""},
		{`a.p99 * b.p99 > 1s`, "a.p99 * b.p99", "multiplied", ""},
		{`a.goodput / a.p99 > 1s`, "a.goodput / a.p99", "divided", ""},
		{`a.lost_requests >= 5%`, "a.lost_requests >= 5%", "compared", ""},
		{`a.p99 / 0 > 1s`, "0", "division by zero", ""},
		{`a.p99 / (1 - 1) > 1s`, "(1 - 1)", "division by zero", ""},
		{`a.p99 => 1s`, "=>", "no comparison", ">="},
		{`a.p99 = 1s`, "=", "no comparison", "=="},
		{`a.p99 <> 1s`, "<>", "no comparison", ""},
		{`a.p99 ≤ 1s`, "≤", "no comparison", "<="},
		{`a.p99`, "9", "comparison is missing", ""},
		{`a.p99 <`, "<", "ends too early", ""},
		{`a.p99 < 1s < 2s`, "<", "second comparison", ""},
		{`a.p99 < 1s and a.p50 < 1s`, "and", "one comparison", ""},
		{`a.p99 < 1s)`, ")", "closes nothing", ""},
		{`(a.p99 < 1s`, "<", "unexpected", ""},
		{`(a.p99`, "(", "not closed", ""},
		{`a.p99 - 1s -2s < 1s`, "-", "minus", ""},
		{`a.p99-1s < 1s`, "p99-1s", "unknown metric", "p99 - 1s"},
		{`a.p99 < 1sec`, "sec", "unknown unit", ""},
		{`a.p99 < 1mms`, "mms", "unknown unit", "ms"},
		{`a.p99 < 1.2.3s`, "1.2.3s", "no number", ""},
		{`a.p99 < 5.`, "5.", "no number", ""},
		{`a.p99 < 1e3`, "e3", "unknown unit", ""},
		{`a.p99 < 99999999999999999999s`, "99999999999999999999s", "out of range", ""},
		{`1s < 2s`, "1s < 2s", "nothing is measured", ""},
		{`a.worst > 1`, "worst", "lacks its arguments", ""},
		{`a.worst(1s, 2s) > 1`, ",", "not closed", ""},
		{`a.worst(99%) > 1`, "99%", "no argument", ""},
		{`a.worst(0s) > 1`, "0s", "out of range", ""},
		{`a.available_windows(1s) > 1`, ")", "2 arguments", ""},
		{`a.available_windows(1s, 101%) > 1`, "101%", "out of range", ""},
		{`a.p99(1s) > 1s`, "(", "no arguments", ""},
		{`a.p99{fault="x"} > 1s`, "fault", "no label", ""},
		{`a.p99{requst="x"} > 1s`, "requst", "no label", "request"},
		{`a.p99{request=x} > 1s`, "x", "double quotes", ""},
		{`a.p99{request='x'} > 1s`, "'", "double quotes", ""},
		{`a.p99{request=""} > 1s`, `""`, "empty", ""},
		{`a.p99{request="x", request="y"} > 1s`, "request", "twice", ""},
		{`a.p99{request="x" > 1s`, ">", "unexpected", ""},
		{`a.p99{request="x"`, "{", "not closed", ""},
		{`a.downtime{request="x"} > 1s`, "{", "no labels", ""},
		{`a.error_rate{class="timout"} > 1%`, `"timout"`, "unknown class", "timeout"},
		{strings.Repeat("(", 30) + "a.p99 > 1s", "(", "too deeply", ""},
		{strings.Repeat(" ", 2000), strings.Repeat(" ", 2000), "too long", ""},
	} {
		checkWrong(t, c.text, c.part, c.msg, c.nearest)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"kill", "pause", "at", "rolling-restart", "GET"}
	for word, want := range map[string]string{
		"kil": "kill", "klil": "kill", "Kill": "kill", "puase": "pause", "att": "at", "roling-restrat": "rolling-restart",
		"get": "GET", "explode": "", "x": "", "": "", "zz": "",
	} {
		if got := slo.Nearest(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// FuzzParse: whatever the text, there is an error inside it, or a comparison whose canonical
// form is the same comparison.
func FuzzParse(f *testing.F) {
	for text := range canonical {
		f.Add(text)
	}
	f.Add(`a.p99 - 5ms <= -3µs * 2`)
	f.Add(`a.worst(1s) > b.before.available_windows(250ms, 0.5) / (1 + 1)`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := slo.Parse(text)
		if err != nil {
			var e *slo.SyntaxError
			if !errors.As(err, &e) || e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(text) || e.Msg == "" {
				t.Fatalf("%q: error %#v is outside the text", text, err)
			}
			return
		}
		s := c.String()
		if !utf8.ValidString(s) {
			t.Fatalf("%q: %q is no text", text, s)
		}
		if len(s) > 1000 {
			return // longer than what is read
		}
		again, err := slo.Parse(s)
		if err != nil {
			t.Fatalf("%q: canonical form %q: %v", text, s, err)
		}
		if !reflect.DeepEqual(atNowhere(again), atNowhere(c)) || again.String() != s {
			t.Fatalf("%q: canonical form %q is another comparison", text, s)
		}
	})
}
