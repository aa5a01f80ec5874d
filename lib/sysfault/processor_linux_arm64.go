package sysfault

import "golang.org/x/sys/unix"

func processor() (isa, error) { return arm64(), nil }

// generalRegisters is NT_PRSTATUS of elf.h.
const generalRegisters = 1

// programCounter is where a thread is that stands still.
func programCounter(tid int) (uint64, error) {
	var r unix.PtraceRegsArm64
	err := unix.PtraceGetRegSetArm64(tid, generalRegisters, &r)
	return r.Pc, err
}
