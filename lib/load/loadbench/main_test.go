//go:build linux

package loadbench_test

import (
	"fmt"
	"os"
	"testing"
)

// This program is also the server and our generator, each in a process of its own, so that the kernel tells their costs apart.
const (
	roleVar      = "TUTTI_BENCH_ROLE"
	roleServer   = "server"
	roleGenerate = "generate"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVar) {
	case roleServer:
		err = serveTruth(os.Stdin, os.Stdout)
	case roleGenerate:
		err = generate(os.Stdin, os.Stdout)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// self is this program's file.
func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}
