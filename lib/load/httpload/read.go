package httpload

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"

	"github.com/tutti-bench/tutti/lib/load"
)

var _ load.Reader = (*Generator)(nil)

// Reading opens connections as the plan's load has them.
func (g *Generator) Reading(ctx context.Context, p load.Plan) load.Exchanger {
	return &exchanger{newWire(ctx, p)}
}

type exchanger struct{ *wire }

// Close ends every connection.
func (e *exchanger) Close() { e.close() }

// Exchange sends a message, once, and returns its whole answer.
func (e *exchanger) Exchange(ctx context.Context, m load.Message) (load.Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &trip{cancel: cancel}
	r, err := request(httptrace.WithClientTrace(ctx, t.trace()), m)
	if err != nil {
		return load.Answer{}, err
	}
	resp, err := e.transport.RoundTrip(r)
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
