package httpload_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/record"
)

// A request that is redirected is one request: what it becomes is RFC 9110's, where it goes is the ingress, and how often is bounded.
func TestRedirects(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		status int
		to     string // {} is the ingress
		follow int
		want   string // what is asked for in the end; "" if nothing is followed
		class  record.Class
	}{
		{"not asked for", "GET", 302, "/end", 0, "", record.OK},
		{"moved", "GET", 301, "/end", 1, "GET /end ", record.OK},
		{"found", "GET", 302, "/end?a=b#part", 1, "GET /end?a=b ", record.OK},
		{"relative", "GET", 302, "end", 1, "GET /start/end ", record.OK},
		{"query alone", "GET", 302, "?a=b", 1, "GET /start/x?a=b ", record.OK},
		{"to the ingress by name", "GET", 302, "{}/end", 1, "GET /end ", record.OK},
		{"in capitals", "GET", 302, "{INGRESS}/end", 1, "GET /end ", record.OK},
		{"to the root", "GET", 302, "{}", 1, "GET / ", record.OK},
		{"escaped", "GET", 302, "/a%2Fb%20c", 1, "GET /a%2Fb%20c ", record.OK},
		{"see other", "GET", 303, "/end", 1, "GET /end ", record.OK},
		{"temporary", "GET", 307, "/end", 1, "GET /end ", record.OK},
		{"permanent", "GET", 308, "/end", 1, "GET /end ", record.OK},
		{"POST moved", "POST", 301, "/end", 1, "GET /end ", record.OK},
		{"POST found", "POST", 302, "/end", 1, "GET /end ", record.OK},
		{"POST see other", "POST", 303, "/end", 1, "GET /end ", record.OK},
		{"POST temporary", "POST", 307, "/end", 1, "POST /end body", record.OK},
		{"POST permanent", "POST", 308, "/end", 1, "POST /end body", record.OK},
		{"PUT moved", "PUT", 301, "/end", 1, "PUT /end body", record.OK},
		{"PUT see other", "PUT", 303, "/end", 1, "GET /end ", record.OK},
		{"DELETE found", "DELETE", 302, "/end", 1, "DELETE /end ", record.OK},
		{"HEAD see other", "HEAD", 303, "/end", 1, "HEAD /end ", record.OK},
		{"HEAD moved", "HEAD", 301, "/end", 1, "HEAD /end ", record.OK},
		{"no Location", "GET", 302, "", 10, "", record.OK},
		{"broken Location", "GET", 302, "http://[::1", 10, "", record.OK},
		{"multiple choices", "GET", 300, "/end", 10, "", record.OK},
		{"not modified", "GET", 304, "/end", 10, "", record.OK},
		{"created", "POST", 201, "/end", 10, "", record.OK},
		{"to another host", "GET", 302, "http://elsewhere/end", 10, "", record.OK},
		{"to another host of the same scheme", "GET", 302, "//elsewhere/end", 10, "", record.OK},
		{"to another port", "GET", 302, "{}:81/end", 10, "", record.OK},
		{"to another scheme", "GET", 302, "ftp://ingress/end", 10, "", record.OK},
		{"as many as may be", "GET", 302, "/2", 3, "GET /end ", record.OK},
		{"one too many", "GET", 302, "/3", 3, "", record.Wrong},
		{"a circle", "GET", 302, "/start/x", 10, "", record.Wrong},
	} {
		for _, w := range speeches() {
			t.Run(c.name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				ended := make(map[string]int)
				_, p := w.httptest(t, func(rw http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if r.Header.Get("X-Own") != "1" || (r.Header.Get("Content-Type") == "") != (len(body) == 0) {
						http.Error(rw, fmt.Sprint(r.Header), http.StatusTeapot)
						return
					}
					n, err := strconv.Atoi(r.URL.Path[1:])
					switch {
					case r.URL.Path == "/start/x" && r.URL.RawQuery == "":
						scheme := map[bool]string{true: "https", false: "http"}[w.tls]
						to := strings.NewReplacer("{}", scheme+"://ingress", "{INGRESS}", scheme+"://INGRESS:"+map[bool]string{true: "443", false: "80"}[w.tls]).Replace(c.to)
						if to != "" {
							rw.Header().Set("Location", to)
						}
						rw.WriteHeader(c.status)
					case err == nil && n > 1:
						http.Redirect(rw, r, fmt.Sprint("/", n-1), http.StatusFound)
					case err == nil:
						http.Redirect(rw, r, "/end", http.StatusFound)
					default:
						mu.Lock()
						defer mu.Unlock()
						ended[fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body)]++
						_, _ = io.WriteString(rw, "the end")
					}
				}, 100, 30*time.Millisecond)
				p.Redirects = c.follow
				one := load.Request{Name: "one", Method: c.method, Path: "/start/x", Headers: map[string]string{"X-Own": "1"}}
				if c.method == "POST" || c.method == "PUT" {
					one.Body, one.Headers["Content-Type"] = "body", "text/plain"
				}
				p.Requests = []load.Request{one}
				checkRedirect(t, p, c.want, c.class, ended)
			})
		}
	}
}

func checkRedirect(t *testing.T, p load.Plan, want string, class record.Class, ended map[string]int) {
	t.Helper()
	checkClasses(t, classes(run(t, p)), map[record.Class]int{class: 3})
	if want == "" {
		if len(ended) > 0 {
			t.Errorf("followed to %v", ended)
		}
		return
	}
	if len(ended) != 1 || ended[want] != 3 {
		t.Errorf("asked for %v, want %q", ended, want)
	}
}

// A session that is led from its login to its cart takes the cookies of every hop with it, and its captured values from the last.
func TestRedirectsInSessions(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			_, p := w.httptest(t, func(rw http.ResponseWriter, r *http.Request) {
				who, err := r.Cookie("who")
				switch r.URL.Path {
				case "/login":
					http.SetCookie(rw, &http.Cookie{Name: "who", Value: r.Header.Get("X-Key"), Path: "/"})
					http.Redirect(rw, r, "/welcome", http.StatusSeeOther)
				case "/welcome":
					if err != nil || who.Value != r.Header.Get("X-Key") {
						http.Error(rw, "who are you?", http.StatusUnauthorized)
						return
					}
					http.SetCookie(rw, &http.Cookie{Name: "seen", Value: "yes", Path: "/"})
					http.Redirect(rw, r, "/cart", http.StatusFound)
				default:
					if seen, _ := r.Cookie("seen"); err != nil || seen == nil {
						http.Error(rw, "who are you?", http.StatusUnauthorized)
						return
					}
					_, _ = io.WriteString(rw, `{"id": "`+who.Value+`"}`)
				}
			}, 200, 500*time.Millisecond)
			p.Redirects = 2
			p.Requests = []load.Request{
				{Name: "login", Method: "POST", Path: "/login", Headers: map[string]string{"X-Key": "{{.Key}}"}, Body: "x", Capture: []load.Capture{{Name: "id", JSON: "$.id"}}},
				{Name: "pay", Method: "GET", Path: "/pay/{{.Captured.id}}", Expect: load.Expect{Contains: `"id"`}},
			}
			p.Sessions = []load.Session{{Name: "s", Steps: 2, Think: 20 * time.Millisecond}}
			checkClasses(t, classes(outcomes(t, p)), map[record.Class]int{record.OK: 100})
		})
	}
}

// The time of a redirect is the request's, its deadline too, and what breaks on the way is its failure.
func TestRedirectsCount(t *testing.T) {
	for _, w := range speeches() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			const slow = 60 * time.Millisecond
			h := func(rw http.ResponseWriter, r *http.Request) {
				time.Sleep(slow)
				switch r.URL.Path {
				case "/a":
					http.Redirect(rw, r, "/b", http.StatusFound)
				case "/broken":
					rw.Header().Set("Location", "/b")
					rw.Header().Set("Content-Length", "100")
					rw.WriteHeader(http.StatusFound)
					_, _ = io.WriteString(rw, "half")
					_ = http.NewResponseController(rw).Flush()
					panic(http.ErrAbortHandler)
				}
			}
			_, p := w.httptest(t, h, 50, 100*time.Millisecond)
			p.Redirects = 1
			p.Requests[0].Path = "/a"
			got := run(t, p)
			checkClasses(t, classes(got), map[record.Class]int{record.OK: 5})
			for _, x := range got {
				if x.Done-x.Due < 2*slow {
					t.Errorf("two hops of %v take %v", slow, x.Done-x.Due)
				}
			}
			p.Timeout = slow * 3 / 2
			checkClasses(t, classes(run(t, p)), map[record.Class]int{record.Timeout: 5})
			p.Timeout = time.Minute
			p.Requests[0].Path = "/broken"
			checkClasses(t, classes(run(t, p)), map[record.Class]int{record.Truncated: 5})
		})
	}
}
