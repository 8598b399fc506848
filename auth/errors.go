package auth

import "errors"

// ErrBadCredentials means that the account or the password is not good. It is
// the only answer of a [Verifier] that counts as a failure and that makes a
// client ask its user again. The reasons below all wrap it.
var ErrBadCredentials = errors.New("auth: bad credentials")

// Why credentials were refused. Every one of them is the same 401 to the
// client; they differ in logs and metrics alone.
var (
	ErrUnknownAccount  error = &reason{"unknown_account", "bad credentials: no such account", ErrBadCredentials}
	ErrBadPassword     error = &reason{"bad_password", "bad credentials: wrong password", ErrBadCredentials}
	ErrAccountDisabled error = &reason{"disabled", "bad credentials: account disabled", ErrBadCredentials}
	ErrAccountExpired  error = &reason{"account_expired", "bad credentials: account expired", ErrBadCredentials}
	ErrPasswordExpired error = &reason{"password_expired", "bad credentials: password expired", ErrBadCredentials}
	ErrMustChange      error = &reason{"must_change", "bad credentials: password must be changed first", ErrBadCredentials}
	ErrAccountLocked   error = &reason{"locked", "bad credentials: account locked", ErrBadCredentials}
	ErrNoDigest        error = &reason{"no_digest", "bad credentials: account has no Digest secret", ErrBadCredentials}
	ErrNotPermitted    error = &reason{"not_permitted", "bad credentials: log-on not permitted at this time or from here",
		ErrBadCredentials}
)

// What else a Decision's Reason may be.
var (
	// ErrNoCredentials: there were none, so the client is asked.
	ErrNoCredentials error = &reason{"no_credentials", "no credentials", nil}
	// ErrWrongKey is what [Cipher.Decrypt] returns where the key is not the
	// one that the text was encrypted with: the challenge was replaced or has
	// expired. It never counts as a failure (§2.10).
	ErrWrongKey error = &reason{"wrong_key", "encrypted with another key", nil}
	// ErrMalformed: credentials that could not be decoded or that no account
	// can have (no password, control characters, too long).
	ErrMalformed error = &reason{"malformed", "malformed credentials", nil}
	// ErrStale: a Digest nonce that expired, was used before, or is not ours.
	ErrStale error = &reason{"stale", "stale or replayed nonce", nil}
	// ErrThrottled: too many failures of the account or the source.
	ErrThrottled error = &reason{"throttled", "too many failures", nil}
	// ErrTLSRequired: credentials are taken over TLS only.
	ErrTLSRequired error = &reason{"tls_required", "credentials are accepted over TLS only", nil}
	// ErrBusy: as many verifications as allowed are under way.
	ErrBusy error = &reason{"busy", "too many verifications under way", nil}
	// ErrUnavailable: the verifier or the store gave no answer. What it said
	// instead is wrapped beside it.
	ErrUnavailable error = &reason{"unavailable", "verification unavailable", nil}
)

type reason struct {
	label, text string
	of          error // ErrBadCredentials, or nil
}

func (r *reason) Error() string { return "auth: " + r.text }
func (r *reason) Unwrap() error { return r.of }

// Reason returns a short constant label for a Decision's Reason, fit for a
// metric: "bad_password", "throttled", "wrong_key" … It is "" for nil and
// "other" for an error that is none of this package's.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	if r, ok := errors.AsType[*reason](err); ok {
		return r.label
	}
	if errors.Is(err, ErrBadCredentials) {
		return "bad_credentials"
	}
	return "other"
}
