//go:build unix

package cmd

import (
	"os"
	"os/signal"
	"syscall"
)

// onResize calls f each time that the terminal has become larger or smaller, until the returned function is called.
func onResize(f func()) (stop func()) {
	c, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(c, syscall.SIGWINCH)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-c:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
		<-ended
	}
}
