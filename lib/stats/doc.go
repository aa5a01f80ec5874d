// Package stats estimates from a handful of trials: an effect with its interval, and
// how many more trials would decide. Everything in it is exact or closed-form: no
// resampling, no random numbers, the same input gives the same output.
package stats
