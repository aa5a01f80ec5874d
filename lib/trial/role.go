package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
	"golang.org/x/sync/errgroup"
)

const (
	askLimit   = 2 * time.Second // for one node to say its role by HTTP
	execLimit  = 5 * time.Second // by a command: the engine has to start it
	askedAtOne = 8               // nodes asked at once: half of what the agent does at once
	maxAnswer  = 60              // runes of an answer that are told
)

// roleText says by what the nodes are found.
func roleText(r fault.Role) string {
	var parts []string
	if r.Get != "" {
		parts = append(parts, "get "+r.Get)
	} else {
		parts = append(parts, "exec "+strings.Join(r.Exec, " "))
	}
	if r.Status != 0 {
		parts = append(parts, fmt.Sprintf("status %d", r.Status))
	}
	if r.JSON != "" {
		parts = append(parts, fmt.Sprintf("json %s equals %q", r.JSON, r.Equals))
	}
	if r.Contains != "" {
		parts = append(parts, fmt.Sprintf("contains %q", r.Contains))
	}
	return strings.Join(parts, ", ")
}

// An answer is what a node said when it was asked for its role.
type answer struct {
	fits bool
	said string // sanitised and cut
}

// having asks every candidate for the role at once, and chooses among those that have it. That none has it is an
// error with what they said.
func (s *step) having(ctx context.Context, r fault.Role, nodes []target.Node) ([]target.Node, error) {
	answers := make([]answer, len(nodes))
	var g errgroup.Group
	g.SetLimit(askedAtOne)
	for i, n := range nodes {
		g.Go(func() error {
			fits, said, err := s.ask(ctx, r, n)
			if err != nil {
				fits, said = false, err.Error()
			}
			answers[i] = answer{fits, shown(said)}
			return nil // one that cannot be asked does not have it
		})
	}
	_ = g.Wait() // never an error, see above
	var fit []target.Node
	var said []string
	for i, n := range nodes {
		if answers[i].fits {
			fit = append(fit, n)
		}
		said = append(said, n.Name+" "+answers[i].said)
	}
	selector, of := s.plan.Selector, s.plan.Selector.Service
	if of == "" {
		of = "zone " + selector.Zone
	}
	if len(fit) > 0 {
		selector.Zone = "" // the plan asked for that already
		return selector.Choose(fit, s.site.Rand)
	}
	const most = 8
	if len(said) > most {
		said = append(said[:most], fmt.Sprintf("and %d more", len(said)-most))
	}
	return nil, fmt.Errorf("no node of %s has the role (%s): asked %d: %s", of, s.rec.Role, len(nodes), strings.Join(said, "; "))
}

// ask asks one node, at its own address and from inside the target's network, or by a command in it.
func (s *step) ask(ctx context.Context, r fault.Role, n target.Node) (fits bool, said string, err error) {
	if r.Get == "" {
		e, ok := s.cluster.(target.Execer)
		if !ok {
			return false, "", errors.New("this driver runs no commands in nodes")
		}
		ctx, cancel := context.WithTimeoutCause(ctx, execLimit, fmt.Errorf("no answer within %v", execLimit))
		defer cancel()
		out, err := e.Exec(ctx, n, r.Exec)
		if err != nil {
			return false, "", err
		}
		if out.Code != 0 {
			return false, fmt.Sprintf("exit code %d: %s", out.Code, out.Output), nil
		}
		return strings.Contains(out.Output, r.Contains), out.Output, nil
	}
	at, err := ownURL(r.Get, n)
	if err != nil {
		return false, "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askLimit+time.Second, fmt.Errorf("no answer within %v", askLimit))
	defer cancel()
	got, err := s.client.Fetch(ctx, agent.Fetch{URL: at, Timeout: askLimit})
	if err != nil {
		return false, "", err
	}
	return judge(r, got)
}

// ownURL is a URL without a host at a node's own address.
func ownURL(text string, n target.Node) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	if n.Address == "" {
		return "", errors.New("it has no address")
	}
	port := u.Port()
	u.Host = n.Address
	if strings.Contains(n.Address, ":") {
		u.Host = "[" + n.Address + "]"
	}
	if port != "" {
		u.Host = net.JoinHostPort(n.Address, port)
	}
	return u.String(), nil
}

// judge reports whether an answer is one of a node that has the role, and what of it is worth telling.
func judge(r fault.Role, got agent.Fetched) (fits bool, said string, err error) {
	status := fmt.Sprintf("status %d", got.Status)
	if r.Status != 0 && got.Status != r.Status || r.Status == 0 && (got.Status < 200 || got.Status > 399) {
		return false, status, nil
	}
	said = status + ": " + string(got.Body[:min(len(got.Body), 4*maxAnswer)])
	if r.Contains != "" && !bytes.Contains(got.Body, []byte(r.Contains)) {
		return false, said, nil
	}
	if r.JSON == "" {
		return true, said, nil
	}
	value, err := lookUp(got.Body, r.JSON)
	if err != nil {
		return false, "", fmt.Errorf("%s: %w", status, err)
	}
	return value == r.Equals, r.JSON + " is " + value, nil
}

// lookUp finds what stands at a path of keys and indices in JSON. A text is itself, everything else as it is written.
func lookUp(body []byte, path string) (string, error) {
	at := json.RawMessage(body)
	for _, key := range strings.Split(path, ".") {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(at, &object) == nil && object != nil:
			v, ok := object[key]
			if !ok {
				return "", fmt.Errorf("no %q in %s", key, path)
			}
			at = v
		case json.Unmarshal(at, &list) == nil && list != nil:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(list) {
				return "", fmt.Errorf("no %q in %s: there are %d", key, path, len(list))
			}
			at = list[i]
		default:
			return "", fmt.Errorf("no %q in %s: there is no object and no list", key, path)
		}
	}
	var text string
	if json.Unmarshal(at, &text) == nil && string(at) != "null" {
		return text, nil
	}
	var out bytes.Buffer
	if err := json.Compact(&out, at); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return out.String(), nil
}

// shown makes what a node says fit to be told: one quoted line, not too long.
func shown(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "?"))
	if utf8.RuneCountInString(s) > maxAnswer {
		s = string([]rune(s)[:maxAnswer]) + "…"
	}
	return strconv.Quote(s)
}
