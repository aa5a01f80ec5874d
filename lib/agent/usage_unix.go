//go:build unix

package agent

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// usage is the processor time that this process has used, and the most memory that it
// held at once, in bytes.
func usage() (cpu time.Duration, rss uint64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	// On Linux getrusage counts in the program that started this one (exec keeps
	// its maximum), so the kernel's own mark for this program's memory goes first.
	if kib, ok := highWater(); ok {
		return cpu, kib * 1024
	}
	unit := uint64(1024)
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		unit = 1
	}
	return cpu, uint64(u.Maxrss) * unit
}

// highWater reads VmHWM, in KiB (proc_pid_status(5)), where there is one.
func highWater() (kib uint64, ok bool) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	_, after, _ := bytes.Cut(b, []byte("\nVmHWM:"))
	fields := bytes.Fields(after)
	if len(fields) == 0 {
		return 0, false
	}
	kib, err = strconv.ParseUint(string(fields[0]), 10, 64)
	return kib, err == nil
}
