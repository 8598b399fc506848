package dialoginfo

import (
	"errors"
	"fmt"
	"time"
)

// Errors of [Monitor.MonitorLine] that callers tell apart.
var (
	// ErrNoDialogPackage is what a [*StatusError] with status 489 is: the PBX
	// does not know the dialog event package, so has no BLF, at least not for
	// this device.
	ErrNoDialogPackage = errors.New("dialoginfo: the PBX has no dialog event package")

	// ErrUnauthorized is what a [*StatusError] with status 401 or 407 is: the PBX
	// did not take the credentials, or asked for some and there are none.
	ErrUnauthorized = errors.New("dialoginfo: unauthorized")

	// ErrNoNotify says that the PBX accepted a SUBSCRIBE but sent no NOTIFY.
	ErrNoNotify = errors.New("dialoginfo: the PBX accepted the SUBSCRIBE but sent no NOTIFY")

	// ErrTooMany says that Config.MaxDevices are being monitored.
	ErrTooMany = errors.New("dialoginfo: too many devices")

	errRefused = errors.New("the credentials were refused a moment ago")
)

// StatusError is a SUBSCRIBE that the PBX answered with a failure.
type StatusError struct {
	Status int    // SIP status code, 300 and above
	Reason string // the reason phrase as the PBX sent it, at most 128 bytes
	// RetryAfter is how long the PBX asks to wait, an hour at most; 0 where it
	// does not say.
	RetryAfter time.Duration
	// Err is why a challenge was not answered; usually nil.
	Err error
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("dialoginfo: SUBSCRIBE was answered %d %s", e.Status, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is makes a 401 or 407 an [ErrUnauthorized] and a 489 an [ErrNoDialogPackage].
func (e *StatusError) Is(target error) bool {
	return target == ErrUnauthorized && (e.Status == 401 || e.Status == 407) ||
		target == ErrNoDialogPackage && e.Status == 489
}

// Unwrap returns Err.
func (e *StatusError) Unwrap() error { return e.Err }

// EndedError is a subscription that the PBX has ended, by a NOTIFY with
// Subscription-State terminated, and that is not to be opened again at once
// (RFC 6665 §4.1.3): rejected, noresource, invariant, or any reason where it had
// hardly begun.
type EndedError struct {
	Reason string // in lower case, at most 64 bytes; empty where none was given
}

func (e *EndedError) Error() string {
	if e.Reason == "" {
		return "dialoginfo: the PBX ended the subscription"
	}
	return fmt.Sprintf("dialoginfo: the PBX ended the subscription: %q", e.Reason)
}
