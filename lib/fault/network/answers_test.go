package network

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// made is a verb's fault, which is a helped one.
func made(t *testing.T, k fault.Kind, p fault.Params) fault.Helped {
	t.Helper()
	f, err := k.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return f.(fault.Helped)
}

func ruleOf(t *testing.T, k fault.Kind, p fault.Params) (rule.Rule, error) {
	t.Helper()
	s := site()
	parts, err := made(t, k, p).Parts(s, s.Nodes()[:1])
	if err != nil {
		return rule.Rule{}, err
	}
	return parts["app-1"].(rule.Part)[0], nil
}

func proof1(t *testing.T, k fault.Kind, p fault.Params, d rule.Delivered) (asked, delivered string, short bool) {
	t.Helper()
	raw, err := json.Marshal(rule.Report{d})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ruleOf(t, k, p)
	if err != nil {
		t.Fatal(err)
	}
	return made(t, k, p).Prove(rule.Part{r}, raw, time.Second)
}

func TestDNSParams(t *testing.T) {
	for _, p := range []fault.Params{
		{"mode": "slow"}, {"mode": "slow", "delay": time.Duration(0)}, {"mode": "silent", "delay": time.Second},
	} {
		if _, err := DNSKind().New(p); err == nil {
			t.Errorf("made of %v", p)
		}
	}
	r, err := ruleOf(t, DNSKind(), fault.Params{"mode": "slow", "delay": time.Second})
	if err != nil || r.Act != rule.DNS || r.Mode != rule.DNSSlow || r.Delay != time.Second {
		t.Errorf("%+v, %v", r, err)
	}
	lacking := target.Facts{Abilities: target.CanEnterNetwork, Primitives: map[string]target.Primitive{rule.HasNFT: {OK: true}}}
	if w, err := DNSKind().On(lacking, fault.Params{"mode": "silent"}); err != nil || w.Name != "drop" {
		t.Errorf("silence needs no redirect: %+v, %v", w, err)
	}
	if w, err := DNSKind().On(lacking, fault.Params{"mode": "refused"}); err == nil {
		t.Errorf("a refusal needs a redirect: %+v", w)
	}
}

func TestDNSProof(t *testing.T) {
	late := &rule.Spread{Count: 3, P50: 50 * time.Millisecond, P99: 51 * time.Millisecond}
	for _, one := range []struct {
		p     fault.Params
		d     rule.Delivered
		says  string
		short bool
	}{
		{fault.Params{"mode": "silent"}, rule.Delivered{}, "the service looked nothing up while it was in force", true},
		{fault.Params{"mode": "refused"}, rule.Delivered{}, "the service looked nothing up while it was in force", true},
		{fault.Params{"mode": "silent"}, rule.Delivered{Packets: 3}, "to none of which an answer came", true},
		{fault.Params{"mode": "silent"}, rule.Delivered{Packets: 3, Hit: 4}, "3 look-ups, 4 packets dropped", false},
		{fault.Params{"mode": "nxdomain"}, rule.Delivered{Packets: 3, Hit: 3}, "3 of 3 look-ups", false},
		{fault.Params{"mode": "slow", "delay": time.Second}, rule.Delivered{Packets: 3, Hit: 3, Delay: late}, "50.00 ms at the median", false},
		{fault.Params{"mode": "slow", "delay": time.Second}, rule.Delivered{Packets: 3}, "0 of 3 look-ups", true},
	} {
		_, says, short := proof1(t, DNSKind(), one.p, one.d)
		if short != one.short || !strings.Contains(says, one.says) {
			t.Errorf("%v %+v: %q, short %t", one.p, one.d, says, short)
		}
	}
}

func TestHTTPParams(t *testing.T) {
	for _, p := range []fault.Params{
		{},
		{"cut": false},
		{"cut": true, "status": 500},
		{"cut": true, "delay": time.Second},
		{"delay": time.Duration(0)},
		{"status": 101},
		{"status": 600},
		{"status": 500, "share": 1.5},
		{"status": 500, "delay": time.Duration(0)},
	} {
		if _, err := HTTPKind().New(p); err == nil {
			t.Errorf("made of %v", p)
		}
	}
	r, err := ruleOf(t, HTTPKind(), fault.Params{"status": 503, "delay": time.Second, "path": "/a", "port": 80})
	if err != nil || r.Act != rule.HTTP || r.Share != 1 || r.Status != 503 || r.Delay != time.Second || r.Path != "/a" || len(r.Ports) != 1 || r.Ports[0] != 80 || r.Seed == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ruleOf(t, HTTPKind(), fault.Params{"cut": true}); err == nil || !strings.Contains(err.Error(), "give `port`") {
		t.Errorf("no port is known: %v", err)
	}
	s := site()
	parts, err := made(t, HTTPKind(), fault.Params{"cut": true, "port": 80}).Parts(s, s.Nodes())
	if err != nil || parts["app-1"].(rule.Part)[0].Seed == parts["app-2"].(rule.Part)[0].Seed {
		t.Errorf("all nodes have the same chance: %v, %v", parts, err)
	}
}

func TestHTTPPort(t *testing.T) {
	in, err := url.Parse("http://lb:8080")
	if err != nil {
		t.Fatal(err)
	}
	bare, err := url.Parse("http://lb")
	if err != nil {
		t.Fatal(err)
	}
	check := func(test ...string) *target.Healthcheck { return &target.Healthcheck{Test: test} }
	for _, one := range []struct {
		s       target.Service
		ingress *url.URL
		port    int
		says    string
	}{
		{target.Service{Name: "lb", Expose: []string{"9000"}}, in, 8080, ""},
		{target.Service{Name: "lb"}, bare, 80, ""},
		{target.Service{Name: "app", Expose: []string{"9000"}}, in, 9000, ""},
		{target.Service{Name: "app", Expose: []string{"9000/tcp", "53/udp"}}, nil, 9000, ""},
		{target.Service{Name: "app", Expose: []string{"9000", "9001"}}, in, 0, "several ports (9000 9001): give `port`"},
		{target.Service{Name: "app"}, in, 0, "give `port`"},
		{target.Service{Name: "app", Healthcheck: check("CMD", "/tutti", "target", "check", "http://127.0.0.1:8081/healthz")}, in, 8081, ""},
		{target.Service{Name: "app", Healthcheck: check("CMD-SHELL", "curl -f http://localhost/ || exit 1")}, in, 80, ""},
		{target.Service{Name: "app", Healthcheck: check("CMD-SHELL", "wget -qO- '[::1]:3000' && nc -z localhost:3000")}, in, 3000, ""},
		{target.Service{Name: "app", Healthcheck: check("CMD", "redis-cli", "ping")}, in, 0, "give `port`"},
		{target.Service{Name: "app", Healthcheck: check("CMD-SHELL", "curl http://localhost:1/ && curl http://localhost:2/")}, in, 0, "several ports"},
	} {
		p := fault.Params{"status": 500}
		err := HTTPKind().Check(p, one.s, &target.Spec{Ingress: one.ingress})
		if one.says != "" {
			if err == nil || !strings.Contains(err.Error(), one.says) {
				t.Errorf("%+v: want %q, got %v", one.s, one.says, err)
			}
			continue
		}
		if r, e := ruleOf(t, HTTPKind(), p); err != nil || e != nil || int(r.Ports[0]) != one.port {
			t.Errorf("%+v: want %d, got %+v, %v, %v", one.s, one.port, r, err, e)
		}
	}
	given := fault.Params{"port": 1234}
	if err := HTTPKind().Check(given, target.Service{Name: "app"}, &target.Spec{}); err != nil || given.Count("port", 0) != 1234 {
		t.Errorf("given: %v, %v", given, err)
	}
	p := fault.Params{}
	for _, s := range []target.Service{{Name: "a", Expose: []string{"1"}}, {Name: "b", Expose: []string{"1"}}} {
		if err := HTTPKind().Check(p, s, &target.Spec{}); err != nil {
			t.Errorf("the same port: %v", err)
		}
	}
	if err := HTTPKind().Check(p, target.Service{Name: "c", Expose: []string{"2"}}, &target.Spec{}); err == nil {
		t.Error("services with different ports, and none given")
	}
}

func TestHTTPProof(t *testing.T) {
	tenth := fault.Params{"status": 503, "share": 0.1, "port": 80}
	for _, one := range []struct {
		p     fault.Params
		d     rule.Delivered
		says  string
		short bool
	}{
		{tenth, rule.Delivered{Packets: 2000, Hit: 203, Resets: 4}, "10.15 % of 2000 requests, 4 connections reset", false},
		{tenth, rule.Delivered{Packets: 2000, Hit: 300}, "which chance gives once in 1,000 times", true},
		{tenth, rule.Delivered{}, "no request came while it was in force", true},
		{tenth, rule.Delivered{Passed: 7}, "7 connections were not HTTP/1", true},
		{fault.Params{"cut": true, "port": 80, "path": "/a"}, rule.Delivered{}, "no request for /a came", true},
		{fault.Params{"cut": true, "port": 80}, rule.Delivered{Packets: 5, Hit: 4}, "80 % of 5", true},
		{fault.Params{"cut": true, "port": 80}, rule.Delivered{Packets: 5, Hit: 5}, "100 % of 5 requests", false},
	} {
		_, says, short := proof1(t, HTTPKind(), one.p, one.d)
		if short != one.short || !strings.Contains(says, one.says) {
			t.Errorf("%v %+v: %q, short %t", one.p, one.d, says, short)
		}
	}
}
