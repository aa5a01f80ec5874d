//go:build !linux

package netfault

import (
	"context"
	"fmt"
	"runtime"
)

func (Prober) attempt(context.Context, string) (string, error) {
	return "", fmt.Errorf("%s has no network namespaces", runtime.GOOS)
}
