//go:build !linux

package netem

import (
	"context"
	"errors"

	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
)

// A Netem carries out rules of the way netem, on Linux.
type Netem struct{}

var _ netfault.Carrier = (*Netem)(nil)

// errLinux is all that there is elsewhere.
var errLinux = errors.New("the network emulator (netem) is Linux's alone")

// New refuses.
func New() (*Netem, error) { return nil, errLinux }

// Set refuses.
func (*Netem) Set(context.Context, map[string]rule.Part) error { return errLinux }

// Read refuses.
func (*Netem) Read(context.Context) (map[string]rule.Report, error) { return nil, errLinux }

// Close does nothing.
func (*Netem) Close() error { return nil }
