package presence

import (
	"maps"
	"slices"

	"github.com/openblustar/blustar/presence/subscription"
)

// bundles are the records of turns: those of dialogs that change together are one record. Of
// what tells the turn of a dialog, its own record included, the newest counts. A bundle of
// which nothing counts any more is deleted.
//
// They belong to the goroutine that writes.
type bundles struct {
	all        map[uint64]*bundle // by number
	order      []uint64           // the numbers, the oldest first; some are gone
	count      uint32             // those that this process has made
	live, dead int                // turns that count, and others
	empty      []uint64           // bundles to be deleted
}

// bundle is the record of several turns.
type bundle struct {
	turns []*subscription.Dialog // nil is one that does not count any more
	live  int
}

const (
	fullBundle = 8 << 10 // bytes, after which the next one is begun
	spareTurns = 1 << 10 // how many of those that do not count are not looked at
)

// write appends the records of the turns that have changed. Where most turns do not count any
// more, those that do are moved out of the oldest bundles.
func (bs *bundles) write(writes []Write, changed []*subscription.Dialog, run uint32, on *sheet) []Write {
	var current *bundle
	var number uint64
	end := func() {
		if current != nil {
			writes = append(writes, Write{Kind: kindTurn, Key: serialKey(number), Value: on.record()})
		}
		current = nil
	}
	r := turnRecord{Turn: on.dialog.Turn, run: run}
	add := func(d *subscription.Dialog, again bool) {
		if !d.Turn(&r.Turn, again) {
			return
		}
		if current == nil {
			bs.count++
			number, current = uint64(run)<<32|uint64(bs.count), &bundle{}
			bs.all[number], bs.order = current, append(bs.order, number)
		}
		serial := d.Serial()
		on.uint(&serial)
		r.fields(&on.flat)
		bs.drop(d)
		d.Place = number
		current.turns = append(current.turns, d)
		current.live++
		bs.live++
		if len(on.b)-on.cut >= fullBundle {
			end()
		}
	}
	for _, d := range changed {
		add(d, false)
	}
	// Those that have ended meanwhile stay where they are until they are dropped.
	for moved := 0; len(bs.order) > 0 && bs.dead > bs.live+spareTurns && moved <= len(changed); {
		oldest := bs.all[bs.order[0]]
		if bs.order = bs.order[1:]; oldest == nil {
			continue
		}
		for _, d := range oldest.turns {
			if d != nil {
				add(d, true)
				moved++
			}
		}
	}
	end()
	on.dialog.Turn = r.Turn
	return writes
}

// drop notes that the turn of d is written elsewhere, or nowhere.
func (bs *bundles) drop(d *subscription.Dialog) {
	b := bs.all[d.Place]
	if b == nil {
		return
	}
	b.turns[slices.Index(b.turns, d)] = nil
	b.live--
	bs.live--
	bs.dead++
	if b.live == 0 {
		bs.dead -= len(b.turns)
		bs.empty = append(bs.empty, d.Place)
		delete(bs.all, d.Place)
	}
	d.Place = 0
}

// deletions appends those of bundles of which nothing counts any more: after what counts
// instead.
func (bs *bundles) deletions(writes []Write) []Write {
	for _, number := range bs.empty {
		writes = append(writes, Write{Kind: kindTurn, Key: serialKey(number)})
	}
	bs.empty = bs.empty[:0]
	return writes
}

// since appends the dialogs whose turns are in bundles that were made after so many.
func (bs *bundles) since(count, run uint32, list []*subscription.Dialog) []*subscription.Dialog {
	for n := count + 1; n <= bs.count; n++ {
		if b := bs.all[uint64(run)<<32|uint64(n)]; b != nil {
			list = append(list, slices.DeleteFunc(slices.Clone(b.turns), func(d *subscription.Dialog) bool { return d == nil })...)
		}
	}
	return list
}

// restore takes over what a former process has written: bundles of so many turns, and the dialogs that
// are in them. It returns the bundles of which nothing counts.
func (bs *bundles) restore(sizes map[uint64]int, dialogs []*subscription.Dialog, bundleOf func(*subscription.Dialog) uint64) (empty []recordKey) {
	for number, n := range sizes {
		bs.all[number] = &bundle{turns: make([]*subscription.Dialog, 0, n)}
	}
	for _, d := range dialogs {
		number := bundleOf(d)
		if b := bs.all[number]; b != nil {
			b.turns = append(b.turns, d)
			d.Place = number
		}
	}
	for _, number := range slices.Sorted(maps.Keys(sizes)) {
		b, n := bs.all[number], sizes[number]
		if b.live = len(b.turns); b.live == 0 {
			delete(bs.all, number)
			empty = append(empty, recordKey{kindTurn, serialKey(number)})
			continue
		}
		b.turns = append(b.turns, make([]*subscription.Dialog, n-b.live)...)
		bs.order = append(bs.order, number)
		bs.live += b.live
		bs.dead += n - b.live
	}
	return empty
}
