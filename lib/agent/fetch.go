package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// MaxFetched is how much of an answer a [Fetch] returns; what is longer is cut.
const MaxFetched = 1 << 20

// maxHeader bounds, in bytes, the header of an answer to a fetch or a probe, which an error may quote.
const maxHeader = 64 << 10

// A Fetch asks once by GET for what a URL has to say.
type Fetch struct {
	URL     string        `json:"url"`     // such as http://10.0.0.3:2379/metrics
	Timeout time.Duration `json:"timeout"` // 0: 5 s
}

// Fetched is an answer, whatever its status. A redirect is an answer too.
type Fetched struct {
	Status int    `json:"status"`
	Body   []byte `json:"body,omitempty"` // at most [MaxFetched] bytes of it
}

func (f *Fetch) run(ctx context.Context) (*Fetched, error) {
	if f.Timeout <= 0 {
		f.Timeout = patience
	}
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if r.URL.Hostname() == "" {
		return nil, fmt.Errorf("fetch: URL %q names no host", f.URL)
	}
	// A connection of its own: to the address as it is now, and without a proxy.
	t := &http.Transport{DisableKeepAlives: true, DialContext: new(net.Dialer).DialContext, MaxResponseHeaderBytes: maxHeader}
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("fetch: GET %s: %w", f.URL, err)
	}
	defer func() { _ = resp.Body.Close() }() // what was read counts
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxFetched))
	if err != nil {
		return nil, fmt.Errorf("fetch: GET %s: %w", f.URL, err)
	}
	return &Fetched{Status: resp.StatusCode, Body: body}, nil
}
