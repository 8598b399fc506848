package ews

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

var (
	// ErrUnauthorized says that the server refused the credentials of the service
	// account, or that the account is disabled or its password expired.
	ErrUnauthorized = errors.New("ews: credentials refused")
	// ErrNoMailbox says that there is no such mailbox, or no calendar in it.
	ErrNoMailbox = errors.New("ews: no such mailbox")
	// ErrNoAccess says that the service account may not read a calendar, or not
	// impersonate its owner.
	ErrNoAccess = errors.New("ews: no access to the mailbox")
	// ErrAnswer says that an answer is not one of EWS, or not to what was asked.
	ErrAnswer = errors.New("ews: no answer of EWS")
	// ErrLimit says that a bound of [Limits] was exceeded.
	ErrLimit = errors.New("ews: limit exceeded")
	// ErrInsecure says that credentials were not sent, because the connection
	// would not have been encrypted or leads to a host that is not trusted.
	ErrInsecure = errors.New("ews: credentials not sent")
	// ErrScheme says that the server does not offer the way to sign in that
	// [Config.Scheme] asks for.
	ErrScheme = errors.New("ews: authentication scheme not offered")
	// ErrNotFound says that autodiscover knows no server for a mailbox.
	ErrNotFound = errors.New("ews: autodiscover found no server")
)

// Error is an answer of EWS that says no: a SOAP fault, or a response message of
// class Error. It is [ErrUnauthorized], [ErrNoMailbox] or [ErrNoAccess] where its
// code means that.
type Error struct {
	Operation string        // as FindItem
	Mailbox   string        // that it is about; empty: none, or several
	Code      string        // as ErrorServerBusy; empty where the answer has none
	Text      string        // for people, in the language of the mailbox; at most 256 bytes
	BackOff   time.Duration // as the server asks for; 0 where it does not

	subscriptions []string // that it is about
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("ews: " + e.Operation)
	if e.Mailbox != "" {
		b.WriteString(" for " + e.Mailbox)
	}
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Text != "" {
		fmt.Fprintf(&b, ": %q", e.Text)
	}
	if codes[e.Code] == notImpersonated {
		b.WriteString(" (the service account needs the role ApplicationImpersonation for this mailbox)")
	}
	return b.String()
}

// Is reports whether e is target.
func (e *Error) Is(target error) bool {
	switch codes[e.Code] {
	case accountRefused:
		return target == ErrUnauthorized
	case noMailbox:
		return target == ErrNoMailbox
	case noAccess, notImpersonated:
		return target == ErrNoAccess
	default:
		return false
	}
}

// StatusError is an HTTP answer that is none of EWS. It is [ErrUnauthorized]
// where the status is 401, and else [ErrAnswer].
type StatusError struct {
	Operation  string
	URL        string        // without user and query
	Status     int           // HTTP status code
	Location   string        // where a redirection leads, without user and query; it is not followed
	RetryAfter time.Duration // as the server asks for; 0 where it does not
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("ews: %s %s: %d %s", e.Operation, e.URL, e.Status, http.StatusText(e.Status))
	if e.Location != "" {
		s += " to " + e.Location
	}
	return s
}

// Is reports whether e is target.
func (e *StatusError) Is(target error) bool {
	if e.Status == http.StatusUnauthorized {
		return target == ErrUnauthorized
	}
	return target == ErrAnswer
}

// meaning is what an error code means to us.
type meaning int

const (
	passing           meaning = iota // another try may do
	busy                             // so may one after the pause that it names
	crowded                          // this mailbox gets no subscription
	subscriptionGone                 // subscribe anew: that is no failure
	subscriptionTaken                // likewise, but not soon
	moving                           // the mailbox is on its way to another server
	wrongServer                      // it is on another server
	noMailbox
	noAccess
	notImpersonated // the role is missing
	accountRefused  // the service account is not to be tried again
	ourFault        // the request was wrong, or the server is older than 2013 SP1
)

// codes says what the codes mean that call for more than another try.
var codes = map[string]meaning{
	"ErrorServerBusy":              busy,
	"ErrorExceededConnectionCount": busy,
	"ErrorTooManyObjectsOpened":    busy,

	"ErrorExceededSubscriptionCount": crowded,

	"ErrorSubscriptionNotFound":           subscriptionGone,
	"ErrorInvalidSubscription":            subscriptionGone,
	"ErrorExpiredSubscription":            subscriptionGone,
	"ErrorReadEventsFailed":               subscriptionGone,
	"ErrorMissedNotificationEvents":       subscriptionGone,
	"ErrorInvalidWatermark":               subscriptionGone,
	"ErrorSubscriptionAccessDenied":       subscriptionTaken,
	"ErrorNewEventStreamConnectionOpened": subscriptionTaken,

	"ErrorMailboxMoveInProgress":   moving,
	"ErrorMailboxFailover":         moving,
	"ErrorMailboxStoreUnavailable": moving,
	"ErrorConnectionFailed":        moving,

	"ErrorProxyRequestNotAllowed":           wrongServer,
	"ErrorNoRespondingCASInDestinationSite": wrongServer,
	"ErrorWrongServerVersion":               wrongServer,

	"ErrorNonExistentMailbox":    noMailbox,
	"ErrorInvalidSmtpAddress":    noMailbox,
	"ErrorMailRecipientNotFound": noMailbox,
	"ErrorNoCalendar":            noMailbox,

	"ErrorAccessDenied":     noAccess,
	"ErrorFolderNotFound":   noAccess,
	"ErrorNoFreeBusyAccess": noAccess,

	"ErrorImpersonateUserDenied":    notImpersonated,
	"ErrorImpersonationDenied":      notImpersonated,
	"ErrorImpersonationFailed":      notImpersonated,
	"ErrorCallerIsInvalidADAccount": notImpersonated,

	"ErrorAccountDisabled":        accountRefused,
	"ErrorPasswordExpired":        accountRefused,
	"ErrorPasswordChangeRequired": accountRefused,

	"ErrorInvalidServerVersion":                  ourFault,
	"ErrorInvalidSchemaVersionForMailboxVersion": ourFault,
	"ErrorSchemaValidation":                      ourFault,
	"ErrorInvalidRequest":                        ourFault,
}

// meaningOf returns what err means; passing where it is not of EWS.
func meaningOf(err error) meaning {
	if e, ok := errors.AsType[*Error](err); ok {
		return codes[e.Code]
	}
	if errors.Is(err, ErrUnauthorized) {
		return accountRefused
	}
	return passing
}
