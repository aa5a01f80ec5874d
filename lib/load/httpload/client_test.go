package httpload

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A client is known from its first step to the end of its last, in whatever order they come and go.
func TestClientsAreForgotten(t *testing.T) {
	var all clients
	if all.join(load.Turn{}) != nil {
		t.Error("a request of no session has a client")
	}
	turn := func(step int) load.Turn { return load.Turn{Client: 7, Step: step, Steps: 3} }
	c := all.join(turn(2))
	for _, step := range []int{0, 1} {
		if all.join(turn(step)) != c {
			t.Fatal("two clients of one session")
		}
	}
	for i, step := range []int{2, 0, 1} {
		if len(all.open) != 1 {
			t.Fatalf("%d clients before the end of step %d", len(all.open), i)
		}
		all.leave(c, turn(step))
	}
	if len(all.open) != 0 {
		t.Errorf("%d clients at the end", len(all.open))
	}
}

// A step waits for all before it, not for the last alone, and is held without anybody waiting.
func TestStepsAreHeld(t *testing.T) {
	var all clients
	turn := func(step int) load.Turn { return load.Turn{Client: 7, Step: step, Steps: 4} }
	c := all.join(turn(2))
	begins := func(step int) bool { return all.begin(c, turn(step), claim{seq: uint64(step)}) }
	leaves := func(step, want int) {
		t.Helper()
		next, ok := all.leave(c, turn(step))
		if ok != (want >= 0) || ok && next.seq != uint64(want) {
			t.Errorf("the end of step %d lets step %d go (%v), want %d", step, next.seq, ok, want)
		}
	}
	if begins(2) || !begins(0) {
		t.Error("step 2 begins before the first, or the first does not")
	}
	leaves(0, -1)
	if begins(3) || !begins(1) {
		t.Error("step 3 begins before step 1, or step 1 does not after the first")
	}
	leaves(1, 2)
	leaves(2, 3)
	leaves(3, -1)
	if len(all.open) != 0 {
		t.Errorf("%d clients at the end", len(all.open))
	}
}

func TestCapturedAndLost(t *testing.T) {
	var all clients
	c := all.join(load.Turn{Steps: 3})
	c.keep([]string{"a", "b"}, map[string]string{"a": "1"}, record.Reset)
	if got, _, ok := c.has([]string{"a"}); !ok || got["a"] != "1" {
		t.Errorf("%v, %v", got, ok)
	}
	if _, lost, ok := c.has([]string{"a", "b"}); ok || lost != record.Reset {
		t.Errorf("%v, %v", lost, ok)
	}
	c.keep([]string{"a", "b"}, map[string]string{"b": "2"}, record.Timeout)
	if got, _, ok := c.has([]string{"a", "b"}); !ok || got["a"] != "1" || got["b"] != "2" {
		t.Errorf("captured later, or kept: %v, %v", got, ok)
	}
}

// What a target can make a client remember is bounded; what is left out is what came last.
func TestJarIsBounded(t *testing.T) {
	u, err := url.Parse("http://lb:8080/cart")
	if err != nil {
		t.Fatal(err)
	}
	var j jar
	set := func(cookies ...string) { j.set(u, http.Header{"Set-Cookie": cookies}) }
	sent := func() string { return j.add(u, http.Header{}).Get("Cookie") }
	if sent() != "" {
		t.Errorf("an empty jar sends %q", sent())
	}
	set("a=1; Path=/", "big="+strings.Repeat("x", maxCookie), "not a cookie")
	if sent() != "a=1" {
		t.Errorf("sent %.50q", sent())
	}
	for i := range 100 { // a session that is renewed with every answer takes the place of one
		set(fmt.Sprintf("s=%03d%s; Path=/", i, strings.Repeat("x", 3000)))
	}
	if got := sent(); !strings.Contains(got, "s=099") || strings.Contains(got, "s=098") {
		t.Errorf("sent %.50q", got)
	}
	for i := range 1000 {
		set(fmt.Sprintf("n%d=%s; Path=/", i, strings.Repeat("x", 1000)))
	}
	if n := len(sent()); n > maxCookies || n < maxCookies/2 {
		t.Errorf("a thousand cookies of 1 kB: %d bytes are sent", n)
	}
	set("s=; Path=/; Max-Age=0")
	if strings.Contains(sent(), "s=") {
		t.Error("a deleted cookie is sent")
	}
}

// The user's own header and the jar's cookies go together, and the shared header stays as it was.
func TestJarAddsToTheHeader(t *testing.T) {
	u, err := url.Parse("http://lb:8080/")
	if err != nil {
		t.Fatal(err)
	}
	var j jar
	j.set(u, http.Header{"Set-Cookie": {"a=1"}})
	own := http.Header{"Cookie": {"lang=de"}, "User-Agent": {"tutti"}}
	if got := j.add(u, own); got.Get("Cookie") != "lang=de; a=1" || got.Get("User-Agent") != "tutti" {
		t.Errorf("%v", got)
	}
	if own.Get("Cookie") != "lang=de" {
		t.Errorf("the template's header has become %v", own)
	}
	other := load.Message{URL: u, Host: "shop.example"}
	j.set(cookieURL(other), http.Header{"Set-Cookie": {"b=2; Domain=shop.example"}})
	if got := j.add(cookieURL(other), http.Header{}).Get("Cookie"); got != "b=2" {
		t.Errorf("to another host goes %q", got)
	}
}
