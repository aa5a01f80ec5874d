package web

import (
	"fmt"
	"os"
	"sync"
)

// maxJournal is when a journal begins anew, in bytes: a long run must not fill a disk by itself.
const maxJournal = 8 << 20

// A journal is a file that only grows, until it begins anew. Its zero value is none: all that is written to it is lost,
// without error.
type journal struct {
	mu   sync.Mutex
	file *os.File
	size int64
}

// open opens the file, or nothing for "".
func (j *journal) open(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	if at, err := f.Stat(); err == nil {
		j.size = at.Size()
	}
	j.file = f
	return nil
}

// write appends a line. An error means that it is not all there.
func (j *journal) write(line string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	if j.size > maxJournal {
		if err := j.file.Truncate(0); err != nil {
			return err
		}
		j.size = 0
	}
	n, err := j.file.WriteString(line)
	j.size += int64(n)
	return err
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.file.Close() // what was acknowledged has been written
		j.file = nil
	}
}
