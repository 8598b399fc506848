package subscriber

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// The states of a subscription (RFC 6665 §4.1.3).
const (
	Active     = "active"
	Pending    = "pending"
	Terminated = "terminated"
)

// SubscriptionState is a Subscription-State field (RFC 6665 §8.2.3).
type SubscriptionState struct {
	State      string // in lower case; one that RFC 6665 does not know lasts as Active does
	Reason     string // in lower case, at most 64 bytes
	Expires    time.Duration
	RetryAfter time.Duration // an hour at most
}

// ParseSubscriptionState reads the field; ok is false where it says nothing.
// Parameters that make no sense are left out.
func ParseSubscriptionState(value string) (_ SubscriptionState, ok bool) {
	state, _, _ := strings.Cut(value, ";")
	reason, _ := sipx.ParamOf(value, "reason")
	reason = strings.ToLower(reason)
	expires, _ := sipx.ParamOf(value, "expires")
	retryAfter, _ := sipx.ParamOf(value, "retry-after")
	s := SubscriptionState{
		State:      strings.ToLower(strings.TrimSpace(state)),
		Reason:     reason[:min(len(reason), 64)],
		Expires:    seconds(expires, MaxExpires),
		RetryAfter: seconds(retryAfter, maxRetryAfter),
	}
	return s, s.State != ""
}

// Final reports whether a subscription that was terminated for this reason is not
// to be opened again (RFC 6665 §4.1.3).
func Final(reason string) bool {
	switch reason {
	case "rejected", "noresource", "invariant":
		return true
	}
	return false
}
