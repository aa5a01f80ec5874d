// Package sysfault is the helper's side of the faults of processes and resources: processes that end, CPU, memory and disk
// that are taken away, a wall clock that is wrong. Each file holds one worker; each runs where its doc says, with
// the capabilities that it says and no others. What only a helper's Close undoes, its doc says too.
package sysfault
