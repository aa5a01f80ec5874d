//go:build race

package agent_test

const raced = true // the race detector is on
