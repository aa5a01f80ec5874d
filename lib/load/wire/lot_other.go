//go:build !linux

package wire

import "time"

// A lot is where lanes are parked whose answers are long in coming. Here is none: their goroutines wait.
type lot struct{ patience time.Duration }

func newLot(*Transport) *lot { return nil }

func (*lot) enter(*shot)     {}
func (*lot) leave(*shot)     {}
func (*lot) park(*shot) bool { return false }
func (*lot) end()            {}
