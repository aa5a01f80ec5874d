//go:build linux && (amd64 || arm64)

package sysfault

import "unsafe"

// callC calls a C function that needs next to no stack.
func callC(fn, a uintptr, b unsafe.Pointer) uintptr
