// Package resource has the faults that take something away from nodes, or lie to them: CPU, memory, disk, the right
// time. Each file holds one fault and the [fault.Kind] that makes it a verb. What happens in the nodes is done by
// the workers of lib/sysfault.
package resource

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/target"
)

// same gives every node the same part.
func same(part any) func(*fault.Site, []target.Node) (map[string]any, error) {
	return func(_ *fault.Site, nodes []target.Node) (map[string]any, error) {
		parts := make(map[string]any, len(nodes))
		for _, n := range nodes {
			parts[n.Name] = part
		}
		return parts, nil
	}
}

// proving makes a proof of a report of a known form. A report that has another form proves nothing.
func proving[R any](of func(r R, held time.Duration) (asked, delivered string, short bool)) func(any, json.RawMessage, time.Duration) (string, string, bool) {
	return func(_ any, raw json.RawMessage, held time.Duration) (string, string, bool) {
		var r R
		if err := json.Unmarshal(raw, &r); err != nil {
			return "a report", fmt.Sprintf("%.200q, which is not understood: %v", raw, err), true
		}
		return of(r, held)
	}
}

// needsMemoryLimit refuses a service whose memory is the whole machine's.
func needsMemoryLimit(verb string, s target.Service) error {
	if s.MemoryLimit > 0 {
		return nil
	}
	return fmt.Errorf("%s: service %s has no memory limit, so that this would be the whole machine's memory; give it deploy.resources.limits.memory (or mem_limit) in the Compose file", verb, s.Name)
}

// needsOwnProcesses refuses a service that shares the machine's processes: it would be done to all of them.
func needsOwnProcesses(verb string, s target.Service) error {
	if !slices.Contains(s.HostNamespaces, "pid") {
		return nil
	}
	return fmt.Errorf("%s: service %s shares the machine's processes (pid: host), and others than its own would be hit", verb, s.Name)
}

// namedVolumes are the named volumes that a service can write to.
func namedVolumes(s target.Service) []string {
	var all []string
	for _, m := range s.Mounts {
		if m.Kind == "volume" && m.Source != "" && !m.ReadOnly && !slices.Contains(all, m.Source) {
			all = append(all, m.Source)
		}
	}
	slices.Sort(all)
	return all
}

// bytes writes an amount as the scenario file would.
func bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for math.Abs(v) >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i]
}

// percent writes a ratio.
func percent(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*v), ".0") + " %" }
