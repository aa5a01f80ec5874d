//go:build !linux

package netfault

import (
	"fmt"
	"runtime"
)

// NewNFT makes the carrier of what nftables does, which is Linux's alone.
func NewNFT() (Carrier, error) { return nil, fmt.Errorf("there is no nftables on %s", runtime.GOOS) }

// NewShape makes the carrier of Limit by the token bucket, which is Linux's alone.
func NewShape() (Carrier, error) {
	return nil, fmt.Errorf("there is no token bucket on %s", runtime.GOOS)
}
