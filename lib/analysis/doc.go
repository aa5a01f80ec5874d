// Package analysis reads recordings: metrics, phases, timelines. It is pure: the
// same recording gives the same numbers, today and from the disk in a year.
//
// [Of] reads one recording, [Trial.Metric] answers for one [Ref]; [Specs] lists
// the metrics there are. The definitions are in metrics.go's README and restated on each function.
package analysis
