package msgraph

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

var (
	// ErrUnauthorized says that the login service refused the application's credentials, or Graph
	// its token.
	ErrUnauthorized = errors.New("msgraph: credentials refused")
	// ErrForbidden says that the application may not do this: consent to a permission is missing,
	// or the mailbox is outside of what it was granted.
	ErrForbidden = errors.New("msgraph: not permitted")
	// ErrNotFound says that the tenant has no such user.
	ErrNotFound = errors.New("msgraph: no such user")
	// ErrNoMailbox says that the user has no mailbox in Exchange Online: it is on premises, or
	// there is no license.
	ErrNoMailbox = errors.New("msgraph: no mailbox in the cloud")
	// ErrAmbiguous says that a mail address leads to more than one user, and so to nobody.
	ErrAmbiguous = errors.New("msgraph: more than one user")
	// ErrLimit says that an answer exceeds a bound of the configuration.
	ErrLimit = errors.New("msgraph: limit exceeded")
)

// Error is an answer of Graph, or of the login service, that is no success. It is
// [ErrUnauthorized], [ErrForbidden], [ErrNotFound] or [ErrNoMailbox] where [errors.Is] says so.
type Error struct {
	Op         string // method and path, without the query: "GET /v1.0/users/tom@example.com"
	Status     int    // HTTP status code
	Code       string // the most detailed error code that is known, else the outermost; may be empty
	RequestID  string // under which Microsoft finds the request
	RetryAfter time.Duration

	hint string
}

// Error names the request, the status, the code and the request's ID, and none of the texts of the
// answer: they are in the language of the mailbox, and may repeat what was sent.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "msgraph: %s: %d %s", e.Op, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		b.WriteString(", " + e.Code)
	}
	if e.hint != "" {
		b.WriteString(" (" + e.hint + ")")
	}
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	return b.String()
}

// Is reports whether e is target.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized:
		return target == ErrUnauthorized
	case http.StatusForbidden:
		return target == ErrForbidden
	case http.StatusNotFound:
		if strings.EqualFold(e.Code, codeNoMailbox) {
			return target == ErrNoMailbox
		}
		return target == ErrNotFound
	}
	return false
}

const (
	codeNoMailbox        = "MailboxNotEnabledForRESTAPI"
	codeUnsupportedQuery = "Request_UnsupportedQuery"
)

// errorCodes are the codes that say more than those around them.
var errorCodes = []string{
	"InvalidAuthenticationToken", "ErrorAccessDenied", "Authorization_RequestDenied", "Forbidden",
	"ErrorItemNotFound", "ResourceNotFound", "Request_ResourceNotFound", "ErrorInvalidUser", codeNoMailbox,
	"ApplicationThrottled", codeUnsupportedQuery,
}

// retryAfter is how long the server asked to wait; 0 where it did not.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// refusal reports whether asking again soon is pointless: the server understood, and said no.
func refusal(err error) bool {
	for _, target := range []error{ErrUnauthorized, ErrForbidden, ErrNotFound, ErrNoMailbox, ErrAmbiguous} {
		if errors.Is(err, target) {
			return true
		}
	}
	e, ok := errors.AsType[*Error](err)
	return ok && rejected(e.Status)
}

// rejected reports whether the request itself is what a server does not like.
func rejected(status int) bool {
	return status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}
