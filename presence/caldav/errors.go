package caldav

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	// ErrUnauthorized says that the server refused the credentials.
	ErrUnauthorized = errors.New("caldav: credentials refused")
	// ErrNoCalendar says that there is no calendar for a mailbox.
	ErrNoCalendar = errors.New("caldav: no calendar found")
	// ErrLimit says that a bound of [Limits] was exceeded.
	ErrLimit = errors.New("caldav: limit exceeded")
	// ErrInsecure says that credentials were not sent, because the connection
	// would not have been encrypted or goes to another host.
	ErrInsecure = errors.New("caldav: credentials not sent")
)

// StatusError is an answer of the server other than the one that was asked for:
// a failure, or a success without a multi-status (RFC 4918 §13). It is
// [ErrUnauthorized] where the status is 401.
type StatusError struct {
	Method     string
	URL        string        // without user, query and fragment
	Status     int           // HTTP status code
	RetryAfter time.Duration // as the server asks for; 0 where it does not
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("caldav: %s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
}

// Is reports whether e is target.
func (e *StatusError) Is(target error) bool {
	return target == ErrUnauthorized && e.Status == http.StatusUnauthorized
}

// refusal reports whether trying again soon is pointless: the server
// understood, and said no.
func refusal(err error) bool {
	if errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrInsecure) || errors.Is(err, ErrNoCalendar) {
		return true
	}
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.Status/100 == 4 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// ofOne reports whether an error may be that of one calendar, and no other has it: the
// server's answer is one to what was asked.
func ofOne(err error) bool {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.RetryAfter == 0 && e.Status != http.StatusTooManyRequests
	}
	return errors.Is(err, ErrLimit) || errors.Is(err, errMultiStatus)
}
