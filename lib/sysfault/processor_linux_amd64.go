package sysfault

import "golang.org/x/sys/unix"

func processor() (isa, error) { return amd64(), nil }

// programCounter is where a thread is that stands still.
func programCounter(tid int) (uint64, error) {
	var r unix.PtraceRegs
	err := unix.PtraceGetRegs(tid, &r)
	return r.Rip, err
}
