package trial

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// A Journal is where it is written what is about to be done to nodes, a line of JSON each, so that after a crash it is
// known what was in force. An *os.File is one.
type Journal interface {
	io.Writer
	Sync() error
}

// A JournalLine is one line of a [Journal].
type JournalLine struct {
	Time  time.Time `json:"time"` // on the harness's clock
	Fault string    `json:"fault"`
	Verb  string    `json:"verb"`
	Way   string    `json:"way,omitempty"` // the implementation, of a verb that has several
	Nodes []string  `json:"nodes"`
	// Step is arm, inject or revert before that is begun; injected and reverted when it has been done. For a planned
	// time inject is written 100 ms before it.
	Step string `json:"step"`
}

// note writes a line, and returns when it is kept.
func (s *step) note(what string, nodes []string) error {
	if s.Journal == nil {
		return nil
	}
	if nodes == nil {
		nodes = []string{}
	}
	b, err := json.Marshal(JournalLine{
		Time: time.Now().UTC(), Fault: s.plan.Name, Verb: s.plan.Verb, Way: s.plan.Way, Nodes: nodes, Step: what,
	})
	if err == nil {
		s.writing.Lock()
		defer s.writing.Unlock()
		if _, err = s.Journal.Write(append(b, '\n')); err == nil {
			err = s.Journal.Sync()
		}
	}
	if err != nil {
		return fmt.Errorf("write down in the journal: %s: %w", what, err)
	}
	return nil
}
