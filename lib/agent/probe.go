package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/target/hosts"
)

// A Probe asks once whether something answers.
type Probe struct {
	URL     string        `json:"url"`            // such as http://lb:8080
	Dial    string        `json:"dial,omitempty"` // host:port to connect to instead of the URL's
	Path    string        `json:"path,omitempty"` // to GET; "" only connects
	Timeout time.Duration `json:"timeout"`        // 0: 5 s
	HTTP2   bool          `json:"http2,omitempty"`
	TLS     *load.TLS     `json:"tls,omitempty"`
}

// run returns nil if the connection opens and, given a path, GET has a status of 200–399.
func (p *Probe) run(ctx context.Context) error {
	if p.Timeout <= 0 {
		p.Timeout = patience
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	base, err := url.Parse(p.URL)
	if err != nil || base.Hostname() == "" {
		return fmt.Errorf("probe: URL %q: want one such as http://lb:8080", p.URL)
	}
	if p.Path == "" {
		c, err := p.dial(ctx, hostPort(base))
		if err != nil {
			return fmt.Errorf("probe %s: %w", p.URL, err)
		}
		return c.Close()
	}
	return p.get(ctx, strings.TrimRight(p.URL, "/")+p.Path)
}

func (p *Probe) get(ctx context.Context, at string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!p.HTTP2)
	protocols.SetHTTP2(p.HTTP2)
	protocols.SetUnencryptedHTTP2(p.HTTP2)
	t := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader, Protocols: protocols, TLSClientConfig: p.TLS.Config(r.URL.Hostname(), p.HTTP2),
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return p.dial(ctx, address) },
	}
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("probe: GET %s: %w", at, err)
	}
	// The status is all that counts: an endless body is not read.
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("probe: GET %s: %w", at, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("probe: GET %s: status %d, want 200–399", at, resp.StatusCode)
	}
	return nil
}

// dial connects to the first address that lets it.
func (p *Probe) dial(ctx context.Context, address string) (net.Conn, error) {
	addresses := []string{p.Dial}
	if p.Dial == "" {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if addresses, err = hosts.Lookup(ctx, host, port); err != nil {
			return nil, err
		}
	}
	var errs []error
	for _, a := range addresses {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", a)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
		if port == "" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// resolve finds the addresses of host:port, or of a host alone.
func resolve(ctx context.Context, host string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if name, port, err := net.SplitHostPort(host); err == nil {
		return hosts.Lookup(ctx, name, port)
	}
	found, err := hosts.Lookup(ctx, host, "0")
	for i, a := range found {
		found[i], _, _ = net.SplitHostPort(a) // what Lookup returns always splits
	}
	return found, err
}
