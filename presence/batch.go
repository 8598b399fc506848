package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/presence/subscription"
)

// room is memory for one batch. It is used again for the next.
type room struct {
	values         flat
	writes, sorted []Write
	order          []int32
	written        []ref
}

// maxSpare is the largest batch, in records, whose memory is used again.
const maxSpare = 1 << 15

// write gives what has changed to the store. What the store does not take is kept.
func (j *journal) write(c changes) error {
	r := &j.room
	r.values.b, r.values.cut = r.values.b[:0], 0
	writes, left := r.writes[:0], r.written[:0]
	shared := j.server.cluster
	var refs map[recordKey]ref
	if shared != nil {
		refs = make(map[recordKey]ref, len(c.rest))
	}
	take := func(e ref) {
		w := e.record(j.server, &r.values)
		if shared != nil {
			if !shared.claims(&w) {
				return
			}
			refs[recordKey{w.Kind, w.Key}] = e
		}
		if writes = append(writes, w); j.again(&w) {
			left = append(left, e)
		}
	}
	for e := range c.rest {
		take(e)
	}
	for _, d := range c.wholes {
		take((*dialogRef)(d))
		j.bundles.drop(d)
	}
	bundled, run := j.bundles.count, j.server.run.Load()
	writes = j.bundles.write(writes, c.turns, run, &r.values) // but for those that are in a whole record
	for key := range c.graves {
		writes = append(writes, Write{Kind: key.kind, Key: key.key})
	}
	r.writes, r.written = writes, left
	writes = j.bundles.deletions(r.inOrder())
	var revisions []uint64
	var err error
	if len(writes) > 0 { // nobody would try an empty batch again
		revisions, err = j.store.Apply(j.ctx, writes)
	}
	defer r.clear()
	if shared != nil {
		if err != nil {
			revisions = nil
		}
		if !shared.wrote(writes, revisions, refs) {
			err = errNotSure
		}
		defer shared.release(c.rest) // once j.writing says so
	}
	j.note(err, len(writes))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writing = nil
	if err == nil {
		for e := range c.rest {
			if key, ok := e.(sessionRef); ok {
				if _, again := j.dirty[e]; !again {
					delete(j.sessions, string(key))
				}
			}
		}
		return nil
	}
	for _, e := range left {
		if d, ok := e.(*dialogRef); ok {
			j.wholes = append(j.wholes, (*subscription.Dialog)(d))
		} else {
			j.dirty[e] = struct{}{}
		}
	}
	j.wholes = j.bundles.since(bundled, run, j.wholes)
	slices.SortFunc(j.wholes, func(a, b *subscription.Dialog) int { return cmp.Compare(a.Serial(), b.Serial()) })
	j.wholes = slices.Compact(j.wholes)
	now := time.Now()
	for i := range writes {
		key := recordKey{writes[i].Kind, writes[i].Key}
		until, again := c.graves[key]
		switch {
		case j.again(&writes[i]), again && !until.IsZero() && now.After(until):
		case again:
			j.graves[key] = until
		case slices.Contains(fadingKinds, key.kind): // it need not be kept for longer than the record would have lived
			j.graves[key] = now.Add(max(j.server.cfg.MaxSubscribeExpires, j.server.cfg.MaxPublishExpires))
		default:
			j.graves[key] = time.Time{}
		}
	}
	return err
}

// again reports whether, after a failure, the ref of a write is asked for its record again.
// Other deletions are tried again as they are. With several nodes that must not be: another node
// may write the record meanwhile.
func (j *journal) again(w *Write) bool {
	return w.Value != nil || w.Conditional || j.server.cluster != nil && slices.Contains(sharedKinds, w.Kind)
}

// inOrder sorts the writes by kind and key, so that neighbors in the store are written together.
// Of several writes of one record it keeps the last one that is not a deletion: the record was
// deleted before it was written anew.
func (r *room) inOrder() []Write {
	writes, order := r.writes, r.order[:0] // numbers are quicker to sort
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
	sorted := r.sorted[:0]
	for n, i := range order {
		if n+1 == len(order) || compare(i, order[n+1]) != 0 {
			sorted = append(sorted, writes[i])
		}
	}
	r.order, r.sorted = order, sorted
	return sorted
}

// clear forgets the batch.
func (r *room) clear() {
	if len(r.writes) > maxSpare {
		*r = room{}
		return
	}
	clear(r.writes)
	clear(r.sorted)
	clear(r.written)
}
