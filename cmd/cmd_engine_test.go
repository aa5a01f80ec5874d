package cmd_test

import "testing"

func TestTruthOnDocker(t *testing.T) {
	needEngine(t)
	truths(t, "docker")
}

func TestKilledOnDocker(t *testing.T) {
	needEngine(t)
	killed(t, "docker", `["data:/data"]
volumes: {data: {}}`, func(cache string) []string {
		return append(onEngine(t.Context(), t, cache), children(t, cache)...)
	})
}
