package netfault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

type parts = map[string]rule.Part

// fake is a carrier that remembers what is in force, and refuses rules on port 666.
type fake struct {
	name   string
	log    *[]string
	force  map[string]rule.Part
	ended  map[string]rule.Part
	closed bool
}

func (f *fake) Set(_ context.Context, parts map[string]rule.Part) error {
	for name, p := range parts {
		for _, r := range p {
			if len(r.Ports) > 0 && r.Ports[0] == 666 {
				*f.log = append(*f.log, f.name+" refuses")
				return fmt.Errorf("%s: never", name)
			}
		}
	}
	*f.log = append(*f.log, fmt.Sprintf("%s %d", f.name, len(parts)))
	f.ended = make(map[string]rule.Part)
	for name, p := range f.force {
		if _, stays := parts[name]; !stays {
			f.ended[name] = p
		}
	}
	f.force = maps.Clone(parts)
	return nil
}

// Read reports for each rule its first port.
func (f *fake) Read(context.Context) (map[string]rule.Report, error) {
	all := make(map[string]rule.Report)
	for _, of := range []map[string]rule.Part{f.ended, f.force} {
		for name, p := range of {
			for _, r := range p {
				all[name] = append(all[name], rule.Delivered{Packets: uint64(r.Ports[0])})
			}
		}
	}
	f.ended = nil
	return all, nil
}

func (f *fake) Prepare(_ context.Context, p rule.Part) error {
	*f.log = append(*f.log, fmt.Sprintf("%s prepares %d", f.name, len(p)))
	return nil
}

func (f *fake) Close() error { f.closed = true; return nil }

// fakes makes a worker whose carriers are fakes; the one for netem cannot be made.
func fakes() (*netfault.Worker, *[]string, map[string]*fake) {
	log, made := new([]string), make(map[string]*fake)
	makers := netfault.Makers{rule.WayNetem: func() (netfault.Carrier, error) { return nil, errors.New("no such qdisc") }}
	for _, way := range []string{rule.WayNFT, rule.WayTBF, netfault.Answer} {
		makers[way] = func() (netfault.Carrier, error) {
			*log = append(*log, "make "+way)
			made[way] = &fake{name: way, log: log}
			return made[way], nil
		}
	}
	return netfault.New(makers), log, made
}

func wire(t *testing.T, parts parts) agent.Parts {
	t.Helper()
	all := make(agent.Parts)
	for name, p := range parts {
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = raw
	}
	return all
}

func ported(way string, act rule.Act, port uint16) rule.Rule {
	return rule.Rule{Way: way, Act: act, Ports: []uint16{port}}
}

// Rules go to the carriers of their ways, which are made when they are needed, and reports come back in the rules' order.
func TestDeal(t *testing.T) {
	w, log, made := fakes()
	one := rule.Part{ported(rule.WayTBF, rule.Limit, 1), ported(rule.WayNFT, rule.Drop, 2), ported("", rule.DNS, 3), ported(rule.WayTBF, rule.Limit, 4)}
	two := rule.Part{ported(rule.WayNFT, rule.Drop, 5)}
	said := func() string { return strings.Join(*log, ", ") }

	if err := w.Arm(t.Context(), "two", wire(t, parts{"two": two})["two"]); err != nil {
		t.Fatal(err)
	}
	if want := "make nft, nft prepares 1"; said() != want {
		t.Errorf("armed: want %s, got %s", want, said())
	}
	*log = nil
	out, err := w.Set(t.Context(), wire(t, parts{"one": one, "two": two}))
	if err != nil || out.From.IsZero() || out.To.Before(out.From) || len(out.Ended) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if want := "make answer, make tbf, answer 1, nft 2, tbf 1"; said() != want {
		t.Errorf("want %s, got %s", want, said())
	}
	read, err := w.Read(t.Context())
	if err != nil || string(read["one"]) != `[{"packets":1,"hit":0},{"packets":2,"hit":0},{"packets":3,"hit":0},{"packets":4,"hit":0}]` {
		t.Errorf("%s, %v", read["one"], err)
	}
	*log = nil
	out, err = w.Set(t.Context(), wire(t, parts{"one": one}))
	if err != nil || len(out.Ended) != 1 || string(out.Ended["two"]) != `[{"packets":5,"hit":0}]` {
		t.Errorf("%s, %v", out.Ended, err)
	}
	if want := "nft 1"; said() != want {
		t.Errorf("who is not concerned is asked: want %s, got %s", want, said())
	}
	if err := w.Close(); err != nil || !made[rule.WayNFT].closed || !made[netfault.Answer].closed {
		t.Errorf("not closed: %v", err)
	}
}

// If one carrier refuses, those before it have again what they had.
func TestRollback(t *testing.T) {
	w, log, made := fakes()
	if _, err := w.Set(t.Context(), wire(t, parts{"good": {ported(rule.WayNFT, rule.Drop, 1)}})); err != nil {
		t.Fatal(err)
	}
	*log = nil
	_, err := w.Set(t.Context(), wire(t, parts{"bad": {ported(rule.WayNFT, rule.Drop, 2), ported(rule.WayTBF, rule.Limit, 666)}}))
	if err == nil || !strings.Contains(err.Error(), "never") {
		t.Fatalf("want a refusal, got %v", err)
	}
	if want := "make tbf, nft 1, tbf refuses, nft 1"; strings.Join(*log, ", ") != want {
		t.Errorf("want %s, got %s", want, strings.Join(*log, ", "))
	}
	if p := made[rule.WayNFT].force; len(p) != 1 || p["good"] == nil {
		t.Errorf("in force: %v", p)
	}
	if read, err := w.Read(t.Context()); err != nil || len(read) != 1 || read["good"] == nil {
		t.Errorf("%s, %v", read, err)
	}
}

// A carrier that is missing matters to what needs it alone, and then nothing is changed.
func TestMissing(t *testing.T) {
	w, log, _ := fakes()
	for _, r := range []rule.Rule{
		ported(rule.WayNetem, rule.Delay, 1), ported("magic", rule.Drop, 1),
		{Way: rule.WayNFT, Act: rule.Lose, Share: 2},
		{Way: rule.WayNFT, Act: rule.Drop, Direction: "up"},
		{Way: rule.WayTBF, Act: rule.Limit, Rate: -1},
		{Way: rule.WayNFQueue, Act: rule.Delay, Delay: -1},
	} {
		raw := wire(t, parts{"f": {r}})
		if _, err := w.Set(t.Context(), raw); err == nil {
			t.Errorf("%+v was accepted", r)
		}
		if err := w.Arm(t.Context(), "f", raw["f"]); err == nil {
			t.Errorf("%+v was prepared", r)
		}
	}
	if _, err := w.Set(t.Context(), agent.Parts{"f": json.RawMessage(`{"not": "a part"}`)}); err == nil {
		t.Error("what is no part was accepted")
	}
	if len(*log) != 0 {
		t.Errorf("carriers were asked: %v", *log)
	}
	if _, err := w.Set(t.Context(), nil); err != nil {
		t.Errorf("nothing cannot be set: %v", err)
	}
	if want := "make tbf, tbf 0"; strings.Join(*log, ", ") != want {
		t.Errorf("what a killed helper may have left: want %s, got %v", want, *log)
	}
}
