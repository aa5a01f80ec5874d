package wire_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load/wire"
)

// A peer whose kernel does not even shake hands: the deadline of connecting ends that, and whoever
// gets a connection that came free meanwhile does not wait for it.
func TestConnectDeadline(t *testing.T) {
	address := full(t)
	tr := open(t, wire.Options{Connect: 150 * time.Millisecond})
	begun := time.Now()
	e := is(t, exchange(t.Context(), tr, "GET", "http://"+address+"/", ""), wire.Timeout)
	if took := time.Since(begun); e.Doing != "connect to" || took < 140*time.Millisecond || took > 5*time.Second {
		t.Errorf("%q after %v", e.Doing, took)
	}
	if a := tr.Stats()[0]; a.NotOpened != 1 || a.Failed.Of(wire.Timeout) != 1 || a.Dialing != 0 {
		t.Errorf("statistics: %+v", a)
	}
}

// Whoever gives up takes along what was being made for it: it must not take the place of what others need.
func TestDialEndsWithItsWaiter(t *testing.T) {
	address := full(t)
	tr := open(t, wire.Options{Connect: time.Minute, Total: time.Minute, MaxConns: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	is(t, exchange(ctx, tr, "GET", "http://"+address+"/", ""), wire.Timeout)
	until(t, func() bool { a := tr.Stats()[0]; return a.Dialing == 0 && a.NotOpened == 1 })
}

func TestCancelWhileConnecting(t *testing.T) {
	address := full(t)
	soon(t, func() time.Duration {
		tr := open(t, wire.Options{MaxConns: 5})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { is(t, exchange(ctx, tr, "GET", "http://"+address+"/", ""), wire.Canceled) })
		}
		until(t, func() bool { a := tr.Stats(); return len(a) > 0 && a[0].Dialing == 5 && a[0].Waiting == 10 })
		begun := time.Now()
		cancel()
		wg.Wait()
		tr.Close()
		took := time.Since(begun)
		if a := tr.Stats()[0]; a.Dialing+a.Waiting+a.Busy+a.Idle != 0 {
			t.Errorf("afterwards: %+v", a)
		}
		return took
	})
}

// A lack of descriptors is our own, and no word about the peer.
func TestDescriptorsRunOut(t *testing.T) {
	address := constant(t)
	tr := open(t, wire.Options{})
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Skip(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: was.Max}); err != nil {
		t.Skip(err)
	}
	err := exchange(t.Context(), tr, "GET", "http://"+address+"/", "")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	is(t, err, wire.Local)
}

// full listens with a backlog that is full, so that no handshake is answered.
func full(t *testing.T) (address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("%T", name)
	}
	address = fmt.Sprintf("127.0.0.1:%d", at.Port)
	for range 10 { // until one gets no answer
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("the backlog does not get full")
	return ""
}
