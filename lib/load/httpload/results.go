package httpload

import (
	"fmt"
	"io"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

var _ load.Writer = (*Generator)(nil)

// Write returns a function that writes samples as vegeta's results: the timestamp is when the request was due, the latency its response time
// from then on, the error of a bad one begins with its class, and the URL is the scenario's, templates not filled in. Headers and bodies are left out.
func (*Generator) Write(p load.Plan, zero time.Time, w io.Writer) (func(*record.Sample) error, error) {
	var encode vegeta.Encoder
	switch p.Results.Format {
	case load.VegetaGob:
		encode = vegeta.NewEncoder(w)
	case load.VegetaCSV:
		encode = vegeta.NewCSVEncoder(w)
	case load.VegetaJSON:
		encode = vegeta.NewJSONEncoder(w)
	default:
		return nil, fmt.Errorf("write results: no such format: %q", p.Results.Format)
	}
	base := strings.TrimSuffix(p.Ingress, "/")
	urls := make([]string, len(p.Requests))
	for i, q := range p.Requests {
		urls[i] = base + q.Path
	}
	zero = zero.Round(0)
	return func(s *record.Sample) error {
		r := vegeta.Result{
			Attack: p.Results.Attack, Seq: s.Seq, Code: uint16(s.Status), Timestamp: zero.Add(s.Due), Latency: s.Done - s.Due,
			BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		}
		if s.Request >= 0 && s.Request < len(urls) {
			r.Method, r.URL = p.Requests[s.Request].Method, urls[s.Request]
		}
		if !s.Class.Good() {
			r.Error = s.Class.String()
			if text := record.CleanError(s.Error); text != "" {
				r.Error += ": " + text
			}
		}
		return encode.Encode(&r)
	}, nil
}
