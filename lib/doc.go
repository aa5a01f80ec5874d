// Package tutti proves whether more nodes really mean more uptime: it runs a
// scenario, judges it, and hands the result to the reports.
//
// # The flow
//
//	scenario.yaml ─scenario.Parse→ Scenario ─plan.Build→ Plan            pure; `tutti plan` stops here
//	   for each block, for each arm in the block's random order: trial.Run
//	      Driver.Up → Cluster → ready → arm → warm-up → [ load ∥ injector ] → undo → read back → Down → Recording
//	Recordings ─analysis.Of→ Trials ─slo.Judge→ Verdict ─rundir→ run.json ─reports→ HTML, text, JUnit, Markdown
//	                                                                     pure; `tutti judge`, `tutti report` start from the disk
//
// Decide, then do, then record, then judge; no arrow goes back. [Prepare] decides, [Run] does and
// records, [Judge] judges what lies on the disk, [Open] reads it to be drawn again. A run's folder is
// written in three moments (the plan, each trial, the verdict), so that a crash loses only what was not
// yet done.
//
// [Compare], [PowerOf] and [NoiseOf] read such folders; a [Tester] makes several of one scenario with something broken.
//
// # The map
//
// Each package imports only what stands further down; golangci-lint's depguard holds it.
//
//	scenarios/suite      runs what is shipped, and the planted defects, with the program as a user has it
//	cmd                  the command line; kit.go is the only list of built-ins
//	reports, targets     renderers, and exports for other tools; the node programs of the sample targets; recipes for images of real ones
//	lib                  this façade
//	lib/trial            runs one planned trial; the injector
//	lib/plan, lib/rundir what will be done; the folder it leaves
//	lib/scenario         the file that a user writes
//	lib/fault, lib/agent, lib/load    what breaks; what runs inside the target's network; what is sent
//	lib/slo              objectives, and the verdict on them
//	lib/analysis         recordings → metrics, phases, timelines
//	lib/linear           histories of keys → whether each was one register, within a limit of time
//	lib/stats, lib/target/compose     estimates with intervals; Compose files → Target
//	lib/target, lib/record            the two ends that everything talks about
//	lib/schedule         when requests are due
//
// At the edge, imported by cmd and by tests alone: lib/driver/docker and lib/driver/process (one outside
// technology each), lib/load/httpload (HTTP over vegeta, on lib/load/wire, which sends each request once), lib/fault/node, network, resource and command (the faults),
// lib/netfault and lib/sysfault (what helpers do in nodes; lib/netfault/rule and lib/sysfault/task are what goes over the
// wire to them), lib/watchdog (outlives the harness and removes what it labelled; it imports the standard library only).
//
// Programs with clients of other people's databases and registries are modules of their own (targets/shop, targets/stores), so that none of
// those is a dependency of the harness.
//
// # Invariants
//
//   - A request's latency counts from the moment it was due, and one that failed never arrived.
//   - Every scheduled request has exactly one class; their sum is the schedule, checked in every trial.
//   - The unit of evidence is the trial, never the request. Arms are compared within a block.
//   - The zero value of a verdict is inconclusive. No data never passes.
//   - A fault without proof of effect makes its trial invalid, and so does one that ended before its time.
//   - Whoever is killed, faults end: by the kernel or a closed stream within 1 s, else by the watchdog within 15 s.
//   - Every wait, queue and retry has a limit. Whoever starts a goroutine waits for it.
//   - Only what carries the run's label is ever touched, and nothing of it stays.
//   - The same recordings give the same bytes: of run.json and of every report.
//
// # Decisions
//
// Acknowledged writes are read back by the agent that made them. It remembers two bits of each request, because what was written is a
// function of seed and number. What happened to keys that several writes share is judged once, by a search with a limit of time, and the
// result is kept with the recording: judging again gives the same.
//
// One static binary is everything that we run: harness, load agent, sample nodes. The docker driver puts it into
// an empty image that is named by its hash, so that no registry is needed and every trial runs what was built.
//
// The load generator is a node. It runs as a container on the target's own network: a published port adds a
// proxy that accepts for the dead, and half of the latency at 1,000/s. The ingress is resolved once, before the
// load, so that a name service that forgets a dead balancer is not taken for the balancer's own behaviour.
//
// When the n-th request is due is a formula of n, for every shape of load: requests are counted and not clocked, so that every arm gets the same
// ones, and nothing is kept of a schedule but its stages. A closed loop is the exception, and is called one wherever its figures stand.
//
// There are two engines under one plan: vegeta's attacker, and a loop of our own for rates that it cannot hold. Both send over the same lanes and
// judge by the same rules. A request that waits for a connection is a number in the schedule and no goroutine, so that a target that
// holds everything costs the generator no more than its connections.
//
// Requests are summed into bins of 100 ms where they are made ([github.com/tutti-bench/tutti/lib/record.Binner]), in batches and without allocating, so
// memory is bounded by duration × groups. The bins are the grid of phases and of recovery; first errors and silences
// keep their exact times.
//
// Capacity is searched for within a trial, one load after the other on the same target: a fresh one for each rate would cost
// minutes. What the search decides is recorded with the bins that it was decided from. No two of its holds have the
// same rate, so that capacity is the one metric of such a trial.
//
// A fault in a node is a part of a desired state, kept up by a helper: our own binary in a container that shares the
// node's namespaces, with the least capability. It is started and armed before the load, fired over its standard
// input, and heals when that ends. Several faults on one node are several parts of one state. Packets are dropped where
// they arrive, since a sender is told of what it could not send. Delays are held by a queue in the helper rather than by
// netem where both can be had: a queue says what each packet got, lives beside a token bucket, and dies with its owner.
//
// A planned extension is looked at after whole blocks by the judge that judges in the end, over the blocks until then: no
// second rule of stopping can disagree with the verdict, and every look can be made again from the recordings.
//
// What is varied of a scenario, for noise or a self-test, is a word in plan.json and not another file: scenario.yaml stays what a
// user wrote, and judging again varies it again.
//
// Nothing is looked up unasked: a baseline and a file of noise are named on the command line. A run keeps a copy of the baseline
// that it was held against, so that its verdict remains a function of its folder.
//
// Plug-ins are maps passed by value (kit.Faults["disk-full"] = …): no init, no globals, no loader.
//
// The watchdog is there before the first engine call. It is a process of its own, because nothing else survives a
// SIGKILL of the harness; it sweeps until quiet, because an engine can finish creating what a dead client asked for.
package tutti
