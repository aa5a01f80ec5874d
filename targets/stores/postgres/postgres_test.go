package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tutti-bench/tutti/targets/stores/gateway"
)

func TestWhatIsKnownOfAFailedStatement(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		notDone bool
	}{
		"read only":         {&pgconn.PgError{Severity: "ERROR", Code: "25006"}, true},
		"disk full":         {&pgconn.PgError{Severity: "ERROR", Code: "53100"}, true},
		"starting up":       {&pgconn.PgError{Severity: "FATAL", Code: "57P03"}, true},
		"shut down":         {&pgconn.PgError{Severity: "FATAL", Code: "57P01"}, false},
		"crash of another":  {&pgconn.PgError{Severity: "FATAL", Code: "57P02"}, false},
		"panic":             {&pgconn.PgError{Severity: "PANIC", Code: "XX000"}, false},
		"completion":        {&pgconn.PgError{Severity: "ERROR", Code: "40003"}, false},
		"connection":        {&pgconn.PgError{Severity: "ERROR", Code: "08006"}, false},
		"broken connection": {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), false},
	} {
		err := judge(fmt.Errorf("exec: %w", c.err))
		if gateway.IsNotDone(err) != c.notDone || !errors.Is(err, c.err) {
			t.Errorf("%s: not done is %v: %v", name, gateway.IsNotDone(err), err)
		}
	}
}

// A node that accepts and says nothing, and one that is not there, hold nobody longer than the limit; nothing was sent.
func TestNobodyThatTakesWrites(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, nodes := range map[string][]string{"silent": {silent.Addr().String()}, "gone": {gone.Addr().String(), gone.Addr().String()}} {
		s, err := Open(t.Context(), nodes, 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if _, err := s.Put(ctx, "a", nil); !gateway.IsNotDone(err) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := s.Get(ctx, "a"); err == nil || errors.Is(err, gateway.ErrNotFound) {
			t.Errorf("%s: a key that nobody was asked for: %v", name, err)
		}
		cancel()
		s.Close()
	}
}
