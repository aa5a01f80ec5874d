package cmd

import (
	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/fault"
	"github.com/tutti-bench/tutti/lib/fault/command"
	"github.com/tutti-bench/tutti/lib/fault/network"
	"github.com/tutti-bench/tutti/lib/fault/node"
	"github.com/tutti-bench/tutti/lib/fault/resource"
	"github.com/tutti-bench/tutti/lib/load"
	"github.com/tutti-bench/tutti/lib/load/httpload"
	"github.com/tutti-bench/tutti/lib/netfault"
	"github.com/tutti-bench/tutti/lib/netfault/answer"
	"github.com/tutti-bench/tutti/lib/netfault/netem"
	"github.com/tutti-bench/tutti/lib/netfault/queue"
	"github.com/tutti-bench/tutti/lib/netfault/rule"
	"github.com/tutti-bench/tutti/lib/plan"
	"github.com/tutti-bench/tutti/lib/sysfault"
	"github.com/tutti-bench/tutti/lib/sysfault/task"
)

// A Kit is everything that a tutti program knows. It is passed by value; add to the maps of your
// own copy.
type Kit struct {
	plan.Kit
	// Generator is what the agent sends load with, inside the target's network.
	Generator load.Generator
	// Workers are what helpers do in nodes, by the names that faults have for them.
	Workers map[string]agent.Maker
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

				"crash":           node.CrashKind(),
				"remove":          node.RemoveKind(),
				"stutter":         node.StutterKind(),
				"rolling-restart": node.RollingRestartKind(),
				"exec":            command.ExecKind(),

				"partition": network.PartitionKind(),
				"blackhole": network.BlackholeKind(),
				"refuse":    network.RefuseKind(),
				"reset":     network.ResetKind(),
				"loss":      network.LossKind(),
				"bandwidth": network.BandwidthKind(),
				"latency":   network.LatencyKind(),
				"duplicate": network.DuplicateKind(),
				"corrupt":   network.CorruptKind(),
				"reorder":   network.ReorderKind(),
				"dns":       network.DNSKind(),
				"http":      network.HTTPKind(),

				"cpu":       resource.CPUKind(),
				"memory":    resource.MemoryKind(),
				"oom":       resource.OOMKind(),
				"disk-full": resource.DiskFullKind(),
				"disk-slow": resource.DiskSlowKind(),
				"clock":     resource.ClockKind(),
			},
			Drivers: map[string]plan.Opener{
				"docker":  openDocker,
				"process": openProcess,
			},
		},
		Generator: &httpload.Generator{},
		Workers: map[string]agent.Maker{
			task.Signal:   sysfault.NewSignal,
			task.Burn:     sysfault.NewBurn,
			task.Fill:     sysfault.NewFill,
			task.OOM:      sysfault.NewOOM,
			task.Disk:     sysfault.NewDisk,
			task.Throttle: sysfault.NewThrottle,
			task.Clock:    sysfault.NewClock,

			rule.Worker: func() (agent.Worker, error) { return netfault.New(carriers()), nil },
			rule.Prober: func() (agent.Worker, error) { return netfault.NewProber(carriers(), nil), nil },
		},
	}
}

// carriers are what carries out the rules of network faults, by their ways.
func carriers() netfault.Makers {
	return netfault.Makers{
		rule.WayNFT:     netfault.NewNFT,
		rule.WayTBF:     netfault.NewShape,
		rule.WayNFQueue: func() (netfault.Carrier, error) { return queue.New() },
		rule.WayNetem:   func() (netfault.Carrier, error) { return netem.New() },
		netfault.Answer: func() (netfault.Carrier, error) { return answer.New() },
	}
}
