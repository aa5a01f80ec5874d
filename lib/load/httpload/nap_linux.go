package httpload

import (
	"time"

	"golang.org/x/sys/unix"
)

// precise asks the kernel not to delay this thread's wake-ups. Where it refuses, wake-ups
// are up to 50 µs later, which the recorded send lag shows.
func precise() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// nap sleeps in the kernel for d, or less if a signal comes.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}
