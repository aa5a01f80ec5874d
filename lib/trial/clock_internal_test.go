package trial

import (
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/record"
)

// A fault that has to tell a time itself is told the engine's, which its effects are taken to be on.
func TestSiteHasTheEnginesClock(t *testing.T) {
	r := &run{Config: Config{Plan: plan.Trial{Steps: []plan.Step{{}}}}, rec: &record.Recording{}}
	in := r.newInjector(nil, nil, "")
	defer in.close()
	in.zero = time.Now()
	r.rec.Zero = in.zero.Add(time.Hour)
	if ahead := time.Until(in.steps[0].site.Now()); ahead < 59*time.Minute || ahead > time.Hour {
		t.Errorf("the clock of a fault is %v ahead of ours, and the engine's is an hour", ahead)
	}
}
