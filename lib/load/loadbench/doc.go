// Package loadbench measures our load against that of other programs, and against the truth. It has tests alone; `make bench` runs
// them and writes the table of lib/load/README.md.
//
// The figures are not what a program says of itself where they can be had from outside: a server that does nothing else counts
// requests and stamps their arrivals, the kernel says what processor time and memory a process took. Percentiles are held against
// arithmetic: a server that stops for a second makes requests wait for times that follow from the schedule alone.
//
// What is fair:
//
//   - All programs talk to the same server process, on loopback, on as many kept-alive connections, to the same path, for the same time.
//     They share the processors with it, as wrk's own figures always do.
//   - They take turns within a round, and what is compared is the ratio within the round. What the machine does besides moves all of them;
//     what it moves is printed, as lowest and highest of the rounds, and so is what else it did.
//   - Ours is whole: the generator as the load agent runs it, with templates, classes and three histograms for each request, summed
//     into bins, under the agent's settings of the garbage collector. wrk (with --latency) keeps one histogram and looks at nothing but the status.
//   - vegeta's attacker writes its results to where they cost nothing, /dev/null, unless they are looked at. Its report would come on top.
//   - Rates are counted by the server while all connections are in use: starting and ending are left out. Processor time is that of
//     the whole process, with its start, over all requests.
package loadbench
