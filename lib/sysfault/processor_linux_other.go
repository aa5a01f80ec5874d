//go:build linux && !amd64 && !arm64

package sysfault

import (
	"errors"
	"unsafe"
)

// processor refuses: there are no stubs for it.
func processor() (isa, error) {
	return isa{}, errors.New("the clocks of programs can be changed on amd64 and arm64 alone")
}

func programCounter(int) (uint64, error) {
	return 0, errors.New("this processor's registers are not known")
}

func callC(uintptr, uintptr, unsafe.Pointer) uintptr { return ^uintptr(0) }
