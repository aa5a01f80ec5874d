package plan_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/plan"
)

// How load is sent goes from the file into every plan.
func TestClient(t *testing.T) {
	sent := func(more string) load.Plan {
		return block(t, built(t, with("timeout: 1s,", "timeout: 1s,"+more)), 1)[0].Load
	}
	plain := sent("")
	if plain.Connections != 381 { // 100/s for 1 s, a quarter more, and 256
		t.Errorf("%d connections", plain.Connections)
	}
	got := sent(" connections: 7, keepalive: false, http2: true, follow_redirects: 3, generator: turbo,")
	want := plain
	want.Connections, want.NoKeepAlive, want.HTTP2, want.Redirects, want.Engine = 7, true, true, 3, load.Turbo
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := sent(" keepalive: {age: 1m},"); got.MaxAge != time.Minute || got.NoKeepAlive {
		t.Errorf("%+v", got)
	}
	s := parse(t, "version: 1\nname: tls\ntarget: {compose: c.yaml, ingress: \"https://lb:8080\"}\n"+
		"load: {rate: 10/s, for: 5s, requests: [GET /], tls: {ca: ca.pem, server_name: a.example}}\n")
	s.Load.Client.TLS.Certificates = "PEM"
	tls := block(t, &plan.Plan{Scenario: s, Targets: targets(s)}, 1)[0].Load.TLS
	if tls == nil || *tls != (load.TLS{CA: "PEM", ServerName: "a.example"}) {
		t.Errorf("%+v", tls)
	}
}
