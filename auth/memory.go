package auth

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultLimit is how many records of each kind a [Memory] holds by default.
// At about 400 bytes each, full, that is 40 MB a kind.
const DefaultLimit = 100_000

// Memory is a [Store] in the memory of the process. It has no goroutine: expired
// records are dropped by later writes of their kind.
type Memory struct {
	// One lock per kind is enough: a look-up holds it for some 50 ns, a small
	// part of what the request costs otherwise.
	kinds map[Kind]*memoryKind
}

var (
	_ Store   = (*Memory)(nil)
	_ Counter = (*Memory)(nil)
)

type memoryKind struct {
	mu       sync.Mutex
	limit    int
	revision uint64
	records  map[string]*list.Element
	// written has the records in order of their last write, oldest first. With
	// one lifetime per kind, as the guard uses it, that is the order of expiry.
	written list.List
}

type memoryRecord struct {
	Record
	key     string
	expires time.Time
}

// NewMemory returns an empty store that holds limit records of each kind; 0
// means [DefaultLimit]. The limits map, which may be nil, has other bounds for
// single kinds.
func NewMemory(limit int, limits map[Kind]int) (*Memory, error) {
	if limit == 0 {
		limit = DefaultLimit
	}
	m := &Memory{kinds: make(map[Kind]*memoryKind)}
	for _, kind := range Kinds() {
		m.kinds[kind] = &memoryKind{limit: limit, records: make(map[string]*list.Element)}
	}
	for kind, n := range limits {
		k := m.kinds[kind]
		if k == nil {
			return nil, fmt.Errorf("auth: limit of unknown kind %q", kind)
		}
		k.limit = n
	}
	for kind, k := range m.kinds {
		if k.limit < 1 {
			return nil, fmt.Errorf("auth: limit of %d %s records is below 1", k.limit, kind)
		}
	}
	return m, nil
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, kind Kind, key string) (Record, error) {
	k := m.kinds[kind]
	if k == nil {
		return Record{}, unknownKind(kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.live(key, time.Now()); r != nil {
		return r.Record, nil
	}
	return Record{}, ErrNotFound
}

// Put implements [Store].
func (m *Memory) Put(_ context.Context, kind Kind, key, value string, lifetime time.Duration) error {
	k := m.kinds[kind]
	if k == nil {
		return unknownKind(kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.write(key, value, time.Now(), lifetime)
	return nil
}

// Swap implements [Store].
func (m *Memory) Swap(_ context.Context, kind Kind, key, value string, lifetime time.Duration, revision uint64) error {
	k := m.kinds[kind]
	if k == nil {
		return unknownKind(kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	var have uint64
	if r := k.live(key, now); r != nil {
		have = r.Revision
	}
	if have != revision {
		return ErrConflict
	}
	k.write(key, value, now, lifetime)
	return nil
}

// Delete implements [Store].
func (m *Memory) Delete(_ context.Context, kind Kind, key string) error {
	k := m.kinds[kind]
	if k == nil {
		return unknownKind(kind)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.records[key]; e != nil {
		k.remove(e)
	}
	return nil
}

// Count implements [Counter].
func (m *Memory) Count(kind Kind) int {
	k := m.kinds[kind]
	if k == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sweep(time.Now())
	return len(k.records)
}

func unknownKind(kind Kind) error { return fmt.Errorf("auth: unknown kind of record %q", kind) }

// The methods below expect the lock held.

func (k *memoryKind) live(key string, now time.Time) *memoryRecord {
	e := k.records[key]
	if e == nil {
		return nil
	}
	r := e.Value.(*memoryRecord)
	if !now.Before(r.expires) {
		k.remove(e)
		return nil
	}
	return r
}

func (k *memoryKind) write(key, value string, now time.Time, lifetime time.Duration) {
	k.revision++
	record := Record{Value: value, Revision: k.revision}
	if e := k.records[key]; e != nil {
		r := e.Value.(*memoryRecord)
		r.Record, r.expires = record, now.Add(lifetime)
		k.written.MoveToBack(e)
		return
	}
	k.sweep(now)
	if len(k.records) >= k.limit {
		k.remove(k.written.Front())
	}
	k.records[key] = k.written.PushBack(&memoryRecord{Record: record, key: key, expires: now.Add(lifetime)})
}

// sweep drops expired records from the old end.
func (k *memoryKind) sweep(now time.Time) {
	for e := k.written.Front(); e != nil && !now.Before(e.Value.(*memoryRecord).expires); e = k.written.Front() {
		k.remove(e)
	}
}

func (k *memoryKind) remove(e *list.Element) {
	delete(k.records, k.written.Remove(e).(*memoryRecord).key)
}
