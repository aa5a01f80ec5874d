package answer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	truth   = "10.9.9.9"
	silence = 300 * time.Millisecond // after which a look-up has no answer
)

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// query asks for a name over a connection and returns the answer's code and address.
func query(c net.Conn, network, name string, within time.Duration) (dnsmessage.RCode, string, error) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(time.Now().UnixNano()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		return 0, "", err
	}
	_ = c.SetDeadline(time.Now().Add(within))
	id := m.ID
	if network == "tcp" {
		b = framed(b)
	}
	if _, err := c.Write(b); err != nil {
		return 0, "", err
	}
	var said []byte
	if network == "tcp" {
		said, err = readFramed(c)
	} else {
		said = make([]byte, 4096)
		var n int
		n, err = c.Read(said)
		said = said[:n]
	}
	if err != nil {
		return 0, "", err
	}
	m = dnsmessage.Message{}
	if err := m.Unpack(said); err != nil {
		return 0, "", err
	}
	if m.ID != id || !m.Response {
		return 0, "", errors.New("an answer to another question")
	}
	if len(m.Answers) == 0 {
		return m.RCode, "", nil
	}
	a, ok := m.Answers[0].Body.(*dnsmessage.AResource)
	if !ok {
		return m.RCode, "", errors.New("no address")
	}
	return m.RCode, net.IP(a.A[:]).String(), nil
}

// ask looks a name up with a new socket.
func ask(network, server string) (dnsmessage.RCode, string, error) {
	c, err := net.DialTimeout(network, net.JoinHostPort(server, "53"), silence)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	return query(c, network, "app.", silence)
}

func TestLookups(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	p.in(func() {
		nameServer(t, peerAddress+":53", truth, nil)
		nameServer(t, "["+peerAddress6+"]:53", truth, nil)
	})
	a := carrier(t)
	kept := make(map[string]net.Conn) // sockets with which something was looked up before
	type way struct{ network, server string }
	var ways []way
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range []string{dockerAddress, peerAddress, peerAddress6} {
			ways = append(ways, way{network, server})
		}
	}
	truly := func(t *testing.T) {
		t.Helper()
		for _, w := range ways {
			if code, said, err := ask(w.network, w.server); err != nil || said != truth {
				t.Errorf("%v: want the truth, got %v, %q, %v", w, code, said, err)
			}
		}
	}
	truly(t)

	for _, one := range []struct {
		mode string
		code dnsmessage.RCode
	}{
		{rule.DNSSilent, 0},
		{rule.DNSRefused, dnsmessage.RCodeRefused},
		{rule.DNSNXDomain, dnsmessage.RCodeNameError},
		{rule.DNSSlow, dnsmessage.RCodeSuccess},
	} {
		t.Run(one.mode, func(t *testing.T) {
			for _, w := range ways {
				c, err := net.Dial(w.network, net.JoinHostPort(w.server, "53"))
				must(t, err)
				defer c.Close()
				if _, said, err := query(c, w.network, "app.", time.Second); err != nil || said != truth {
					t.Fatalf("%v: %q, %v", w, said, err)
				}
				kept[w.network+w.server] = c
			}
			r := rule.Rule{Act: rule.DNS, Mode: one.mode}
			if one.mode == rule.DNSSlow {
				r.Delay = 100 * time.Millisecond
			}
			must(t, a.Prepare(t.Context(), rule.Part{r}))
			truly(t) // nothing of it is in force
			set(t, a, map[string]rule.Part{"fault": {r}})

			for _, w := range ways {
				began := time.Now()
				code, said, err := ask(w.network, w.server)
				switch one.mode {
				case rule.DNSSilent:
					if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() {
						t.Errorf("%v: want silence, got %v, %q, %v", w, code, said, err)
					}
				case rule.DNSSlow:
					if err != nil || said != truth || time.Since(began) < r.Delay {
						t.Errorf("%v: want the truth late, got %v, %q, %v after %v", w, code, said, err, time.Since(began))
					}
				default:
					if err != nil || code != one.code || said != "" {
						t.Errorf("%v: want %v, got %v, %q, %v", w, one.code, code, said, err)
					}
				}
			}
			asked := uint64(len(ways))
			for _, w := range ways { // a flow that was there before cannot slip through
				code, said, err := query(kept[w.network+w.server], w.network, "app.", 300*time.Millisecond)
				switch {
				case one.mode == rule.DNSSilent || w.network == "tcp":
					if err == nil {
						t.Errorf("%v, kept: want no answer, got %v, %q", w, code, said)
					}
				case one.mode == rule.DNSSlow:
					if err != nil || said != truth {
						t.Errorf("%v, kept: want the truth, got %v, %q, %v", w, code, said, err)
					}
				default:
					if err != nil || code != one.code {
						t.Errorf("%v, kept: want %v, got %v, %q, %v", w, one.code, code, said, err)
					}
				}
				if w.network == "udp" {
					asked++
				}
			}
			d := end(t, a, "fault")
			truly(t)
			for _, w := range ways { // what was led away comes back with the same socket
				if w.network == "udp" {
					if _, said, err := query(kept[w.network+w.server], w.network, "app.", time.Second); err != nil || said != truth {
						t.Errorf("%v, kept, afterwards: want the truth, got %q, %v", w, said, err)
					}
				}
			}
			if one.mode == rule.DNSSilent {
				if d.Packets < asked || d.Hit < asked {
					t.Errorf("want at least %d seen and dropped, got %+v", asked, d)
				}
				return
			}
			if d.Packets != asked || d.Hit != asked {
				t.Errorf("want %d seen and hit, got %+v", asked, d)
			}
			if one.mode == rule.DNSSlow && (d.Delay == nil || d.Delay.Count != asked || d.Delay.Min < r.Delay) {
				t.Errorf("want %d held for %v at least, got %+v", asked, r.Delay, d.Delay)
			}
		})
	}
}

// The resolver of Go sees what users see.
func TestGoResolver(t *testing.T) {
	if !apart(t) {
		return
	}
	neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	a := carrier(t)
	look := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, dockerAddress+":53")
		}}
		all, err := r.LookupHost(ctx, "app.")
		return strings.Join(all, " "), err
	}
	for mode, like := range map[string]func(*net.DNSError) bool{
		rule.DNSSilent:   func(e *net.DNSError) bool { return e.IsTimeout },
		rule.DNSRefused:  func(e *net.DNSError) bool { return !e.IsNotFound && !e.IsTimeout },
		rule.DNSNXDomain: func(e *net.DNSError) bool { return e.IsNotFound },
	} {
		set(t, a, map[string]rule.Part{"fault": {{Act: rule.DNS, Mode: mode}}})
		_, err := look()
		if e := (*net.DNSError)(nil); !errors.As(err, &e) || !like(e) {
			t.Errorf("%s: %#v", mode, err)
		}
		set(t, a, nil)
		if said, err := look(); err != nil || said != truth {
			t.Errorf("after %s: %q, %v", mode, said, err)
		}
	}
}

// Docker's resolver asks others out of the node's namespace. That is not one more look-up of the node.
func TestOnwards(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	translate(t)
	p.in(func() { nameServer(t, peerAddress+":53", truth, nil) })
	nameServer(t, "127.0.0.11:45678", truth, func(q []byte) bool {
		c, err := net.Dial("udp", peerAddress+":53")
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(q)
		n, err := c.Read(make([]byte, 4096))
		return err == nil && n > 0
	})
	a := carrier(t)
	set(t, a, map[string]rule.Part{"fault": {{Act: rule.DNS, Mode: rule.DNSSlow, Delay: 20 * time.Millisecond}}})
	c, err := net.Dial("udp", dockerAddress+":53")
	must(t, err)
	defer c.Close()
	if _, said, err := query(c, "udp", "Far.example.", 3*time.Second); err != nil || said != truth {
		t.Errorf("want the truth, got %q, %v", said, err)
	}
	if d := end(t, a, "fault"); d.Packets != 1 || d.Hit != 1 {
		t.Errorf("want one look-up, got %+v", d)
	}
}

// What is held back when the fault ends goes at once.
func TestReleased(t *testing.T) {
	if !apart(t) {
		return
	}
	neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	a := carrier(t)
	set(t, a, map[string]rule.Part{"fault": {{Act: rule.DNS, Mode: rule.DNSSlow, Delay: time.Hour}}})
	c, err := net.Dial("udp", dockerAddress+":53")
	must(t, err)
	defer c.Close()
	said := make(chan string, 1)
	go func() {
		_, s, _ := query(c, "udp", "app.", 20*time.Second)
		said <- s
	}()
	for { // until it is there
		all, err := a.Read(t.Context())
		must(t, err)
		if all["fault"][0].Packets > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // the true answer comes meanwhile
	d := end(t, a, "fault")
	if s := <-said; s != truth {
		t.Errorf("want the truth, got %q", s)
	}
	if d.Hit != 0 {
		t.Errorf("it was not held for an hour: %+v", d)
	}
}

// A name server that breaks down for its own look-ups still answers others.
func TestOthersServed(t *testing.T) {
	if !apart(t) {
		return
	}
	p := neighbour(t)
	nameServer(t, nodeAddress+":53", truth, nil)
	a := carrier(t)
	for _, mode := range []string{rule.DNSSilent, rule.DNSRefused} {
		set(t, a, map[string]rule.Part{"fault": {{Act: rule.DNS, Mode: mode}}})
		for _, network := range []string{"udp", "tcp"} {
			c, err := p.dial(t.Context(), network, nodeAddress+":53")
			must(t, err)
			if _, said, err := query(c, network, "app.", time.Second); err != nil || said != truth {
				t.Errorf("%s, %s: want the truth, got %q, %v", mode, network, said, err)
			}
			_ = c.Close()
		}
		if d := end(t, a, "fault"); d.Packets != 0 || d.Hit != 0 {
			t.Errorf("%s: no look-up of the node, but %+v", mode, d)
		}
	}
}

// Two faults compose: silence wins, and what is left goes on counting.
func TestTwoFaults(t *testing.T) {
	if !apart(t) {
		return
	}
	neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	a := carrier(t)
	refused := rule.Part{{Act: rule.DNS, Mode: rule.DNSRefused}}
	silent := rule.Part{{Act: rule.DNS, Mode: rule.DNSSilent}}
	set(t, a, map[string]rule.Part{"a": refused})
	if code, _, err := ask("udp", dockerAddress); err != nil || code != dnsmessage.RCodeRefused {
		t.Errorf("refused: %v, %v", code, err)
	}
	set(t, a, map[string]rule.Part{"a": refused, "b": silent})
	if _, _, err := ask("udp", dockerAddress); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
	set(t, a, map[string]rule.Part{"a": refused})
	all, err := a.Read(t.Context())
	must(t, err)
	if b := all["b"]; len(b) != 1 || b[0].Packets != 1 || b[0].Hit != 1 {
		t.Errorf("want one look-up dropped, got %+v", b)
	}
	if code, _, err := ask("udp", dockerAddress); err != nil || code != dnsmessage.RCodeRefused {
		t.Errorf("refused again: %v, %v", code, err)
	}
	if d := end(t, a, "a"); d.Packets != 2 || d.Hit != 2 {
		t.Errorf("want two look-ups refused, got %+v", d)
	}
}

// When the helper ends as it should, a socket that was led to it finds its way back.
func TestClosed(t *testing.T) {
	if !apart(t) {
		return
	}
	neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	a := carrier(t)
	set(t, a, map[string]rule.Part{"a": {{Act: rule.DNS, Mode: rule.DNSRefused}}})
	c, err := net.Dial("udp", dockerAddress+":53")
	must(t, err)
	defer c.Close()
	if code, _, err := query(c, "udp", "app.", time.Second); err != nil || code != dnsmessage.RCodeRefused {
		t.Errorf("refused: %v, %v", code, err)
	}
	must(t, a.Close())
	if _, said, err := query(c, "udp", "app.", time.Second); err != nil || said != truth {
		t.Errorf("closed: want the truth, got %q, %v", said, err)
	}
	all, err := (&nftables.Conn{}).ListTables()
	must(t, err)
	if len(all) != 1 {
		t.Errorf("left behind: %d tables", len(all)-1)
	}
}

// A socket that asks several servers, and is connected to none, does not slip through either.
func TestUnconnected(t *testing.T) {
	if !apart(t) {
		return
	}
	neighbour(t)
	translate(t)
	nameServer(t, "127.0.0.11:45678", truth, nil)
	a := carrier(t)
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer packets.Close()
	c := aimed{packets, &net.UDPAddr{IP: net.ParseIP(dockerAddress), Port: 53}}
	if _, said, err := query(c, "udp", "app.", time.Second); err != nil || said != truth {
		t.Fatal(said, err)
	}
	set(t, a, map[string]rule.Part{"a": {{Act: rule.DNS, Mode: rule.DNSNXDomain}}})
	if code, said, err := query(c, "udp", "app.", time.Second); err != nil || code != dnsmessage.RCodeNameError {
		t.Errorf("want no such name, got %v, %q, %v", code, said, err)
	}
	if d := end(t, a, "a"); d.Hit != 1 {
		t.Errorf("want one look-up, got %+v", d)
	}
	if _, said, err := query(c, "udp", "app.", time.Second); err != nil || said != truth {
		t.Errorf("afterwards: %q, %v", said, err)
	}
}

// aimed writes all to one address.
type aimed struct {
	net.PacketConn
	to net.Addr
}

func (a aimed) Write(b []byte) (int, error) { return a.WriteTo(b, a.to) }

func (a aimed) Read(b []byte) (int, error) {
	n, _, err := a.ReadFrom(b)
	return n, err
}

func (a aimed) RemoteAddr() net.Addr { return a.to }
