package cmd

import (
	"runtime/debug"
	"slices"
	"strings"
)

// version is set by the linker: -X github.com/tutti-bench/tutti/cmd.version=…
var version string

// Version is the version and commit of this program, as far as it knows them.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if version != "" || !ok {
		return strings.TrimSpace(version + " ")
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
			v += " commit " + s.Value[:12]
		}
	}
	return v
}

// names lists the keys of a map in order.
func names[V any](m map[string]V) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}
