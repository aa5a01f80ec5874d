package httpload

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

// errRedirects is the error of a request that was led on and on.
var errRedirects = errors.New("too many redirects")

// maxLeftover bounds how much of a redirect's body is read so that its connection can be used again.
const maxLeftover = 64 << 10

// send sends a message, and at most so many that redirects ask for, and returns the last answer's header. c's cookies go with each and are
// taken from each. A redirect that leads away from the ingress is the answer itself: load goes nowhere else.
// The trip is to be ended in any case, and the body closed before it.
func send(ctx context.Context, by carrier, deadline time.Time, m load.Message, c *client, redirects int) (*http.Response, trip, error) {
	for hop := 0; ; hop++ {
		one := m
		if c != nil {
			one.Header = c.jar.add(cookieURL(m), m.Header)
		}
		resp, t, err := by.carry(ctx, deadline, one)
		if err != nil {
			return nil, t, err
		}
		if c != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			c.jar.set(cookieURL(m), resp.Header)
		}
		next, ok := redirected(m, resp)
		if redirects == 0 || !ok {
			return resp, t, nil
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxLeftover))
		_ = resp.Body.Close() // what was read counts
		if err == nil && hop == redirects {
			err = errRedirects
		}
		if err != nil {
			return nil, t, err
		}
		t.end()
		m = next
	}
}

// redirected returns the message that an answer asks for instead of m (RFC 9110, 15.4). It is not ok if there is none, or if
// it would go elsewhere than to the ingress.
func redirected(m load.Message, resp *http.Response) (next load.Message, ok bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return m, false
	}
	where, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return m, false
	}
	to := cookieURL(m).ResolveReference(where)
	if to.Scheme != m.URL.Scheme || !sameHost(to, m.URL) && !sameHost(to, cookieURL(m)) {
		return m, false
	}
	next = m
	u := *m.URL
	u.Opaque, u.Path, u.RawPath, u.RawQuery, u.ForceQuery, u.Fragment = "", to.Path, to.RawPath, to.RawQuery, to.ForceQuery, ""
	if u.Path == "" {
		u.Path = "/"
	}
	next.URL = &u
	// 303 is answered by GET. So is 301 or 302 to a POST, as all clients have it; 307 and 308 are there for the others.
	post := m.Method == http.MethodPost && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect
	if post || resp.StatusCode == http.StatusSeeOther && m.Method != http.MethodHead {
		next.Method, next.Body = http.MethodGet, ""
		next.Header = m.Header.Clone()
		for name := range next.Header {
			if strings.HasPrefix(name, "Content-") {
				delete(next.Header, name)
			}
		}
		next.Header.Del("Expect")
	}
	return next, true
}

// sameHost compares hosts and ports, those included that a scheme implies.
func sameHost(a, b *url.URL) bool { return strings.EqualFold(hostPort(a), hostPort(b)) }
