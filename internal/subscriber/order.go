package subscriber

import "errors"

// Errors of [Sequence.Next].
var (
	ErrOld      = errors.New("subscriber: older than a NOTIFY that was taken")
	ErrRepeated = errors.New("subscriber: a NOTIFY that was taken before")

	errTooMuchOf = errors.New("subscriber: more entities than were asked for")
)

// A Sequence lets only newer NOTIFYs pass (RFC 3261 §12.2.2). The zero value lets
// any be the first.
type Sequence struct {
	last     uint32
	begun    bool
	doubtful bool // one that was not newer was the last
}

// Next takes the CSeq of a NOTIFY, or returns [ErrOld], to be answered 500, or
// [ErrRepeated].
func (s *Sequence) Next(cseq uint32) error {
	s.doubtful = s.begun && cseq <= s.last
	switch {
	case s.doubtful && cseq == s.last:
		return ErrRepeated
	case s.doubtful:
		return ErrOld
	}
	s.last, s.begun = cseq, true
	return nil
}

// An order is that of a dialog's NOTIFYs: of each entity of its own. In a list of the
// BluStar dialect NOTIFYs about several are under way together, and overtake each other.
type order struct {
	limit  int // of entities; 0 is 1
	doubts int // how many of them are doubtful
	entity map[string]Sequence
}

func (o *order) next(entity string, cseq uint32) error {
	s, seen := o.entity[entity]
	if !seen && len(o.entity) >= max(o.limit, 1) {
		return errTooMuchOf
	}
	if o.entity == nil {
		o.entity = make(map[string]Sequence)
	}
	was := s.doubtful
	err := s.Next(cseq)
	o.entity[entity] = s
	switch {
	case s.doubtful && !was:
		o.doubts++
	case was && !s.doubtful:
		o.doubts--
	}
	return err
}

// keep forgets the entities that are not wanted any more.
func (o *order) keep(wanted func(entity string) bool) {
	for entity, s := range o.entity {
		if wanted(entity) {
			continue
		}
		delete(o.entity, entity)
		if s.doubtful {
			o.doubts--
		}
	}
}

// Entities bounds how many entities the dialog tells of, and forgets those that keep,
// where it is not nil, does not want. A Watcher's methods may call it.
func (s *Subscription) Entities(limit int, keep func(entity string) bool) {
	s.order.limit = limit
	if keep != nil {
		s.order.keep(keep)
	}
}
