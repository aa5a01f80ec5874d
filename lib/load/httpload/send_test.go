package httpload

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/record"
)

// What a sender remembers of names is bounded in number and in length: there are thousands of senders.
func TestSenderRemembersLittle(t *testing.T) {
	s := new(sender)
	for i := range 3 * maxSeen {
		want := fmt.Sprintf("%0*d", record.MaxName, i)
		if got := s.node([]byte(want + strings.Repeat("x", 1<<20))); got != want {
			t.Fatalf("the name is %d bytes long: %.200s", len(got), got)
		}
		if len(s.nodes) > maxSeen {
			t.Fatalf("%d names are remembered", len(s.nodes))
		}
	}
}
