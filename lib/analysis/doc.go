// Package analysis reads recordings: metrics, phases, timelines. It is pure: the
// same recording gives the same numbers, today and from the disk in a year.
//
// [Of] reads one recording, [Trial.Metric] answers for one [Ref]; [Specs] lists the
// metrics there are. Each definition stands on the function that computes it.
//
// What holds for all of them:
//   - Only measured load counts; a request belongs to the bin of its due time.
//   - A fault begins and ends at its edges' To: from then on the effect is known to
//     be there, or to be gone.
//   - Phases, windows and holds lie on the grid of 100 ms of the bins.
//   - What cannot be known is [NoData] and says why; it is never a number.
package analysis
