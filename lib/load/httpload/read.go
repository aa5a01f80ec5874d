package httpload

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

var _ load.Reader = (*Generator)(nil)

// Reading opens connections as the plan's load has them.
func (g *Generator) Reading(ctx context.Context, p load.Plan) load.Exchanger {
	return &exchanger{newCarrier(ctx, p, 0), p.Timeout, p.Redirects}
}

type exchanger struct {
	carrier carrier
	timeout time.Duration // where a context has no deadline

	redirects int
}

// Close ends every connection.
func (e *exchanger) Close() { e.carrier.close() }

// Exchange sends a message, once, and returns its whole answer.
func (e *exchanger) Exchange(ctx context.Context, m load.Message) (load.Answer, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(e.timeout)
	}
	resp, t, err := send(ctx, e.carrier, deadline, m, nil, e.redirects)
	defer t.end()
	if err != nil {
		return load.Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // what was read counts
	a := load.Answer{Status: resp.StatusCode}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a, nil // its body is the connection itself and has no end
	}
	if a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxKeep)); err != nil {
		return a, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return a, err
}
