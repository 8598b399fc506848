package markup

import (
	"bytes"
	"hash/maphash"
	"strconv"
)

// IDs are the identifiers (xs:ID) that are written to a document: NCNames, and unique. The zero value has none.
type IDs struct {
	used     []id
	index    []int32 // numbers of used, plus one, by hash; none while there are few
	seed     maphash.Seed
	reserved map[string]struct{} // what is not to be written
}

// id is an identifier that was written, or begun with.
type id struct {
	from, to int // where it stands
	next     int // the suffix to try next for another one like it
}

const (
	manyIDs = 16   // where an index becomes cheaper than looking at each
	keptIDs = 4096 // for how many at most there is memory to be used again
)

// Reserve keeps an identifier from being written.
func (u *IDs) Reserve(id string) {
	if u.reserved == nil {
		u.reserved = make(map[string]struct{})
	}
	u.reserved[id] = struct{}{}
}

// ReserveAll does so with all in what is read: attributes called id with a prefix, or of elements in which that is an
// identifier.
func (u *IDs) ReserveAll(s *Scanner, identifies func(*Name) bool) {
	for s.Next() != EOF {
		if s.Kind != Start {
			continue
		}
		for i := range s.Attrs {
			if a := &s.Attrs[i]; a.Local == "id" && (a.Prefix != "" || identifies(&s.Name)) {
				u.Reserve(Trim(a.Value()))
			}
		}
	}
}

// Reserved reports whether there are such.
func (u *IDs) Reserved() bool { return u.reserved != nil }

// Restart is for a document that is written again from its start.
func (u *IDs) Restart() { u.used, u.index = u.used[:0], u.index[:0] }

// Empty returns none, in the same memory.
func (u *IDs) Empty() IDs {
	if cap(u.used) > keptIDs {
		return IDs{}
	}
	return IDs{used: u.used[:0], index: u.index[:0], seed: u.seed}
}

// Append appends id to the document where it is an NCName that it does not have yet, otherwise one that resembles it.
// Otherwise is what an empty id becomes.
func (u *IDs) Append(doc []byte, id, otherwise string) []byte {
	from := len(doc)
	if IsNCName(id) {
		doc = append(doc, id...)
	} else {
		doc = AppendNCName(doc, id, otherwise)
	}
	base := len(doc)
	i, slot := u.find(doc, from)
	if i < 0 && u.isReserved(doc[from:]) {
		i = u.add(doc, from, slot)
	}
	for taken := i >= 0; taken; {
		doc = strconv.AppendInt(append(doc[:base], '-'), int64(u.used[i].next), 10)
		u.used[i].next++
		var other int
		other, slot = u.find(doc, from)
		taken = other >= 0 || u.isReserved(doc[from:])
	}
	u.add(doc, from, slot)
	return doc
}

func (u *IDs) isReserved(name []byte) bool {
	_, ok := u.reserved[string(name)]
	return ok
}

// find returns the number of the identifier doc[from:], negative where there is none, and its place in the index.
func (u *IDs) find(doc []byte, from int) (i, slot int) {
	name := doc[from:]
	if len(u.index) == 0 {
		for i, x := range u.used {
			if string(doc[x.from:x.to]) == string(name) {
				return i, 0
			}
		}
		return -1, 0
	}
	for slot = u.slot(name); u.index[slot] != 0; slot = (slot + 1) & (len(u.index) - 1) {
		i := int(u.index[slot]) - 1
		if x := &u.used[i]; bytes.Equal(doc[x.from:x.to], name) {
			return i, slot
		}
	}
	return -1, slot
}

// slot returns where in the index to look for an identifier first.
func (u *IDs) slot(name []byte) int {
	return int(maphash.Bytes(u.seed, name) & uint64(len(u.index)-1))
}

// add adds the identifier doc[from:], at a free place of the index, and returns its number.
func (u *IDs) add(doc []byte, from, slot int) int {
	u.used = append(u.used, id{from, len(doc), 2})
	n := len(u.used)
	switch {
	case n >= manyIDs && 2*n > len(u.index):
		u.grow(doc)
	case n > manyIDs:
		u.index[slot] = int32(n)
	}
	return n - 1
}

// grow doubles the index.
func (u *IDs) grow(doc []byte) {
	size := max(4*manyIDs, 2*len(u.index))
	if size > cap(u.index) {
		u.index, u.seed = make([]int32, size), maphash.MakeSeed()
	} else {
		u.index = u.index[:size]
		clear(u.index)
	}
	for i, x := range u.used {
		slot := u.slot(doc[x.from:x.to])
		for u.index[slot] != 0 {
			slot = (slot + 1) & (size - 1)
		}
		u.index[slot] = int32(i + 1)
	}
}
