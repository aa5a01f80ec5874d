package httpload

import (
	"runtime/debug"
	"testing"
)

// Loads that are under way at once share one collector: the last one to end sets back what was before the first.
func TestCollectorIsShared(t *testing.T) {
	const own = 321
	defer debug.SetGCPercent(debug.SetGCPercent(own))
	is := func() int {
		now := debug.SetGCPercent(own)
		debug.SetGCPercent(now)
		return now
	}
	first := gc.hold()
	second := gc.hold()
	first()
	if n := is(); n != turboGC {
		t.Errorf("%d percent while one goes on, want %d", n, turboGC)
	}
	second()
	if n := is(); n != own {
		t.Errorf("%d percent afterwards, want %d as before", n, own)
	}
}
