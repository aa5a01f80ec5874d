package cmd

import (
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/plan"
)

// A Kit is everything that a tutti program knows. It is passed by value; add to the maps of your
// own copy.
type Kit struct {
	plan.Kit
	// Generator is what the agent sends load with, inside the target's network.
	Generator load.Generator
}

// Builtin is the only list of what tutti comes with.
func Builtin() Kit {
	return Kit{
		Kit: plan.Kit{
			Faults: fault.Kinds{
				"kill":    node.KillKind(),
				"stop":    node.StopKind(),
				"restart": node.RestartKind(),
				"pause":   node.PauseKind(),
				"scale":   node.ScaleKind(),
			},
			Drivers: map[string]plan.Opener{
				"docker":  openDocker,
				"process": openProcess,
			},
		},
		Generator: &httpload.Generator{},
	}
}
