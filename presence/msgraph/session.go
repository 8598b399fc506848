package msgraph

import "time"

// session is a presence session that a [Writer] keeps for a user. Graph tells nobody who set what
// it answers, so that what was written comes back as the user's own presence: the session knows for
// how long.
//
// Its fields are guarded by Teams.mu.
type session struct {
	wake     func() // has the writer look at the user again
	ends     time.Time
	ended    time.Time // when it was cleared, or has been found to be over
	readings int       // that were asked for since
}

// After a session has ended, its echo may be heard until the second reading, and for echoLast at
// least.
const (
	echoLast     = 30 * time.Second
	echoReadings = 2
)

// read notes a reading that was asked for at a time, and reports whether it may be an echo of the
// session.
func (s *session) read(asked time.Time) bool {
	if s == nil {
		return false
	}
	if asked.Before(s.ends) {
		return true
	}
	if s.ended.IsZero() && !s.ends.IsZero() {
		s.ended, s.readings = s.ends, 0 // nobody renewed or cleared it
	}
	if s.ended.IsZero() {
		return false
	}
	if asked.After(s.ended) {
		s.readings++
	}
	return s.readings < echoReadings || asked.Sub(s.ended) < echoLast
}

// stands reports whether the session has been set and not been cleared.
func (s *session) stands(now time.Time) bool { return now.Before(s.ends) }

// begin notes that the session is being set for d.
func (s *session) begin(now time.Time, d time.Duration) { s.ends, s.ended = now.Add(d), time.Time{} }

// end notes that the session has been cleared.
func (s *session) end(now time.Time) { s.ends, s.ended, s.readings = time.Time{}, now, 0 }
