//go:build !linux

package answer

import (
	"errors"
	"fmt"
	"runtime"
)

func newKernel() (kernel, error) {
	return nil, fmt.Errorf("answers in a node's place need Linux, not %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func kernelWires() wires { return wires{} }
