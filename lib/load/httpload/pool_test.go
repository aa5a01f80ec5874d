package httpload

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tutti-bench/tutti/lib/load"
)

// A connection goes to the first who waits, and not to the one on whose account it was made. That one gets another made when there is
// room, although one is under way: that is for one behind it, and may hang.
func TestWaiterWhoseDialServedAnother(t *testing.T) {
	back := httptest.NewServer(http.NotFoundHandler())
	defer back.Close()
	s := newSecure(t.Context(), load.Plan{Ingress: back.URL, Timeout: 10 * time.Second, Connections: 3})
	defer s.close()
	fail, succeed, begun := make(chan bool), make(chan bool), make(chan int, 10)
	open, n := s.open, 0
	s.pool.open = func(ctx context.Context) (*link, error) {
		s.mu.Lock()
		n++
		number := n
		s.mu.Unlock()
		begun <- number
		switch number {
		case 1:
			<-fail
			return nil, errors.New("nobody is there")
		case 2:
			<-succeed
		case 3:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return open(ctx)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var got [3]chan error
	for i := range got {
		got[i] = make(chan error, 1)
		go func() {
			_, _, err := s.get(ctx)
			got[i] <- err
		}()
		<-begun
	}
	close(succeed)
	if err := <-got[0]; err != nil { // by the second's dial
		t.Fatal(err)
	}
	close(fail)
	if err := <-got[1]; err != nil {
		t.Errorf("the second: %v", err)
	}
	cancel()
	if err := <-got[2]; err == nil {
		t.Error("the third has a connection, and its dial was cancelled")
	}
}
