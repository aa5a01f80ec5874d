package httpload

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps in the kernel for d, or less if a signal comes. It asks not to be woken later than that, each time, since
// the thread may be another one. Where the kernel refuses, wake-ups are up to 50 µs later, which the recorded send lag shows.
func nap(d time.Duration) {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}
