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

// Shared is a [Store] that several servers use at the same time. Each of them is a node. A
// [Server] whose Config.Store is a Shared shares its state with the others. Each node composes
// its documents from what all nodes have been told. A dialog belongs to the node that opened it.
// A client belongs to the node of its newest subscription to its own address. When a node dies,
// the store names its heir, and what belonged to the dead node goes on there.
//
// The store lets a node write until another node has taken its place, and never after that. The
// host sees to it that the same holds for what the node sends.
type Shared interface {
	Store

	// Node is the name of this node: at most 32 letters and digits. No other node that uses the
	// store, or ever did, has that name. It is the [Record.Node] of the records of this node.
	Node() string

	// Living returns the nodes that live, as far as this one knows, in any order. This one is among
	// them. Another may have died, or joined, up to a lease ago. It does not block.
	Living() []string

	// AliveSince reports whether this node could speak, and write, all the time since then. It
	// reports false while the store cannot be reached: another node may take the place of this one.
	// It reports true again when it is certain that none has. It does not block.
	AliveSince(then time.Time) bool

	// Watch calls f with each change of a record of one of these kinds, by any node, in the order
	// of revisions. The first one has a revision above after. A nil Value tells that the record
	// was deleted. Watch does not tell of a record that expires, nor of one that is replaced before
	// it was told. Watch returns when ctx has ended, or with the error that keeps it from going on,
	// or because of which it may have missed something: then the server reads everything again.
	// f may keep the record.
	Watch(ctx context.Context, after uint64, kinds []string, f func(Record)) error

	// Call sends a message to another node, and returns what the f of its Answer returns. It waits
	// until ctx ends. The error is [ErrNoNode] if the store knows no such node, alive or dead.
	Call(ctx context.Context, node string, message []byte) ([]byte, error)

	// Answer has f answer the calls of other nodes until the store is closed. Several goroutines
	// call f at once. Answer is called once.
	Answer(f func(ctx context.Context, message []byte) []byte)
}

// ErrNoNode is the error of [Shared.Call] for a node that never was, or is forgotten.
var ErrNoNode = errors.New("presence: there is no such node")

// KindHeir is the kind of the records by which a [Shared] store tells that a node has died. The
// key is the dead node, the value its heir. The store writes the record when the dead node can
// write nothing more.
const KindHeir = "heir"

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
