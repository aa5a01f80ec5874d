// Package stats estimates from a handful of trials: an effect with its interval, how many more trials would
// decide, and the law by which throughput grows with nodes. Everything in it is exact, closed-form or the fixed point of
// an iteration; what is left out and put back, as in a jackknife, is everything there is. No random numbers: the same
// input gives the same output.
package stats
