package client

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrUnauthorized is what a [*StatusError] with status 401 or 407 is: the
	// server did not take the credentials, or asked for some and there are none. The
	// client tries them once for each request, and gives up what it was keeping
	// alive, so that it cannot lock the account out.
	ErrUnauthorized = errors.New("client: unauthorized")

	// ErrClosed is returned by the calls of a client after Close or Abandon.
	ErrClosed = errors.New("client: closed")

	errNoNotify = errors.New("client: the server accepted the SUBSCRIBE but sent no NOTIFY")
)

// StatusError is a request that the server answered with a failure.
type StatusError struct {
	Method string
	Status int    // SIP status code, 300 and above
	Reason string // the reason phrase as the server sent it, at most 128 bytes
	// RetryAfter is how long the server asks to wait; 0 where it does not say.
	RetryAfter time.Duration
	// Err is why the client could not answer a challenge; usually nil.
	Err error
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("client: %s was answered %d %s", e.Method, e.Status, e.Reason)
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(" (Retry-After: %v)", e.RetryAfter)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes a 401 or 407 an [ErrUnauthorized].
func (e *StatusError) Is(target error) bool {
	return target == ErrUnauthorized && (e.Status == 401 || e.Status == 407)
}

// Unwrap returns Err.
func (e *StatusError) Unwrap() error { return e.Err }

// statusOf returns the status that err carries, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status
	}
	return 0
}

// retryAfterOf returns the wait that the server asked for in err, or 0.
func retryAfterOf(err error) time.Duration {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.RetryAfter
	}
	return 0
}

// permanent reports whether asking again cannot help: the server understood and
// said no. Failures of the network, of the server (5xx) and those that name a
// time pass.
func permanent(err error) bool {
	status := statusOf(err)
	switch {
	case status == 0, retryAfterOf(err) > 0:
		return errors.Is(err, ErrClosed)
	case status == 408, status == 480, status == 481, status == 412:
		return false
	case status == 501, status == 505, status == 513:
		return true
	}
	return status < 500 || status >= 600
}
