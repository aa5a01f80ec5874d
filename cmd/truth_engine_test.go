package cmd_test

import "testing"

func TestTruthOnDocker(t *testing.T) {
	needEngine(t)
	truths(t, "docker")
}
