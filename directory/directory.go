package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// An Entry is what the directory knows about one user. Entries are shared: who
// gets one must not change its slices.
type Entry struct {
	// ID names the entry for as long as it lives, across renames and changed
	// addresses; entries with the same ID are the same user. Never empty.
	ID string `json:"id"`
	// Account is what the user signs in with, "DOMAIN\\user" or "user"; empty for
	// an entry that nobody signs in as, a contact for example.
	Account string `json:"account,omitempty"`
	// DisplayName is for people to read, and may be empty.
	DisplayName string `json:"display_name,omitempty"`
	// SIP and Tel are the addresses that lead to this entry, as Values of an
	// [Address], the preferred one first.
	SIP []string `json:"sip,omitempty"`
	Tel []string `json:"tel,omitempty"`
	// Lines are the directory numbers of the user's supervised devices, without
	// visual separators.
	Lines []string `json:"lines,omitempty"`
	// Mail is the address of the user's mailbox, whose calendar is watched. Mail
	// addresses compare without regard to case.
	Mail string `json:"mail,omitempty"`
	// Groups are what the user belongs to: groups of the directory, or values of an
	// attribute, a department for example. They compare without regard to case.
	Groups []string `json:"groups,omitempty"`
}

// ErrNotFound says that an address has no entry. It is a statement about the
// address: a directory that could not be asked returns another error.
var ErrNotFound = errors.New("directory: no entry")

// ErrAmbiguous is what every [AmbiguousError] is.
var ErrAmbiguous = errors.New("directory: more than one entry")

// An AmbiguousError says that an address leads to more than one entry, so that it
// is nobody's until the directory's administrator has set it right.
type AmbiguousError struct {
	Address Address
	// Entries names entries that match, at least two of them, by ID or DN. There
	// may be more.
	Entries []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%v for %s: %s", ErrAmbiguous, e.Address, strings.Join(e.Entries, "; "))
}

// Is reports whether target is [ErrAmbiguous].
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// A Directory finds the entry behind an address. Implementations are safe for
// concurrent use.
//
// Lookup returns [ErrNotFound], perhaps wrapped, if it is certain that the
// address has no entry, and an [AmbiguousError] if it has several. Any other
// error says that the answer is not known now and that the caller may ask again.
// Lookup gives up when the context ends, with its error. Callers ask often and
// wait for the answer; caching is the implementation's business.
type Directory interface {
	Lookup(ctx context.Context, a Address) (Entry, error)
}

// Batch is what a [Directory] implements beside Lookup if it can answer for many
// addresses with less work than one at a time. LookupAll returns one result for
// each address, in the order asked, each as Lookup would have answered it. Use
// the function [LookupAll] to call it.
type Batch interface {
	LookupAll(ctx context.Context, as []Address) []Result
}

// Immediate is what a [Directory] implements beside Lookup if it may have an answer
// without asking anybody. Peek returns what Lookup would have answered, and true; or
// false where that would take its time. It does not block.
type Immediate interface {
	Peek(a Address) (Result, bool)
}

// Accounts is what a [Directory] implements beside Lookup if it can tell which entry has an
// account: "domain\\user" or "user", in any case. The errors are those of Lookup. A host
// whose policy names watchers by address or group needs it: users may write an address
// into From that the directory does not have.
type Accounts interface {
	LookupAccount(ctx context.Context, account string) (Entry, error)
}

// A Result is the answer for one address: the entry, or the error that Lookup
// would have returned.
type Result struct {
	Entry Entry
	Err   error
}

// LookupAll looks addresses up in d, in one go if it is a [Batch], otherwise one
// after the other. The results are in the order of the addresses. Once the
// context has ended, the addresses not answered yet get its error.
func LookupAll(ctx context.Context, d Directory, as []Address) []Result {
	if b, ok := d.(Batch); ok {
		return b.LookupAll(ctx, as)
	}
	results := make([]Result, len(as))
	for i, a := range as {
		if results[i].Err = ctx.Err(); results[i].Err == nil {
			results[i].Entry, results[i].Err = d.Lookup(ctx, a)
		}
	}
	return results
}

// Func is a function that is a [Directory].
type Func func(ctx context.Context, a Address) (Entry, error)

// Lookup calls f.
func (f Func) Lookup(ctx context.Context, a Address) (Entry, error) { return f(ctx, a) }
