package presence

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/presence/subscription"
)

// changes are what goes into one batch.
type changes struct {
	turns, wholes []*subscription.Dialog
	rest          map[ref]struct{}
	graves        map[recordKey]time.Time
}

// writer makes records of changes, and gives them to the store. It belongs to the goroutine that writes. Its memory
// is used again for the next batch.
type writer struct {
	server  *Server
	store   Store
	others  others // nil where the store is this server's alone
	bundles bundles

	sheet          sheet
	writes, sorted []Write
	order          []int32
	again          []ref // what is asked for its record again, if the store does not take it
}

// others knows what other nodes have written.
type others interface {
	// claims reports whether this node is to make a write, of which it sets the Revision.
	claims(w *Write) bool
	// wrote notes what is in the store now, or may be there. If a condition did not hold, perhaps because of
	// another write of this node, it reports false.
	wrote(writes []Write, revisions []uint64, of map[recordKey]ref) (sure bool)
	// release tells that the journal has written these, and knows it.
	release(written map[ref]struct{})
}

// errNotSure has a write tried again: perhaps it failed because of another write of this node.
var errNotSure = errors.New("presence: an answer of the store was lost")

// maxSpare is the largest batch, in records, whose memory is used again.
const maxSpare = 1 << 15

// write gives what has changed to the store. It returns what is to be written again after an error.
func (w *writer) write(ctx context.Context, c changes) (left changes, err error) {
	w.sheet.b, w.sheet.cut, w.writes, w.again = w.sheet.b[:0], 0, w.writes[:0], w.again[:0]
	defer w.clear()
	var refs map[recordKey]ref
	if w.others != nil {
		refs = make(map[recordKey]ref, len(c.rest))
	}
	take := func(e ref) {
		record := e.record(w.server, &w.sheet)
		if w.others != nil {
			if !w.others.claims(&record) {
				return
			}
			refs[recordKey{record.Kind, record.Key}] = e
		}
		if w.writes = append(w.writes, record); w.isAsked(&record) {
			w.again = append(w.again, e)
		}
	}
	for e := range c.rest {
		take(e)
	}
	for _, d := range c.wholes {
		take((*dialogRef)(d))
		w.bundles.drop(d)
	}
	bundled, run := w.bundles.count, w.server.run.Load()
	w.writes = w.bundles.write(w.writes, c.turns, run, &w.sheet) // but for those that are in a whole record
	for key := range c.graves {
		w.writes = append(w.writes, Write{Kind: key.kind, Key: key.key})
	}
	writes := w.bundles.deletions(w.inOrder())
	var revisions []uint64
	if len(writes) > 0 { // nobody would try an empty batch again
		revisions, err = w.store.Apply(ctx, writes)
	}
	if err != nil {
		revisions = nil
	}
	if w.others != nil && !w.others.wrote(writes, revisions, refs) {
		err = errNotSure
	}
	if err == nil {
		return changes{}, nil
	}
	left = changes{rest: make(map[ref]struct{}), graves: make(map[recordKey]time.Time)}
	for _, e := range w.again {
		if d, ok := e.(*dialogRef); ok {
			left.wholes = append(left.wholes, (*subscription.Dialog)(d))
		} else {
			left.rest[e] = struct{}{}
		}
	}
	left.wholes = w.bundles.since(bundled, run, left.wholes)
	now := time.Now()
	for i := range writes {
		key := recordKey{writes[i].Kind, writes[i].Key}
		until, again := c.graves[key]
		switch {
		case w.isAsked(&writes[i]), again && !until.IsZero() && now.After(until):
		case again:
			left.graves[key] = until
		case slices.Contains(fadingKinds, key.kind): // it need not be kept for longer than the record would have lived
			left.graves[key] = now.Add(max(w.server.cfg.MaxSubscribeExpires, w.server.cfg.MaxPublishExpires))
		default:
			left.graves[key] = time.Time{}
		}
	}
	return left, err
}

// isAsked reports whether, after a failure, the ref of a write is asked for its record again.
// Other deletions are tried again as they are. With several nodes that must not be: another node
// may write the record meanwhile.
func (w *writer) isAsked(record *Write) bool {
	return record.Value != nil || record.Conditional || w.others != nil && slices.Contains(sharedKinds, record.Kind)
}

// inOrder sorts the writes by kind and key, so that neighbors in the store are written together.
// Of several writes of one record it keeps the last one that is not a deletion: the record was
// deleted before it was written anew.
func (w *writer) inOrder() []Write {
	writes, order := w.writes, w.order[:0] // numbers are quicker to sort
	for i := range writes {
		order = append(order, int32(i))
	}
	compare := func(i, j int32) int {
		return cmp.Or(strings.Compare(writes[i].Kind, writes[j].Kind), strings.Compare(writes[i].Key, writes[j].Key))
	}
	slices.SortFunc(order, func(i, j int32) int {
		if c := compare(i, j); c != 0 {
			return c
		}
		switch deletes := writes[i].Value == nil; {
		case deletes == (writes[j].Value == nil):
			return cmp.Compare(i, j)
		case deletes:
			return -1
		}
		return 1
	})
	sorted := w.sorted[:0]
	for n, i := range order {
		if n+1 == len(order) || compare(i, order[n+1]) != 0 {
			sorted = append(sorted, writes[i])
		}
	}
	w.order, w.sorted = order, sorted
	return sorted
}

// clear forgets the batch.
func (w *writer) clear() {
	if len(w.writes) > maxSpare {
		*w = writer{server: w.server, store: w.store, others: w.others, bundles: w.bundles}
		return
	}
	clear(w.writes)
	clear(w.sorted)
	clear(w.again)
}
