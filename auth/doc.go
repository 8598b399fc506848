// Package auth decides whether a SIP request comes from whom it should: by the
// X-BSS-auth challenge of the BluStar clients (§2.10 and §2.11 of the BluStar SIMPLE
// interface description), or by Digest (RFC 3261 §22, RFC 7616, RFC 8760). It knows
// nothing of a SIP stack and of presence; a proxy can use it alone.
//
// A host makes a [Guard] and asks it about each SUBSCRIBE and PUBLISH:
//
//	guard, err := auth.New(auth.Config{Verifier: accounts, RequireTLS: true})
//	…
//	switch d := guard.Check(ctx, request); d.Verdict {
//	case auth.Accept:      // go on, as d.Identity
//	case auth.Challenge:   // 401 with d.Header
//	case auth.Forbid:      // 403 with d.Header, and Retry-After: d.RetryAfter if that is not 0
//	case auth.Unavailable: // 503 with Retry-After: d.RetryAfter
//	}
//
// # The challenge
//
// A request without credentials gets a 401 with X-BSS-auth: 56 digits from a cryptographic
// source, new each time. The client encrypts `domain\username:password` with that key and
// repeats its request with X-BSS-rauth. The last key of a client is good until its lifetime
// ends. The keys before it stay good for 32 seconds after they were replaced: a client may
// send several requests at once, and a 401 to right credentials makes it ask its user.
//
// A client has four good keys at most. A datagram can be forged, so a request for a fifth
// pushes out none of them. It gets a key that the guard can derive again: one of two by
// turns, good for one to two lifetimes.
//
// A client is [Request.Client], its From and Contact, at the address that the request came
// from. A key or a nonce is good for the address that it was sent to. So who answers one is
// there, and who knows another's From and Contact can neither replace its key nor use its
// session from elsewhere ([Config.AnySource] changes that).
//
// At several nodes ([Guard.Join]) each sends keys and nonces of its own. A node that gets the answer
// to another's asks the others: for the keys that a client may answer there, or the node that a
// nonce names whether it is good, and has it note the count. So nothing is written for a challenge,
// and each is good for as long as at the node that sent it. That of a node that has died is gone,
// and its client gets another: a Digest client is told that it is stale, and answers by itself.
// The guard asks about some 600 answers in a second that no key of its own fits, and about a
// quarter of them from one source. The rest get a key of this node.
//
// # Sessions
//
// Credentials that the [Verifier] accepts open a session for the client and the account. Until
// its lifetime ends, requests without credentials are accepted. So are requests with the very
// credentials that opened it, also after their key has gone. Others are decrypted and verified
// as usual. A success replaces the session, anything else leaves it alone. Credentials are
// never stored: a session has a keyed digest of the encrypted text, in memory, and at several nodes
// the key, so that others can read the credentials when they come there.
//
// A session belongs to the kind of flow that opened it: a datagram, a connection, or
// TLS. One of TLS is good on its own connection alone. A success of another account
// with the same From, Contact and address ends the session, and opens none: both
// users are asked again, and neither is taken for the other.
//
// Digest opens no session. Each request carries its own proof, whose nonce count is
// accepted once.
//
// # Throttling
//
// Directories lock an account after some wrong passwords, so whoever can reach the
// server could lock out anybody. The guard stops before that. And it must not itself
// become the way to keep somebody out. The rules:
//
//  1. Only what a verifier refused counts. A stale key, text that does not decode, a
//     name or password that no account can have, a replayed nonce, and a directory
//     that is down do not.
//  2. After MaxFailures (4) of an account that a directory may lock, its next
//     attempts are forbidden, and no verifier hears of them. Where the account signed
//     in from some source within KnownLifetime (7 days), strangers have one attempt
//     less: the last one is for that source and that From.
//  3. Accounts that no directory locks (LocksAccounts of [Verifier]; Digest) are not
//     held as a whole. After MaxFailures of an account at one source, the next
//     attempts from there are forbidden. A From that the account signed in with there
//     has a count of its own. While other sources fail, attempts of strangers wait
//     for a second each.
//  4. After MaxSourceFailures (20) of a source, its next attempts are forbidden,
//     whatever the account. SharedSources are exempt. A source of IPv6 is its /64.
//  5. What is forbidden is so until FailureWindow (15 minutes) after the last failure.
//     Attempts under way count as failures until they are known to be none. Those that
//     would exceed a limit wait.
//  6. A success forgets the failures that were with its own account name.
//  7. Sessions come first: requests within a session are not held up.
//
// DOMAIN\user, user@domain and user may all be one account to a directory, so they are
// counted as one, unless the verifier knows better ([AccountKeyer]).
//
// Guards of several nodes ([Guard.Join]) count together: each attempt has its place in a record
// of the store that they share before a verifier hears of it, so that who goes round the nodes
// has no more attempts in all. An attempt of a node that dies is a failure. One that the store does
// not take is [Unavailable]. Only Digest of a known user is counted after it has failed, so that
// not every request is a write.
//
// A restart forgets failures, where there is one node. Who is known goes the way of sessions
// ([Config.KeepSession]).
//
// # What it protects
//
// X-BSS protects nobody on an open network: the key travels in the 401, and so
// whoever can read both messages has the password. Basic is the password itself,
// and an MD5 Digest can be searched for short ones. Only TLS protects: set RequireTLS.
//
// Passwords are in a [Secret] that prints as [Redacted], and are overwritten after use, as far
// as the runtime makes no copies of its own. Errors of a verifier that show the password are
// withheld. Whether an account exists, or has a Digest secret, is the same answer to strangers.
//
// # Bounds
//
// Nothing is unbounded. Meeting a bound has this effect:
//
//   - challenges, sessions, failures, known users, and Digest nonces that were used:
//     100,000 of each (MaxRecords); the one written longest ago goes, and its client signs
//     in again. A source (for sessions, known users and nonces: an account) that has a
//     sixteenth of them loses its own. Of challenges none goes; the next are derived
//   - failures of accounts that a directory may lock, as many besides: none goes before its
//     window ends. Where there is no room to count, attempts are [Unavailable], from the
//     last quarter on but for those who signed in from there before
//   - what MaxPending, MaxVerifications and VerifyTimeout of [Config] bound: [Unavailable]
//   - X-BSS-rauth and Authorization 4096 bytes, an account name 256, a password
//     1024: a 401 without asking a verifier
package auth
