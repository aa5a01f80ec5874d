//go:build !linux

package httpload

import "time"

func nap(d time.Duration) { time.Sleep(d) }
