package auth

import "errors"

// ErrBadCredentials means that the account or the password is not good. It is
// the only answer of a [Verifier] that counts as a failure and that makes a
// client ask its user again. The reasons below all wrap it.
var ErrBadCredentials = errors.New("auth: bad credentials")

// Why credentials were refused. Every one of them is the same 401 to the
// client; they differ in logs and metrics alone.
var (
	ErrUnknownAccount  error = &refusal{"unknown_account", "no such account"}
	ErrBadPassword     error = &refusal{"bad_password", "wrong password"}
	ErrAccountDisabled error = &refusal{"disabled", "account disabled"}
	ErrAccountExpired  error = &refusal{"account_expired", "account expired"}
	ErrPasswordExpired error = &refusal{"password_expired", "password expired"}
	ErrMustChange      error = &refusal{"must_change", "password must be changed first"}
	ErrAccountLocked   error = &refusal{"locked", "account locked"}
	ErrNoDigest        error = &refusal{"no_digest", "account has no Digest secret"}
	ErrNotPermitted    error = &refusal{"not_permitted", "log-on not permitted at this time or from here"}
)

// What else a Decision's Reason may be.
var (
	// ErrNoCredentials: there were none, so the client is asked.
	ErrNoCredentials error = &fault{"no_credentials", "no credentials"}
	// ErrWrongKey is what [Cipher.Decrypt] returns where the key is not the
	// one that the text was encrypted with: the challenge was replaced or has
	// expired. It never counts as a failure (§2.10).
	ErrWrongKey error = &fault{"wrong_key", "encrypted with another key"}
	// ErrMalformed: credentials that could not be decoded or that no account
	// can have (no password, control characters, too long).
	ErrMalformed error = &fault{"malformed", "malformed credentials"}
	// ErrStale: a Digest nonce that expired, was used before, or is not ours.
	ErrStale error = &fault{"stale", "stale or replayed nonce"}
	// ErrThrottled: too many failures of the account or the source.
	ErrThrottled error = &fault{"throttled", "too many failures"}
	// ErrTLSRequired: credentials are taken over TLS only.
	ErrTLSRequired error = &fault{"tls_required", "credentials are accepted over TLS only"}
	// ErrBusy: as many verifications as allowed are under way.
	ErrBusy error = &fault{"busy", "too many verifications under way"}
	// ErrUnavailable: the verifier or the store gave no answer. What it said
	// instead is wrapped beside it.
	ErrUnavailable error = &fault{"unavailable", "verification unavailable"}
)

// refusal is a reason that wraps ErrBadCredentials.
type refusal struct{ label, text string }

func (r *refusal) Error() string { return "auth: bad credentials: " + r.text }
func (r *refusal) Unwrap() error { return ErrBadCredentials }

// fault is any other reason.
type fault struct{ label, text string }

func (f *fault) Error() string { return "auth: " + f.text }

// Reason returns a short constant label for a Decision's Reason, fit for a
// metric: "bad_password", "throttled", "wrong_key" … It is "" for nil and
// "other" for an error that is none of this package's.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.label
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return f.label
	}
	if errors.Is(err, ErrBadCredentials) {
		return "bad_credentials"
	}
	return "other"
}
