//go:build !linux

package sysfault

import (
	"errors"

	"github.com/tutti-bench/tutti/lib/agent"
)

var errNotLinux = errors.New("helpers of this kind run on Linux, in the target's containers")

// NewSignal refuses.
func NewSignal() (agent.Worker, error) { return nil, errNotLinux }

// NewBurn refuses.
func NewBurn() (agent.Worker, error) { return nil, errNotLinux }

// NewFill refuses.
func NewFill() (agent.Worker, error) { return nil, errNotLinux }

// NewOOM refuses.
func NewOOM() (agent.Worker, error) { return nil, errNotLinux }

// NewDisk refuses.
func NewDisk() (agent.Worker, error) { return nil, errNotLinux }

// NewThrottle refuses.
func NewThrottle() (agent.Worker, error) { return nil, errNotLinux }

// NewClock refuses.
func NewClock() (agent.Worker, error) { return nil, errNotLinux }
