package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/openblustar/blustar/presence"
)

// state is what the file says of its contents. It is written with each batch. Pages of
// bbolt have no checksum, so that a damaged one could lose records unseen.
type state struct {
	revision uint64 // of the newest write
	kinds    map[string]tally
}

// tally counts the records of one kind, and adds up their checksums.
type tally struct{ count, sum uint64 }

func (t *tally) add(data []byte) { t.count++; t.sum += uint64(binary.BigEndian.Uint32(data)) }
func (t *tally) sub(data []byte) { t.count--; t.sum -= uint64(binary.BigEndian.Uint32(data)) }

func (s *state) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 4, 512), s.revision)
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		b = append(append(b, byte(len(kind))), kind...)
		b = binary.BigEndian.AppendUint64(b, s.kinds[kind].count)
		b = binary.BigEndian.AppendUint64(b, s.kinds[kind].sum)
	}
	binary.BigEndian.PutUint32(b, checksum(keyState, b))
	return b
}

func (s *state) decode(b []byte) error {
	if len(b) < 4+8 || binary.BigEndian.Uint32(b) != checksum(keyState, b) {
		return fmt.Errorf("%w: its list of contents does not match its checksum", ErrCorrupt)
	}
	s.revision = binary.BigEndian.Uint64(b[4:])
	s.kinds = make(map[string]tally)
	for b = b[4+8:]; len(b) > 0; { // what has a good checksum has been written by encode
		n := 1 + int(b[0])
		s.kinds[string(b[1:n])] = tally{binary.BigEndian.Uint64(b[n:]), binary.BigEndian.Uint64(b[n+8:])}
		b = b[n+16:]
	}
	return nil
}

// fill is how full a page is when the next one is begun: most keys rise, and a page that
// is left behind is not added to.
const fill = 0.9

// maxRoom is how much memory, in bytes, is kept for the next batch.
const maxRoom = 16 << 20

// apply carries writes out. expired has the revision of a record compared though it
// has expired.
func (s *Store) apply(batch []presence.Write, expired bool) ([]uint64, error) {
	revisions := make([]uint64, len(batch))
	update := func(tx *bbolt.Tx) error {
		w := writing{tx: tx, room: s.room[:0], shelves: make(map[string]*shelf)}
		defer func() {
			if s.room = w.room; cap(s.room) > maxRoom {
				s.room = nil
			}
		}()
		about := tx.Bucket(bucketAbout)
		if err := w.state.decode(about.Get(keyState)); err != nil {
			return err
		}
		for i := range batch {
			var err error
			if revisions[i], err = w.write(&batch[i], expired); err != nil {
				return fmt.Errorf("%s %q: %w", batch[i].Kind, batch[i].Key, err)
			}
		}
		for kind, k := range w.shelves {
			w.state.kinds[kind] = k.tally
		}
		return about.Put(keyState, w.state.encode())
	}
	if err := guarded(func() error { return s.db.Update(update) }); err != nil {
		return nil, err
	}
	return revisions, nil
}

// writing is a transaction that writes.
type writing struct {
	tx      *bbolt.Tx
	state   state
	room    []byte // for keys and values, until the end of the transaction
	shelves map[string]*shelf
}

// shelf has the records of one kind.
type shelf struct {
	bucket *bbolt.Bucket
	cursor *bbolt.Cursor // of the bucket
	last   []byte        // no key is above it
	tally  tally
}

// get returns what is stored for key, and nil where nothing is. New keys often come last:
// nobody has to look for those.
func (k *shelf) get(key []byte) []byte {
	if bytes.Compare(key, k.last) > 0 {
		return nil
	}
	if found, data := k.cursor.Seek(key); bytes.Equal(found, key) {
		return data
	}
	return nil
}

func (w *writing) shelf(kind string) (*shelf, error) {
	k := w.shelves[kind]
	if k == nil {
		b, err := w.tx.CreateBucketIfNotExists([]byte(kind))
		if err != nil {
			return nil, err
		}
		b.FillPercent = fill
		k = &shelf{bucket: b, cursor: b.Cursor(), tally: w.state.kinds[kind]}
		k.last, _ = k.cursor.Last()
		w.shelves[kind] = k
	}
	return k, nil
}

// write carries one write out. It returns the revision that it has given its record, or 0
// where its condition does not hold.
func (w *writing) write(p *presence.Write, expired bool) (uint64, error) {
	k, err := w.shelf(p.Kind)
	if err != nil {
		return 0, err
	}
	from := len(w.room)
	w.room = append(w.room, p.Key...)
	key := w.room[from:len(w.room):len(w.room)]
	old := k.get(key)
	if p.Conditional {
		now, err := revisionOf(key, old, expired)
		if err != nil || now != p.Revision {
			return 0, err
		}
	}
	if old != nil {
		if len(old) < headerSize {
			return 0, ErrCorrupt
		}
		k.tally.sub(old)
	}
	w.state.revision++
	switch {
	case p.Value != nil:
		from = len(w.room)
		w.room = encode(w.room, key, p, w.state.revision)
		data := w.room[from:len(w.room):len(w.room)]
		k.tally.add(data)
		if err = k.bucket.Put(key, data); bytes.Compare(key, k.last) > 0 {
			k.last = key
		}
	case old != nil:
		err = k.bucket.Delete(key)
	}
	return w.state.revision, err
}

func revisionOf(key, data []byte, expired bool) (uint64, error) {
	if data == nil {
		return 0, nil
	}
	r, err := decode(key, data)
	if err != nil || !expired && !r.Expires.IsZero() && time.Until(r.Expires) <= 0 {
		return 0, err
	}
	return r.Revision, nil
}

// encode appends a value with what belongs to it: the checksum of all the rest, key
// included; the expiry in milliseconds since 1970, 0 for never; the revision.
func encode(b, key []byte, w *presence.Write, revision uint64) []byte {
	from := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	var expires uint64
	if !w.Expires.IsZero() {
		expires = uint64(w.Expires.UnixMilli())
	}
	b = binary.BigEndian.AppendUint64(b, expires)
	b = binary.BigEndian.AppendUint64(b, revision)
	b = append(b, w.Value...)
	binary.BigEndian.PutUint32(b[from:], checksum(key, b[from:]))
	return b
}
