package presence

import (
	"context"
	"sync"
	"time"
)

// Store keeps records for longer than a process lives: a file, a database, a service.
// The server has all of its state in memory and asks the store twice: [Server.Restore]
// reads everything, and changes are written in batches while the server runs. A store
// that is slow, or fails, holds up nobody but those who asked to wait for it.
//
// A record has a kind, a key and a value, which are the server's own: the store does
// not look into them. It is safe for concurrent use. Package storetest shows that an
// implementation does what is said here.
type Store interface {
	// Load calls f with each record that is there and has not expired, in any order,
	// and returns its first error, which ends the loading, as it is. Nobody changes
	// the Value, which is f's until f returns. f must not call the store.
	//
	// A store that cannot be read, or not to its end, is an error; so is one whose
	// format is unknown. Nothing is repaired and nothing is written then.
	Load(ctx context.Context, f func(Record) error) error

	// Apply carries out the writes in their order, and returns once they would survive
	// a loss of power, or as much as the store promises in its place. It returns the
	// revision that each write has given its record, and 0 for a write whose condition
	// did not hold; the others are carried out all the same.
	//
	// With an error some of the writes may have been carried out, each of them wholly
	// or not at all. It does no harm to write those without a condition again. Once it has
	// returned, the store does not use the values of the batch any more.
	Apply(ctx context.Context, batch []Write) ([]uint64, error)
}

// Record is what a [Store] keeps under a kind and a key.
type Record struct {
	Kind string // of at most 64 bytes, not empty
	Key  string // of at most 1024 bytes, not empty
	// Value is what is kept. It is at most a few tens of kilobytes long.
	Value []byte
	// Expires is when the record ceases to be, by the clock on the wall; the zero time
	// is never. A store keeps it to the millisecond. It may forget what has expired
	// whenever it likes.
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
	// Conditional has it written only where the record has this Revision, or, of 0,
	// where there is none.
	Conditional bool
	Revision    uint64
}

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
func (m *MemoryStore) Apply(ctx context.Context, batch []Write) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[recordKey]Record)
	}
	revisions := make([]uint64, len(batch))
	for i, w := range batch {
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
