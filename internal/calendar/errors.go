package calendar

import (
	"errors"
	"time"
)

// A verdict is an error with what follows from it.
type verdict struct {
	error
	final bool
	pause time.Duration
}

func (v *verdict) Unwrap() error { return v.error }

// Final marks an error of a poll: trying again soon is pointless, because the server
// has understood and said no. [Poller.Watch] ends with it at once. For the pause that
// follows, Watch returns it again for the same mailbox without asking. Where it is 0,
// the next call asks, as is right for credentials: others may have come.
func Final(err error, pause time.Duration) error { return &verdict{err, true, pause} }

// Later marks an error of a poll: the server wants to be left alone for d. A d of 0
// or less marks nothing.
func Later(err error, d time.Duration) error {
	if d <= 0 {
		return err
	}
	return &verdict{err, false, d}
}

// judge returns the mark of err, or one that says nothing.
func judge(err error) *verdict {
	if v, ok := errors.AsType[*verdict](err); ok {
		return v
	}
	return &verdict{error: err}
}
