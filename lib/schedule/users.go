package schedule

import "time"

// Ready is the first moment from a given one on at which a user of a closed loop, counted from 0, may send: at once while there are more users than its
// number, else when there are again. ok is false if that never comes within load.
//
// Users who come together are spread over one time to think, or else they would send together for ever: think is always the same.
func (s Schedule) Ready(user int, from time.Duration) (at time.Duration, ok bool) {
	before, start := 0, -s.Warmup // of the stage before, and when this one begins
	end := time.Duration(0)
	at = max(from, start)
	for _, g := range s.Stages {
		end += g.For
		if user < g.Users {
			at = max(at, start)
			if user >= before { // it comes with this stage
				at = max(at, start+time.Duration(float64(g.Think)*float64(user-before)/float64(g.Users-before)))
			}
			if at < end {
				return at, true
			}
		}
		before, start = g.Users, end
	}
	return 0, false
}

// Next is when a user's next request is due whose last one had its outcome at a moment: after it has thought as long as users do then.
func (s Schedule) Next(user int, done time.Duration) (due time.Duration, ok bool) {
	g, _ := s.at(done)
	return s.Ready(user, done+g.Think)
}
