package gateway

import (
	"context"
	"errors"
	"net"
)

// ReadyKey is the key that /readyz writes. Reads that need a key which is there can use it.
const ReadyKey = "ready"

// ErrNotFound is what [Store.Get] returns for a key that is not there.
var ErrNotFound = errors.New("no such key")

// A Store keeps values by key. Its methods may be called at once. They end when ctx does, and none sends a write twice.
type Store interface {
	// Put returns nil once the store has acknowledged the write, and the node that answers for it, if that is known: its
	// host name or address, without the port. An error of [NotDone] says that the write certainly is not and will not be
	// done; after any other one it may have been, or be done later.
	Put(ctx context.Context, key string, value []byte) (node string, err error)
	// Get returns the newest acknowledged value, as far as the store can promise that, or ErrNotFound.
	Get(ctx context.Context, key string) (value []byte, node string, err error)
	// Ready returns nil if every node is a working member, so that the store can lose as many as it is meant to.
	Ready(ctx context.Context) error
	// Close ends all connections and waits for what runs beside them.
	Close() error
}

// NotDone marks the error of a write that certainly was not done. Nil stays nil.
func NotDone(err error) error {
	if err == nil {
		return nil
	}
	return &notDone{err}
}

// IsNotDone reports whether an error says that a write certainly was not done.
func IsNotDone(err error) bool {
	var n *notDone
	return errors.As(err, &n)
}

type notDone struct{ err error }

func (e *notDone) Error() string { return e.err.Error() }
func (e *notDone) Unwrap() error { return e.err }

// Unsent reports whether an error says that there never was a connection, so that nothing was sent over it.
func Unsent(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	var name *net.DNSError
	return errors.As(err, &name)
}
