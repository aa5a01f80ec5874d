package rundir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxResults bounds a file of all requests, in bytes: tens of millions of them.
const maxResults = 4 << 30

// Results makes the file for what became of every request of a trial, by one of several agents (from 1; 0: there is one only). What is written
// to it beyond 4 GiB is an error. Who called it closes what it returns.
func (f *Folder) Results(arm string, block, agent int, extension string) (io.WriteCloser, error) {
	name := "requests." + extension
	if agent > 0 {
		name = fmt.Sprintf("requests-%d.%s", agent, extension)
	}
	dir := f.Path(TrialDir(arm, block))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder for all requests: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("make the file for all requests: %w", err)
	}
	return &results{file: file, to: bufio.NewWriterSize(file, 1<<20), left: maxResults}, nil
}

// results is a file with a limit.
type results struct {
	file *os.File
	to   *bufio.Writer
	left int64
}

func (r *results) Write(b []byte) (int, error) {
	if int64(len(b)) > r.left {
		return 0, fmt.Errorf("%s has reached its limit of %d GiB: record less, or for a shorter time", r.file.Name(), maxResults>>30)
	}
	r.left -= int64(len(b))
	return r.to.Write(b)
}

func (r *results) Close() error { return errors.Join(r.to.Flush(), r.file.Close()) }
