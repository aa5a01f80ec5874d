// Command tutti proves whether more nodes really mean more uptime.
//
// To make a tutti with faults or drivers of your own, copy this file and add to
// the kit before Main.
package main

import (
	"os"

	"github.com/tutti-bench/tutti/cmd"
)

func main() { os.Exit(cmd.Main(cmd.Builtin(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
