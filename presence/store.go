package presence

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Store keeps records for longer than a process lives: in a file, a database, a service. The
// server has all of its state in memory. [Server.Restore] reads the whole store. While the server
// runs, it writes changes in batches. A store that is slow, or fails, holds up nobody, except with
// Config.StoreAlways.
//
// A record has a kind, a key and a value. The store does not look into them. It is safe for
// concurrent use. Package storetest tests an implementation.
type Store interface {
	// Load calls f with each record that has not expired, in any order. The first error of f ends
	// the loading; Load returns it as it is. f may use the Value until it returns, and does not
	// change it. f must not call the store. Nothing is left out that was written before the call, by
	// whichever process.
	//
	// It is an error if the store cannot be read to its end, or its format is unknown. Then Load
	// repairs nothing and writes nothing.
	Load(ctx context.Context, f func(Record) error) error

	// Apply carries out the writes in their order. It returns when they would survive a loss of
	// power, or whatever else the store promises. It returns the revision that each write has given
	// its record, and 0 for a write whose condition did not hold. The others are carried out all
	// the same.
	//
	// With an error, and where the process ends meanwhile, the first of the writes may have been
	// carried out, each of them wholly. To write those without a condition again does no harm.
	// After Apply has returned, the store does not use the values of the writes any more.
	Apply(ctx context.Context, writes []Write) ([]uint64, error)
}

// Record is what a [Store] keeps under a kind and a key.
type Record struct {
	Kind string // of at most 64 bytes, not empty
	Key  string // of at most 1024 bytes, not empty
	// Value is what is kept. It is at most a few tens of kilobytes long.
	Value []byte
	// Expires is when the record ends, by the clock on the wall; the zero time is never. A store
	// keeps it to the millisecond. It may forget an expired record at any time.
	Expires time.Time
	// Revision counts the writes of a store: that of a record rises with each of them.
	Revision uint64
	Node     string // who wrote it, of a [Shared] store; else empty
}

// Write is one change of a [Store].
type Write struct {
	Kind, Key string
	Value     []byte // nil deletes the record
	Expires   time.Time
	// Conditional writes only if the record has this Revision, or, for 0, if there is no record.
	Conditional bool
	Revision    uint64
}

// ErrNotStored says that a value is in use, but not in the store yet: a crash would lose it.
// The Feed of a server with StoreAlways waits for the store, and returns it.
var ErrNotStored = errors.New("presence: the store did not take it")

// MemoryStore is a [Store] that lives as long as the process: for tests, and for
// servers of one process. The zero MemoryStore is empty and ready.
type MemoryStore struct {
	mu       sync.Mutex
	records  map[recordKey]Record
	revision uint64
}

type recordKey struct{ kind, key string }

// Load implements [Store].
func (m *MemoryStore) Load(ctx context.Context, f func(Record) error) error {
	m.mu.Lock()
	all := make([]Record, 0, len(m.records))
	for key, r := range m.records {
		if expired(r.Expires) {
			delete(m.records, key)
			continue
		}
		all = append(all, r)
	}
	m.mu.Unlock()
	for _, r := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// Apply implements [Store].
func (m *MemoryStore) Apply(ctx context.Context, writes []Write) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[recordKey]Record)
	}
	revisions := make([]uint64, len(writes))
	for i, w := range writes {
		key := recordKey{w.Kind, w.Key}
		old := m.records[key]
		if expired(old.Expires) {
			old.Revision = 0
		}
		if w.Conditional && w.Revision != old.Revision {
			continue
		}
		m.revision++
		revisions[i] = m.revision
		if w.Value == nil {
			delete(m.records, key)
			continue
		}
		expires := w.Expires
		if !expires.IsZero() {
			expires = expires.Round(0).Truncate(time.Millisecond)
		}
		m.records[key] = Record{Kind: w.Kind, Key: w.Key, Value: append([]byte{}, w.Value...), Expires: expires, Revision: m.revision}
	}
	return revisions, nil
}

func expired(at time.Time) bool { return !at.IsZero() && time.Until(at) <= 0 }
