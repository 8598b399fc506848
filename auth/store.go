package auth

import (
	"context"
	"errors"
	"time"
)

// Kind separates what the guard stores.
type Kind string

// The kinds of records.
const (
	// KindChallenge: the last keys given to a client.
	KindChallenge Kind = "challenge"
	// KindSession: a client that is signed in.
	KindSession Kind = "session"
	// KindFailure: the recent failures of an account or a source.
	KindFailure Kind = "failure"
	// KindKnown: a client that signed in to an account before.
	KindKnown Kind = "known"
)

// Kinds returns all kinds that a [Store] must take.
func Kinds() []Kind { return []Kind{KindChallenge, KindSession, KindFailure, KindKnown} }

// Record is a stored value: a few hundred bytes at most, meaningful to the guard
// alone.
type Record struct {
	Value string
	// Revision changes with each write of the key and is never 0.
	Revision uint64
}

var (
	// ErrNotFound: a [Store] has nothing under the key, or no longer.
	ErrNotFound = errors.New("auth: not in the store")
	// ErrConflict: the record is not of the revision that was expected.
	ErrConflict = errors.New("auth: record has changed")
)

// Store keeps what the guard must remember between requests. The values are
// plain text without pointers, so that a store may be shared by several
// servers; package authtest has a suite that holds any implementation against
// this contract.
//
// Keys are 24 characters of the URL-safe base64 alphabet, one name space for
// each kind. What was written is seen by every read that starts afterwards. A
// record is gone, for every method, once its lifetime has passed. A store is
// bounded: where a kind is full, a write drops the record of that kind that was
// written longest ago. Methods are safe for concurrent use and return when ctx
// ends; an error other than the two below makes the guard answer 503.
type Store interface {
	// Get returns the record, or ErrNotFound.
	Get(ctx context.Context, kind Kind, key string) (Record, error)
	// Put writes the record, whatever was there, for a lifetime from now.
	Put(ctx context.Context, kind Kind, key, value string, lifetime time.Duration) error
	// Swap writes the record where its revision is still the given one; 0
	// means that there must be none. Otherwise it returns ErrConflict.
	Swap(ctx context.Context, kind Kind, key, value string, lifetime time.Duration, revision uint64) error
	// Delete removes the record. There being none is no error.
	Delete(ctx context.Context, kind Kind, key string) error
}

// Counter is an add-on of a [Store] that knows how many records it holds; they
// then appear in [Stats]. Count may include records that have just expired.
type Counter interface {
	Count(kind Kind) int
}
