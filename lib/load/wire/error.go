package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// A Kind says what became of an exchange that failed.
type Kind uint8

// The kinds of failure. The zero value is none of them.
const (
	Invalid   Kind = iota + 1 // the request cannot be sent by this transport; nothing was sent
	Canceled                  // its context was cancelled, or the transport was closed
	Timeout                   // a deadline passed, the wait for a connection included
	Refused                   // nobody listens there
	Reset                     // the peer reset the connection, before any byte of an answer
	EOF                       // the peer closed the connection, before any byte of an answer
	Truncated                 // the answer began and did not end
	Protocol                  // what came is not HTTP/1.1, or is beyond a limit
	NoRoute                   // the network has no way there
	DNS                       // the name was not resolved
	Local                     // the lack is our own: descriptors, ports, memory, room to wait
	Other                     // the system said something that none of the above covers
	numKinds
)

var kindNames = [numKinds]string{
	"none", "invalid", "canceled", "timeout", "refused", "reset", "eof", "truncated", "protocol", "no-route", "dns", "local", "other",
}

func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

var (
	// ErrLimit is in the errors of requests that waited for a connection in vain: kind
	// Timeout, because others held all that are allowed until the deadline, or kind
	// Local, because too many were waiting already.
	ErrLimit = errors.New("all connections are in use")
	// ErrClosed is in the errors of requests on a closed transport.
	ErrClosed = errors.New("the transport is closed")
)

// An Error says what became of an exchange that failed. All errors of a [Transport]
// and of its bodies are of this type.
type Error struct {
	Kind    Kind
	Doing   string    // what was being done, such as "connect"
	Address string    // host:port, as asked for
	Reused  bool      // on a connection that had an exchange before
	At      time.Time // when it failed
	Err     error
}

// Error says what was being done, to what, and why it failed.
func (e *Error) Error() string {
	reused := ""
	if e.Reused {
		reused = " on a reused connection"
	}
	hint := ""
	switch {
	case is(e.Err, syscall.EMFILE, syscall.ENFILE):
		hint = " (raise the limit of open files: ulimit -n)"
	case is(e.Err, syscall.EADDRNOTAVAIL):
		hint = " (no free port: fewer new connections, or a wider net.ipv4.ip_local_port_range)"
	}
	return fmt.Sprintf("%s %s%s: %v: %v%s", e.Doing, e.Address, reused, e.Kind, e.Err, hint)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a deadline passed, as in [net.Error].
func (e *Error) Timeout() bool { return e.Kind == Timeout }

// Temporary is there for [net.Error], and false: whether it passes is not for the transport to say.
func (e *Error) Temporary() bool { return false }

var _ net.Error = (*Error)(nil)

// What is being done, for errors.
const (
	doingCheck   = "prepare a request to"
	doingWait    = "wait for a connection to"
	doingConnect = "connect to"
	doingSend    = "send to"
	doingAwait   = "await the answer of"
	doingRead    = "read the answer of"
)

// A protocolError says how an answer is no HTTP/1.1, or beyond a limit.
type protocolError string

func (e protocolError) Error() string { return string(e) }

func malformed(what string, got []byte) error {
	const most = 60
	if len(got) > most {
		return protocolError(fmt.Sprintf("%s: %q…", what, got[:most]))
	}
	return protocolError(fmt.Sprintf("%s: %q", what, got))
}

// KindOf sorts an error of a connection. Answered is whether a byte of the answer had come.
func KindOf(err error, answered bool) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if _, ok := errors.AsType[protocolError](err); ok {
		return Protocol
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed), errors.Is(err, ErrClosed):
		return Canceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case is(err, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM):
		return Local
	case answered && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return Truncated
	case is(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		if answered {
			return Truncated
		}
		return Reset
	case is(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ETIMEDOUT):
		// ETIMEDOUT: the kernel gave up on a silent peer, before our deadline.
		if answered {
			return Truncated
		}
		return NoRoute
	case is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return EOF
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return DNS
	}
	return Other
}

func is(err error, numbers ...syscall.Errno) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}
