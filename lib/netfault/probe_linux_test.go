package netfault_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// Each primitive is tried, what is missing has the reason and a way on, and nothing is left.
func TestProbe(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	state := func() string {
		return s.run("nft", "list", "ruleset") + s.run("tc", "qdisc", "show") + s.run("ip", "-br", "link")
	}
	before := state()
	p := netfault.NewProber(netfault.Makers{
		rule.WayNFQueue: func() (netfault.Carrier, error) { return nil, errors.New("none in this test") },
	}, nil)
	var parts agent.Parts
	s.do(func() (err error) {
		parts, err = p.Read(t.Context())
		return err
	})
	if len(parts) != len(rule.Primitives()) {
		t.Errorf("want %v, got %d", rule.Primitives(), len(parts))
	}
	for _, name := range rule.Primitives() {
		var one target.Primitive
		if err := json.Unmarshal(parts[name], &one); err != nil {
			t.Fatalf("%s: %v: %s", name, err, parts[name])
		}
		t.Logf("%s: %+v", name, one)
		if one.OK == (one.Why != "") || one.OK == (one.Serves != "") {
			t.Errorf("%s: %+v", name, one)
		}
		if name == rule.HasNFQueue && (one.OK || !strings.Contains(one.Why, "none in this test")) {
			t.Errorf("a carrier that cannot be made: %+v", one)
		}
	}
	if after := state(); after != before {
		t.Errorf("left:\n%s", after)
	}
}
