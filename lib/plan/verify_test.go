package plan_test

import (
	"testing"
	"time"
)

// A run's length counts what reading back takes at most, and every trial's load knows what is read back.
func TestVerifying(t *testing.T) {
	without, with := built(t, sound), built(t, verifying("60s", "30s"))
	const more = 30*time.Second + time.Second // a read's own timeout is the load's
	if got := with.Verifying(); got != more || without.Verifying() != 0 {
		t.Errorf("reading back takes %v, and %v without", got, without.Verifying())
	}
	if got := with.Duration(time.Second) - without.Duration(time.Second); got != 18*more {
		t.Errorf("18 trials take %v longer", got)
	}
	for _, tr := range block(t, with, 1) {
		if v := tr.Load.Verify; len(v) != 1 || v[0].Of != "write" || v[0].Read.Path != "/kv/{{.Key}}" || v[0].Within != 30*time.Second || v[0].Want != "{{.Value}}" {
			t.Errorf("%s: %+v", tr.Arm, v)
		}
	}
}
