//go:build !linux

package queue

import (
	"context"
	"errors"

	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// A Queue carries out rules of the way nfqueue, on Linux.
type Queue struct{}

var _ netfault.Carrier = (*Queue)(nil)

// errLinux is all that there is elsewhere.
var errLinux = errors.New("packets are queued to programs by Linux alone (NFQUEUE)")

// New refuses.
func New() (*Queue, error) { return nil, errLinux }

// Set refuses.
func (*Queue) Set(context.Context, map[string]rule.Part) error { return errLinux }

// Read refuses.
func (*Queue) Read(context.Context) (map[string]rule.Report, error) { return nil, errLinux }

// Close does nothing.
func (*Queue) Close() error { return nil }
