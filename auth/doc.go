// Package auth decides whether a SIP request comes from whom it should: by the
// X-BSS-auth challenge of the BluStar clients (§2.10 and §2.11 of the BluStar
// SIMPLE interface description), or by Digest (RFC 3261 §22, RFC 7616, RFC 8760).
// It knows nothing of a SIP stack and of presence; a proxy can use it alone.
//
// A host makes a [Guard] and asks it about each SUBSCRIBE and PUBLISH:
//
//	guard, err := auth.New(auth.Config{Verifier: accounts, RequireTLS: true})
//	…
//	switch d := guard.Check(ctx, request); d.Verdict {
//	case auth.Accept:      // go on, as d.Identity
//	case auth.Challenge:   // 401 with d.Header
//	case auth.Forbid:      // 403
//	case auth.Unavailable: // 503 with Retry-After: d.RetryAfter
//	}
//
// A client answers a 401 by [Credentials.Encrypt].
//
// # The challenge
//
// A request without credentials gets a 401 with X-BSS-auth: 56 digits from a
// cryptographic source, new each time. The client encrypts
// `domain\username:password` with that key and repeats its request with
// X-BSS-rauth. The last key of a client is good until its lifetime ends. The keys
// before it stay good for 32 seconds after they were replaced, three at most: a
// client may send several requests at once, and a 401 to right credentials makes it
// ask its user.
//
// A client that does not say which of the two it speaks ([Request.Digest]) is
// offered X-BSS and Digest.
//
// A client is [Request.Client], its From and Contact, at the address that the
// request came from. Who knows another's From and Contact can therefore neither
// replace its key nor use its session from elsewhere ([Config.AnySource] changes
// that).
//
// # Sessions
//
// Credentials that the [Verifier] accepts open a session for the client and the
// account. Until its lifetime ends, requests without credentials are accepted, and
// so are those with the very credentials that opened it, also after their key has
// gone. Others are decrypted and verified as usual; a success replaces the
// session, anything else leaves it alone. Credentials are never stored: a session
// has a keyed digest of the encrypted text.
//
// Digest opens no session. Each request carries its own proof, whose nonce count
// is accepted once.
//
// # Throttling
//
// Directories lock an account after some wrong passwords, so whoever can reach the
// server could lock out anybody. The guard stops before that. The rule:
//
//  1. Only what a verifier refused counts, for the account and for the source. A
//     stale key, text that does not decode, a name or password that no account
//     can have, a replayed nonce, and a directory that is down do not.
//  2. With MaxFailures (4) of an account, or five times as many of a source, its
//     next attempts are forbidden and no verifier hears of them, until FailureWindow (15 minutes)
//     after the last failure. Attempts under way count as failures until they are
//     known to be none: those that would exceed the limit wait.
//  3. A success forgets the account's failures, and of the source only those with
//     this account.
//  4. Sessions come first: requests within a session are not held up.
//  5. A client that signed in to the account within KnownLifetime (7 days) passes
//     although account or source are held, with the password of that time. (A
//     mobile client controller is one client, with all of its users.) The guard
//     tells by 16 bits of a keyed digest, too few to find a password by. After
//     MaxFailures other passwords it is known no more, nor after the verifier
//     refused.
//
// DOMAIN\user, user@domain and user may all be one account to a directory, so
// they are counted as one, unless the verifier knows better ([AccountKeyer]).
//
// To stay below the lock-out threshold of a directory, keep MaxFailures below it
// and FailureWindow at or above its reset time.
//
// # What it protects
//
// X-BSS protects nobody on an open network: the key travels in the 401, and so
// whoever can read both messages has the password. Basic is the password itself,
// and an MD5 Digest can be searched for short ones. Only TLS protects: set
// RequireTLS. Then credentials are neither asked for nor taken elsewhere; the
// client sees a 403 with a Warning. Without it, the guard warns once in the log.
//
// Passwords are in a [Secret] that prints as [Redacted], and are overwritten after
// use, as far as the runtime makes no copies of its own. Errors of a verifier
// that show the password are withheld.
//
// # Bounds
//
// Nothing is unbounded. Meeting a bound has this effect:
//
//   - challenges, sessions, failures, known clients: the [Store] holds 100,000 of
//     each by default; the one written longest ago goes, and its client signs in
//     again
//   - Digest nonces in use, MaxNonces (100,000): the oldest become stale
//   - verifications under way, MaxVerifications (256), and requests that wait for
//     one, MaxPending (1024): [Unavailable]
//   - one verification, VerifyTimeout (10 seconds): [Unavailable]
//   - X-BSS-rauth and Authorization 4096 bytes, an account name 256, a password
//     1024: a 401 without asking a verifier
package auth
