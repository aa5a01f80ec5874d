package network

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/target"
)

// HTTPKind is the verb http: answers of the nodes, on one of their ports, that are errors, late, or cut.
func HTTPKind() fault.Kind {
	return fault.Kind{
		Summary: "answers of the service are an error, late, or cut in the middle; connections are reset when it begins and ends",
		Params: []fault.Param{
			{Name: "share", Type: fault.Share, Summary: "of the requests, such as 10%; default 100%"},
			{Name: "path", Type: fault.Path, Summary: "requests for it, and below it; default all"},
			{Name: "status", Type: fault.Status, Summary: "answered in the service's place, 200 to 599"},
			{Name: "delay", Type: fault.Duration, Summary: "before the answer, or before the request goes to the service"},
			{Name: "cut", Type: fault.Switch, Summary: "the connection is closed after the headers and half of the body"},
			{Name: "port", Type: fault.Port, Summary: "of the service; default the ingress's, or the only one in the Compose file (expose, ports, healthcheck)"},
		},
		Places: []target.Place{target.InNetwork},
		Ways: []fault.Way{{
			Name: "reverse-proxy", Means: "connections redirected to a reverse proxy in a helper (nftables); the service sees its own address as the client's",
			Abilities: target.CanEnterNetwork, Primitives: []string{rule.HasNFT, rule.HasRedirect, rule.HasReject},
		}},
		Check: findPort,
		New: func(p fault.Params) (fault.Fault, error) {
			r := rule.Rule{
				Act: rule.HTTP, Share: p.Number("share", 1), Path: p.Text("path", ""),
				Status: p.Count("status", 0), Delay: p.Duration("delay", 0), Cut: p.On("cut"),
			}
			if err := sensible(r, p); err != nil {
				return nil, fmt.Errorf("http: %w", err)
			}
			return helped("requests "+spoilt(r), func(s *fault.Site, nodes []target.Node) (map[string]any, error) {
				port := portOf(p)
				if port == 0 {
					return nil, fmt.Errorf("%s: which port of the service answers is not known: give `port`", s.Name)
				}
				parts := make(map[string]any, len(nodes))
				for _, n := range nodes {
					r := r
					r.Ports = []uint16{uint16(port)}
					if s.Rand != nil {
						r.Seed = s.Rand.Uint64()
					}
					parts[n.Name] = rule.Part{r}
				}
				return parts, nil
			}, requested), nil
		},
	}
}

// sensible finds what cannot be asked for.
func sensible(r rule.Rule, p fault.Params) error {
	switch {
	case !(r.Share > 0 && r.Share <= 1):
		return fmt.Errorf("a `share` of %g is not above 0 and at most 1", r.Share)
	case p.Has("delay") && r.Delay <= 0:
		return fmt.Errorf("`delay` is %v", r.Delay)
	case p.Has("status") && (r.Status < 200 || r.Status > 599):
		return fmt.Errorf("`status` %d is no answer to a request (200 to 599)", r.Status)
	case r.Cut && (r.Status != 0 || r.Delay != 0):
		return errors.New("`cut` stands alone, without `status` or `delay`")
	case !r.Cut && r.Status == 0 && r.Delay == 0:
		return errors.New("one of `status`, `delay` and `cut` is needed")
	}
	return nil
}

// spoilt says what becomes of requests.
func spoilt(r rule.Rule) string {
	switch {
	case r.Cut:
		return "cut in the middle of the answer"
	case r.Status != 0 && r.Delay != 0:
		return fmt.Sprintf("answered with %d after %v", r.Status, r.Delay)
	case r.Status != 0:
		return fmt.Sprintf("answered with %d", r.Status)
	default:
		return fmt.Sprintf("answered %v late", r.Delay)
	}
}

// requested proves a fault of requests by how many were hit of those that came.
func requested(p rule.Part, report rule.Report, _ time.Duration) (asked, delivered string, short bool) {
	r, d := p[0], report[0]
	asked = percent(r.Share) + " of requests"
	if r.Path != "" {
		asked += " for " + r.Path
	}
	asked += " " + spoilt(r)
	if d.Packets == 0 {
		delivered = "no request came while it was in force"
		if r.Path != "" {
			delivered = "no request for " + r.Path + " came while it was in force"
		}
		if d.Passed > 0 {
			delivered += fmt.Sprintf("; %d connections were not HTTP/1, and passed", d.Passed)
		}
		return asked, delivered, true
	}
	delivered = fmt.Sprintf("%s of %d requests", percent(float64(d.Hit)/float64(d.Packets)), d.Packets)
	if d.Delay != nil {
		delivered += fmt.Sprintf(", %s at the median, p99 %s", millis(d.Delay.P50), millis(d.Delay.P99))
	}
	if d.Passed > 0 {
		delivered += fmt.Sprintf(", %d connections that were not HTTP/1 passed", d.Passed)
	}
	if d.Resets > 0 {
		delivered += fmt.Sprintf(", %d connections reset at its edges", d.Resets)
	}
	if !likely(d.Packets, d.Hit, r.Share) {
		return asked, delivered + ", which chance gives once in 1,000 times at most", true
	}
	return asked, delivered, d.Hit == 0
}

// inferred is a port that the file does not give, and that findPort has found.
type inferred int

func portOf(p fault.Params) int {
	if found, ok := p["port"].(inferred); ok {
		return int(found)
	}
	return p.Count("port", 0)
}

// findPort fills in the service's port where it is not given: the ingress's if clients come in there, else the only one that
// its Compose file speaks of.
func findPort(p fault.Params, s target.Service, spec *target.Spec) error {
	before, again := p["port"].(inferred)
	if p.Has("port") && !again {
		return nil
	}
	port, err := servicePort(s, spec)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	if again && before != inferred(port) {
		return fmt.Errorf("http: the services that it hits answer at several ports (%d, %d): give `port`, or a fault for each service", before, port)
	}
	p["port"] = inferred(port)
	return nil
}

func servicePort(s target.Service, spec *target.Spec) (int, error) {
	if at := spec.Ingress; at != nil && at.Hostname() == s.Name {
		switch {
		case at.Port() == "" && at.Scheme == "https":
			return 443, nil
		case at.Port() == "":
			return 80, nil
		}
		return strconv.Atoi(at.Port())
	}
	var found []int
	for _, e := range s.Expose {
		number, protocol, _ := strings.Cut(e, "/")
		if n, err := strconv.Atoi(number); err == nil && (protocol == "" || protocol == "tcp") {
			found = append(found, n)
		}
	}
	if len(found) == 0 && s.Healthcheck != nil && !s.Healthcheck.Disable {
		found = checked(s.Healthcheck.Test)
	}
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("the Compose file does not say at which port %s answers: give `port`", s.Name)
	default:
		return 0, fmt.Errorf("%s has several ports (%s): give `port`", s.Name, strings.Trim(fmt.Sprint(found), "[]"))
	}
}

// checked are the ports that a health check names: those of URLs, and host:port.
func checked(test []string) []int {
	var found []int
	at := regexp.MustCompile(`(https?)://[^\s/'":]+([/\s'"]|$)|[\w.\]]:(\d{1,5})\b`)
	for _, m := range at.FindAllStringSubmatch(strings.Join(test, " "), -1) {
		port := m[3]
		switch m[1] {
		case "http":
			port = "80"
		case "https":
			port = "443"
		}
		if n, err := strconv.Atoi(port); err == nil && n > 0 && n < 1<<16 {
			found = append(found, n)
		}
	}
	return found
}
