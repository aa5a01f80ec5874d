package answer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// served is a rule in force, and what it has delivered.
type served struct {
	rule.Rule
	tally
	over chan struct{} // closed when the rule ends: what it holds back goes at once

	chance sync.Mutex
	random *rand.Rand // guarded by chance

	before counts // the kernel's, when the rule began
}

func serve(r rule.Rule) *served {
	return &served{Rule: r, over: make(chan struct{}), random: rand.New(rand.NewPCG(r.Seed, 0x616e73776572))} // "answer"
}

func (s *served) silent() bool { return s.Act == rule.DNS && s.Mode == rule.DNSSilent }

// draw reports whether chance hits one more request.
func (s *served) draw() bool {
	s.chance.Lock()
	defer s.chance.Unlock()
	return s.random.Float64() < s.Share
}

// about reports whether a rule for HTTP is about a path.
func (s *served) about(of string) bool {
	below := strings.TrimSuffix(s.Path, "/")
	of = path.Clean("/" + of)
	return below == "" || of == below || strings.HasPrefix(of, below+"/")
}

// hold waits for the rule's delay since an instant, and reports whether it did: not if the rule ended before.
func (s *served) hold(ctx context.Context, since time.Time) bool {
	t := time.NewTimer(s.Delay - time.Since(since))
	defer t.Stop()
	select {
	case <-t.C:
		s.held(time.Since(since))
		return true
	case <-s.over:
		return false
	case <-ctx.Done():
		return false
	}
}

// check says why a rule cannot be carried out.
func check(r rule.Rule) error {
	switch r.Act {
	case rule.DNS:
		return checkDNS(r)
	case rule.HTTP:
		return checkHTTP(r)
	default:
		return fmt.Errorf("answers cannot %q", r.Act)
	}
}

func checkDNS(r rule.Rule) error {
	want := rule.Rule{Act: r.Act, Way: r.Way, Mode: r.Mode, Seed: r.Seed}
	switch r.Mode {
	case rule.DNSSilent, rule.DNSRefused, rule.DNSNXDomain:
	case rule.DNSSlow:
		if r.Delay <= 0 {
			return errors.New("slow look-ups without a delay")
		}
		want.Delay = r.Delay
	default:
		return fmt.Errorf("look-ups cannot be %q", r.Mode)
	}
	if !reflect.DeepEqual(r, want) {
		return fmt.Errorf("look-ups that are %s know no peers, ports, share or other parameters of packets", r.Mode)
	}
	return nil
}

func checkHTTP(r rule.Rule) error {
	want := rule.Rule{
		Act: r.Act, Way: r.Way, Seed: r.Seed, Ports: r.Ports, Share: r.Share, Path: r.Path,
		Status: r.Status, Delay: r.Delay, Cut: r.Cut,
	}
	switch {
	case len(r.Ports) == 0:
		return errors.New("answers need the ports at which the node gives them")
	case !(r.Share > 0 && r.Share <= 1):
		return fmt.Errorf("a share of %v is not above 0 and at most 1", r.Share)
	case r.Path != "" && !strings.HasPrefix(r.Path, "/"):
		return fmt.Errorf("the path %q does not begin with /", r.Path)
	case r.Status != 0 && (r.Status < 200 || r.Status > 599):
		return fmt.Errorf("%d is no status of an answer (200 to 599)", r.Status)
	case r.Status == 0 && r.Delay == 0 && !r.Cut:
		return errors.New("neither a status nor a delay nor a cut")
	case r.Cut && (r.Status != 0 || r.Delay != 0):
		return errors.New("a cut stands alone, without a status or a delay")
	case r.Delay < 0:
		return fmt.Errorf("a delay of %v", r.Delay)
	case !reflect.DeepEqual(r, want):
		return errors.New("answers know no peers, direction or other parameters of packets")
	}
	for _, p := range r.Ports {
		if p == 0 {
			return errors.New("there is no port 0")
		}
	}
	return nil
}
