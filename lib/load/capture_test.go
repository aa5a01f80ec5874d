package load_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/load"
)

// wanted is what a request with these captures keeps.
func wanted(t *testing.T, captures ...load.Capture) *load.Wanted {
	t.Helper()
	p := load.Plan{
		Ingress: "http://lb", Requests: []load.Request{{Name: "a", Path: "/", Capture: captures}}, Sessions: []load.Session{{Name: "s", Steps: 1}},
	}
	ts, err := p.Templates()
	if err != nil {
		t.Fatal(err)
	}
	return ts.Wanted(0)
}

func TestCapture(t *testing.T) {
	body := `{"id": 12345678901234567890, "user": {"name": "Zoë", "first name": "Z", "admin": true}, "items": [{"id": "a"}, {"id": "b"}], "none": null, "empty": "", "bad": "a\r\nb", "é": "ok", "x-y": 1.50}`
	header := http.Header{"Location": {"/orders/42?x=1"}, "X-Token": {"first", "second"}, "X-Long": {strings.Repeat("x", load.MaxCaptured+1)}}
	for _, c := range []struct {
		capture load.Capture
		body    string
		want    string // "" is nothing
	}{
		{load.Capture{JSON: "$.id"}, body, "12345678901234567890"},
		{load.Capture{JSON: "$.x-y"}, body, "1.50"},
		{load.Capture{JSON: "$.user.name"}, body, "Zoë"},
		{load.Capture{JSON: "$.user['first name']"}, body, "Z"},
		{load.Capture{JSON: `$["user"]["name"]`}, body, "Zoë"},
		{load.Capture{JSON: "$.user.admin"}, body, "true"},
		{load.Capture{JSON: "$.items[1].id"}, body, "b"},
		{load.Capture{JSON: "$.items[-2].id"}, body, "a"},
		{load.Capture{JSON: "$.é"}, body, "ok"},
		{load.Capture{JSON: "$"}, " 7 ", "7"},
		{load.Capture{JSON: "$[0]"}, `["x"]`, "x"},
		{load.Capture{JSON: "$.user.name", Match: "^Z(.)"}, body, "o"},
		{load.Capture{JSON: "$.none"}, body, ""},
		{load.Capture{JSON: "$.empty"}, body, ""},
		{load.Capture{JSON: "$.bad"}, body, ""},
		{load.Capture{JSON: "$.user"}, body, ""},
		{load.Capture{JSON: "$.items"}, body, ""},
		{load.Capture{JSON: "$.items[2].id"}, body, ""},
		{load.Capture{JSON: "$.items[-3].id"}, body, ""},
		{load.Capture{JSON: "$.items.id"}, body, ""},
		{load.Capture{JSON: "$[0]"}, body, ""},
		{load.Capture{JSON: "$[0]"}, `{"": "x"}`, ""},
		{load.Capture{JSON: "$.id.id"}, body, ""},
		{load.Capture{JSON: "$.nobody"}, body, ""},
		{load.Capture{JSON: "$.id"}, "<html>", ""},
		{load.Capture{JSON: "$.id"}, `{"id": 1} {"id": 2}`, ""},
		{load.Capture{JSON: "$.id"}, "", ""},
		{load.Capture{Header: "location"}, "", "/orders/42?x=1"},
		{load.Capture{Header: "Location", Match: "/orders/([0-9]+)"}, "", "42"},
		{load.Capture{Header: "Location", Match: "[0-9]+"}, "", "42"},
		{load.Capture{Header: "X-Token"}, "", "first"},
		{load.Capture{Header: "Location", Match: "/carts/"}, "", ""},
		{load.Capture{Header: "X-None"}, "", ""},
		{load.Capture{Header: "X-Long"}, "", ""},
		{load.Capture{Match: `name="csrf" value="([^"]*)"`}, `<input name="csrf" value="t0k">`, "t0k"},
		{load.Capture{Match: `a(b)?`}, "ac", ""},
		{load.Capture{Match: `.*`}, "a\xff", ""},
		{load.Capture{Match: `(?s).*`}, "a\x1b[2Jb", ""},
	} {
		c.capture.Name = "v"
		got, err := wanted(t, c.capture).From(header, []byte(c.body))
		if got["v"] != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v; want %q", c.capture, got["v"], err, c.want)
		}
	}
}

// All of it or nothing: a step that lacks one value of two cannot go on.
func TestCaptureSeveral(t *testing.T) {
	w := wanted(t, load.Capture{Name: "a", JSON: "$.a"}, load.Capture{Name: "b", Header: "X-B"})
	if got, err := w.From(http.Header{"X-B": {"2"}}, []byte(`{"a": 1}`)); err != nil || got["a"] != "1" || got["b"] != "2" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := w.From(nil, []byte(`{"a": 1}`)); err == nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
	if !w.Body() || wanted(t, load.Capture{Name: "b", Header: "X-B"}).Body() {
		t.Error("what is in the body, and what is not")
	}
}

func TestCaptureCheck(t *testing.T) {
	for _, c := range []struct {
		capture load.Capture
		field   string
		part    string // of the field's text
	}{
		{load.Capture{Name: "a-b", JSON: "$.a"}, "name", "a-b"},
		{load.Capture{Name: "", JSON: "$.a"}, "name", ""},
		{load.Capture{Name: "a"}, "match", ""},
		{load.Capture{Name: "a", JSON: "$.a", Header: "X"}, "json", "$.a"},
		{load.Capture{Name: "a", Header: "X Y"}, "header", "X Y"},
		{load.Capture{Name: "a", JSON: "order.id"}, "json", "order.id"},
		{load.Capture{Name: "a", JSON: "$..id"}, "json", ".."},
		{load.Capture{Name: "a", JSON: "$.order."}, "json", "."},
		{load.Capture{Name: "a", JSON: "$.a b"}, "json", ".a b"},
		{load.Capture{Name: "a", JSON: "$.a[*].b"}, "json", "[*]"},
		{load.Capture{Name: "a", JSON: "$.a[0"}, "json", "[0"},
		{load.Capture{Name: "a", JSON: "$.a[0]é"}, "json", "é"},
		{load.Capture{Name: "a", JSON: "$['a"}, "json", "['a"},
		{load.Capture{Name: "a", JSON: "$[9999999999]"}, "json", "[9999999999]"},
		{load.Capture{Name: "a", Match: "id=(["}, "match", "["},
		{load.Capture{Name: "a", Match: "(a)(b)"}, "match", "(a)(b)"},
		{load.Capture{Name: "a", Match: "a{2000}"}, "match", "{2000}"},
	} {
		e, ok := errors.AsType[*load.CaptureError](c.capture.Check())
		if !ok || e.Field != c.field {
			t.Errorf("%+v: %v, want one about %s", c.capture, e, c.field)
			continue
		}
		text := map[string]string{"name": c.capture.Name, "header": c.capture.Header, "json": c.capture.JSON, "match": c.capture.Match}[e.Field]
		if e.Offset < 0 || e.Offset+e.Length > len(text) || text[e.Offset:e.Offset+e.Length] != c.part || e.Msg == "" {
			t.Errorf("%+v: %v at %d+%d, want %q", c.capture, e, e.Offset, e.Length, c.part)
		}
	}
	if err := (load.Capture{Name: "order_id", JSON: "$.a[0]['b c'].d", Match: "(?:a|b)(c)"}).Check(); err != nil {
		t.Error(err)
	}
}

func FuzzCapture(f *testing.F) {
	f.Add("$.a[0]['b']", "^(.*)$", `{"a": [{"b": 1}]}`)
	f.Add("$", "", "1")
	f.Fuzz(func(t *testing.T, path, match, body string) {
		c := load.Capture{Name: "v", JSON: path, Match: match}
		if err := c.Check(); err != nil {
			e, ok := errors.AsType[*load.CaptureError](err)
			text := map[string]string{"json": path, "match": match}[e.Field]
			if !ok || e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(text) {
				t.Fatalf("%v", err)
			}
			return
		}
		got, err := wanted(t, c).From(nil, []byte(body))
		if v := got["v"]; (err == nil) != (v != "") || len(v) > load.MaxCaptured || strings.ContainsAny(v, "\r\n\x00") {
			t.Fatalf("%q, %v", v, err)
		}
	})
}
