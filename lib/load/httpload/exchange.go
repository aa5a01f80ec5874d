package httpload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/wire"
	"github.com/tutti-bench/tutti/lib/record"
)

// A carrier takes requests to the target, each of them once, over as many connections as the plan lets it: no proxy, no
// redirects, no compression. Beyond those a request waits for one, until its deadline.
type carrier interface {
	// carry sends m and returns when the answer's header is there, or the deadline, or ctx's end. The
	// trip is to be ended after the answer's body.
	carry(ctx context.Context, deadline time.Time, m load.Message) (*http.Response, trip, error)
	// close ends every connection. All trips must have ended.
	close()
	// lane is a way to send single messages like m. Only the plain carrier has one.
	lane(m *wire.Message) *wire.Lane
}

// A trip is one request on its way, and its answer.
type trip interface {
	// class says what an error of carry, or of the body, means.
	class(err error) record.Class
	end()
}

const (
	// idle is how long an unused connection is kept: shorter than the 5 s after which
	// common servers close one, since a request that meets such an end counts as failed.
	idle = 4 * time.Second
	// maxHeader bounds an answer's header, and maxKeep the part of a body that is kept to be
	// searched. What comes after is read, until the deadline, and forgotten.
	maxHeader = 1 << 20
	maxKeep   = 1 << 20
)

// newCarrier returns what carries the plan's requests until ctx is done. Patience is that of lanes, as [wire.Options] has it.
func newCarrier(ctx context.Context, p load.Plan, patience time.Duration) carrier {
	if p.HTTP2 || strings.HasPrefix(p.Ingress, "https:") {
		return newSecure(ctx, p)
	}
	return newPlain(ctx, p, patience)
}

// outcome is what became of one exchange.
type outcome struct {
	class  record.Class
	err    error       // nil if a whole answer came
	header http.Header // of the answer, nil if none came

	captured map[string]string // of a good answer
	status   int               // of the answer
	length   uint64            // of its body, in bytes, as far as it came
	body     []byte            // of a whole answer, the first 1 MiB, if it is judged
}

// do does one exchange, and reads the whole answer. c is nil if m is no session's; judged: what the answer holds
// matters, whatever was expected; redirects: how many are followed.
func do(
	ctx context.Context, by carrier, deadline time.Time, m load.Message, expect *load.Expect, wanted *load.Wanted, c *client, judged bool,
	redirects int,
) outcome {
	resp, t, err := send(ctx, by, deadline, m, c, redirects)
	defer t.end()
	if errors.Is(err, errRedirects) {
		return outcome{class: record.Wrong}
	}
	if err != nil {
		return outcome{class: t.class(err), err: err}
	}
	defer resp.Body.Close()
	out := outcome{header: resp.Header, status: resp.StatusCode, class: record.Wrong}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return out // its body is the connection itself and has no end
	}
	body, length, err := read(resp.Body, expect, judged || wanted.Body())
	out.length = length
	if err == nil && judged {
		out.body = body
	}
	switch {
	case err != nil:
		out.err, out.class = err, t.class(err)
	case good(resp, body, expect):
		// An answer without what the next step needs is not the one that was expected.
		if out.captured, err = wanted.From(resp.Header, body); err == nil {
			out.class = record.OK
		}
	}
	return out
}

// keeps is how much of a body has to be kept for what is expected of it.
func keeps(expect *load.Expect) int {
	keep := 0
	if expect.Contains != "" {
		keep = maxKeep
	}
	if expect.Body != nil {
		keep = max(keep, len(*expect.Body)+1)
	}
	return keep
}

// read reads a body to its end and returns the part of it that is looked at, by expect or for a capture, and how long it is.
func read(body io.Reader, expect *load.Expect, captured bool) (kept []byte, length uint64, err error) {
	keep := keeps(expect)
	if captured {
		keep = max(keep, maxKeep)
	}
	if keep > 0 {
		if kept, err = io.ReadAll(io.LimitReader(body, int64(keep))); err != nil {
			return nil, uint64(len(kept)), err
		}
	}
	rest, err := io.Copy(io.Discard, body)
	return kept, uint64(len(kept)) + uint64(rest), err
}

// statusGood reports whether a status is as expected.
func statusGood(status int, expect *load.Expect) bool {
	if status == http.StatusSwitchingProtocols {
		return false // what follows is no HTTP, and was not asked for
	}
	if len(expect.Status) > 0 {
		return slices.Contains(expect.Status, status)
	}
	return status >= 200 && status <= 399
}

// good reports whether an answer is as expected. Body is its beginning.
func good(resp *http.Response, body []byte, expect *load.Expect) bool {
	if !statusGood(resp.StatusCode, expect) {
		return false
	}
	for name, want := range expect.Header {
		if resp.Header.Get(name) != want {
			return false
		}
	}
	if expect.Body != nil && string(body) != *expect.Body {
		return false
	}
	return strings.Contains(string(body), expect.Contains)
}
