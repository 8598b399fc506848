package auth

import (
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// recordKey names a record: 128 bits of SHA-256 do not collide. It has the same
// length for any text, so that tables need not bound names.
type recordKey [16]byte

// keyOf makes a key of several texts, for one purpose.
func keyOf(purpose string, parts ...string) (k recordKey) {
	var buf [256]byte // keeps the usual key off the heap
	b := append(buf[:0], purpose...)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

func (k recordKey) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

func parseKey(text string) (k recordKey, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != len(k) {
		return k, errors.New("auth: not the key of a record")
	}
	return recordKey(b), nil
}

// ownShare is which part of a table one owner may have: a sixteenth.
const ownShare = 16

// table holds what the guard remembers of one kind, for a time. It is bounded. At
// the bound the record that was written longest ago goes. Each record has an owner,
// a source or an account. An owner that has its share makes room among its own
// records, so that nobody pushes out what belongs to others.
//
// It has no goroutine: later writes drop what has expired. Times have a monotonic
// clock reading, so that a change of the wall clock ends nothing.
type table[V any] struct {
	mu      sync.Mutex
	limit   int
	records map[recordKey]*record[V]
	owners  map[recordKey]*list.List
	// keeps says that nothing makes room for others, so that a new record may find none.
	keeps bool
	// evicted is the latest expiry of all that made room.
	evicted time.Time
	// written has all records in the order of their last write, oldest first. With
	// one lifetime for a table, that is the order of expiry.
	written list.List
}

type record[V any] struct {
	key, owner   recordKey
	value        V
	expires      time.Time
	inAll, inOwn *list.Element
}

func newTable[V any](limit int) *table[V] {
	return &table[V]{limit: limit, records: make(map[recordKey]*record[V]), owners: make(map[recordKey]*list.List)}
}

// get returns the value, and false where there is none or it has expired.
func (t *table[V]) get(key recordKey) (v V, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.records[key]; r != nil && time.Now().Before(r.expires) {
		return r.value, true
	}
	return v, false
}

// put writes a record that is good until expires.
func (t *table[V]) put(key, owner recordKey, v V, expires time.Time) {
	t.update(key, owner, expires, func(V, bool) (V, bool) { return v, true })
}

// update changes a record in one step. f gets what is there, if anything, and
// returns what is to be there, or false for nothing. update returns whether it is there.
func (t *table[V]) update(key, owner recordKey, expires time.Time, f func(V, bool) (V, bool)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var have V
	r := t.records[key]
	found := r != nil && now.Before(r.expires)
	if found {
		have = r.value
		if t.keeps {
			owner = r.owner
		}
	}
	v, keep := f(have, found)
	if keep && r != nil && r.owner == owner {
		r.value, r.expires = v, expires
		t.written.MoveToBack(r.inAll)
		t.owners[owner].MoveToBack(r.inOwn)
		return true
	}
	if r != nil {
		t.remove(r)
	}
	return keep && t.add(&record[V]{key: key, owner: owner, value: v, expires: expires}, now)
}

// room reports whether there is room for a record of the owner's, where as many others may
// come before it: it is there already, or less than three quarters of the bounds are taken.
// The last quarter is for the privileged.
func (t *table[V]) room(key, owner recordKey, others int, privileged bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(time.Now())
	if t.records[key] != nil {
		return true
	}
	own := 0
	if l := t.owners[owner]; l != nil {
		own = l.Len()
	}
	limit, share := t.limit, max(1, t.limit/ownShare)
	if !privileged {
		limit, share = limit-limit/4, share-share/4
	}
	return len(t.records)+others < limit && own+others < share
}

// change changes the value of a record that is there.
func (t *table[V]) change(key recordKey, f func(*V)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.records[key]; r != nil {
		f(&r.value)
	}
}

// drop removes the records for which f returns true, and returns their keys.
func (t *table[V]) drop(f func(V) bool) (keys []recordKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, r := range t.records {
		if f(r.value) {
			t.remove(r)
			keys = append(keys, key)
		}
	}
	return keys
}

// count returns how many there are.
func (t *table[V]) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(time.Now())
	return len(t.records)
}

// The methods below expect the lock held.

func (t *table[V]) add(r *record[V], now time.Time) bool {
	t.sweep(now)
	own := t.owners[r.owner]
	ownFull := own != nil && own.Len() >= max(1, t.limit/ownShare)
	switch {
	case !ownFull && len(t.records) < t.limit:
	case t.keeps:
		return false
	case ownFull:
		t.evict(own.Front())
	default:
		t.evict(t.written.Front())
	}
	if own = t.owners[r.owner]; own == nil { // it may have been the owner's last
		own = list.New()
		t.owners[r.owner] = own
	}
	t.records[r.key] = r
	r.inAll, r.inOwn = t.written.PushBack(r), own.PushBack(r)
	return true
}

func (t *table[V]) evict(e *list.Element) {
	r := e.Value.(*record[V])
	if t.remove(r); r.expires.After(t.evicted) {
		t.evicted = r.expires
	}
}

// sweep drops expired records from the old end.
func (t *table[V]) sweep(now time.Time) {
	for e := t.written.Front(); e != nil; e = t.written.Front() {
		r := e.Value.(*record[V])
		if now.Before(r.expires) {
			return
		}
		t.remove(r)
	}
}

func (t *table[V]) remove(r *record[V]) {
	delete(t.records, r.key)
	t.written.Remove(r.inAll)
	own := t.owners[r.owner]
	if own.Remove(r.inOwn); own.Len() == 0 {
		delete(t.owners, r.owner)
	}
}
