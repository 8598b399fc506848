package client

import (
	"errors"
	"maps"
	"slices"

	"github.com/openblustar/blustar/internal/subscriber"
)

// A dialog is one at the server, and the list that the server has in it.
//
// In the BluStar dialect a list's NOTIFYs, one for each entity, are under way
// together and may overtake each other; there each entity has an order of its own,
// else a state would get lost. limit bounds how many entities are told apart; 0 is
// one order for the whole dialog.
type dialog struct {
	*subscriber.Dialog
	list   []string
	limit  int
	entity map[string]subscriber.Sequence
}

// replaced says that the server has this list now.
func (d *dialog) replaced(list []string) {
	d.list = list
	if d.limit == 0 {
		return
	}
	d.limit = len(list) + strangers
	maps.DeleteFunc(d.entity, func(entity string, _ subscriber.Sequence) bool {
		return !slices.ContainsFunc(list, func(a string) bool { return normal(a) == entity })
	})
}

var errTooMuchOf = errors.New("more entities than were asked for")

// next takes the CSeq of a NOTIFY about entity, as [subscriber.Sequence.Next]
// does.
func (d *dialog) next(entity string, cseq uint32) error {
	if d.limit == 0 {
		return d.Order.Next(cseq)
	}
	order, seen := d.entity[entity]
	if !seen && len(d.entity) >= d.limit {
		return errTooMuchOf
	}
	if d.entity == nil {
		d.entity = make(map[string]subscriber.Sequence)
	}
	err := order.Next(cseq)
	d.entity[entity] = order
	return err
}
