//go:build !unix

package cmd

// onResize does nothing: where there is no signal, the next drawing asks for the size.
func onResize(func()) (stop func()) { return func() {} }
