package httpload

import (
	"io"
	"net"
	"testing"
	"time"
)

// A connection that the peer has closed is seen to be over, also where something came before the end, as TLS has it. One on which
// something came is not.
func TestEndedBehindWhatCame(t *testing.T) {
	for _, farewell := range []string{"", "bye"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		if _, err := io.WriteString(peer, farewell); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if ended(nc) {
			t.Errorf("%q: over before its end", farewell)
		}
		if err := peer.Close(); err != nil {
			t.Fatal(err)
		}
		limit := time.Now().Add(5 * time.Second)
		for !ended(nc) {
			if time.Now().After(limit) {
				t.Fatalf("%q: its end is not seen", farewell)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
