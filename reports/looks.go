package reports

import (
	"fmt"
	"strings"

	"github.com/tutti-bench/tutti/lib/rundir"
)

// looks says what was seen at each look of a planned extension, and why it ended.
func (t *terminal) looks(run *rundir.Run) {
	lines := lookLines(run)
	t.listed(" LOOKS", lines, len(lines))
}

func lookLines(run *rundir.Run) []string {
	e := run.Extension
	if e == nil {
		return nil
	}
	var lines []string
	for _, l := range e.Looks {
		line := fmt.Sprintf("after %s: every objective is decided", plural(l.Blocks, "block", "blocks"))
		if len(l.Open) > 0 {
			line = fmt.Sprintf("after %s: undecided: %s", plural(l.Blocks, "block", "blocks"), strings.Join(l.Open, "; "))
		}
		lines = append(lines, line)
	}
	return append(lines, fmt.Sprintf("ended of %d to %d blocks: %s", run.Repeats, e.Most, e.Why))
}
