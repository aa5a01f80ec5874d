// Package record holds what a trial leaves behind: the requests, summed into
// bins of 100 ms, the events, and the faults as they really happened.
//
// A generator tells a [Binner] of each [Sample]; the Binner closes a [Bin] once
// every request due in it is accounted for, so memory is bounded by duration ×
// groups and never by the number of requests. Bins, [Event] and [Fault] values
// make a [Recording], which is written to disk before anybody judges it.
//
// All times in a recording are offsets from its zero, the start of measured
// load; the warm-up lies before zero and so has negative times.
package record
