package auth

import "context"

// Verifier says whether credentials are good.
//
// Verify returns the account's identity, an error that wraps [ErrBadCredentials] (one of the
// reasons of this package, where it knows) where the account or the password is not good, or
// any other error where it could not find out; the client then gets a 503 and asks nobody. It
// must return when ctx ends, is called by several goroutines at once, must keep neither the
// credentials nor the bytes of the password, and must put neither into an error. The password
// is never empty.
//
// Where c.AMCC is set, only accounts of mobile client controllers may pass;
// without it they must not.
//
// A verifier whose accounts no directory locks says so by a method LocksAccounts() bool that
// returns false; see the package documentation on throttling. It is called once.
//
// Whose addresses the account may publish for is told by its identity ([SameAccount]). The
// guard takes its Account in lower case, or the name that was typed, and AMCC from c.
type Verifier interface {
	Verify(ctx context.Context, c Credentials) (Identity, error)
}

// VerifierFunc is a function as a [Verifier].
type VerifierFunc func(ctx context.Context, c Credentials) (Identity, error)

// Verify calls f.
func (f VerifierFunc) Verify(ctx context.Context, c Credentials) (Identity, error) {
	return f(ctx, c)
}

// AccountKeyer is an add-on of a [Verifier] that knows which names mean one account. AccountKey
// returns the same text for every name of an account; "" leaves it to the guard, which counts
// failures by the user part alone, because CORP\alice, alice@corp.example and alice may all be
// the one that Active Directory locks. Where it cannot find out it returns an error, and the
// client gets a 503: an attempt that is not counted must not reach the directory.
//
// It is called before any throttling, within [Config.VerifyTimeout] and
// [Config.MaxPending], and so must bound the work it makes for others.
type AccountKeyer interface {
	AccountKey(ctx context.Context, n Name) (string, error)
}
