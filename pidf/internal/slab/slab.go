// Package slab hands out values in memory that is used again, all of it at once.
package slab

// Memory is what values are handed out of. The zero value is ready; a nil one has each value
// allocated by itself. It is for one goroutine at a time.
type Memory struct{ slabs []reusable }

type reusable interface{ reuse() }

// slab has the values of one type.
type slab[T any] struct {
	values []T
	used   int // as wanted: it may be more than there are
}

// most is how many values of one type are kept.
const most = 32

// Reuse makes all that was handed out ready to be handed out again: nobody may hold on to it.
func (m *Memory) Reuse() {
	for _, s := range m.slabs {
		s.reuse()
	}
}

func (s *slab[T]) reuse() {
	clear(s.values[:min(s.used, len(s.values))])
	if n := min(s.used, most); n > len(s.values) {
		s.values = make([]T, n)
	}
	s.used = 0
}

func slabOf[T any](m *Memory) *slab[T] {
	for _, s := range m.slabs {
		if s, ok := s.(*slab[T]); ok {
			return s
		}
	}
	s := new(slab[T])
	m.slabs = append(m.slabs, s)
	return s
}

// New returns a zero T.
func New[T any](m *Memory) *T {
	if m == nil {
		return new(T)
	}
	s := slabOf[T](m)
	s.used++
	if s.used > len(s.values) {
		return new(T)
	}
	return &s.values[s.used-1]
}

// Append appends v to a list of which all values came from Append.
func Append[T any](m *Memory, list []T, v T) []T {
	if m == nil || len(list) < cap(list) {
		return append(list, v)
	}
	s, n := slabOf[T](m), len(list)
	from := s.used
	if last := from - n; n > 0 && last >= 0 && from <= len(s.values) && &s.values[last] == &list[0] {
		from = last // it grows where it is
	}
	if s.used = from + n + 1; s.used > len(s.values) {
		return append(list, v)
	}
	grown := s.values[from:s.used:s.used]
	copy(grown, list)
	grown[n] = v
	return grown
}
