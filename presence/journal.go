package presence

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/await"
	"github.com/openblustar/blustar/presence/subscription"
)

// journal writes what has changed to the store. It collects changes for as long as
// Config.StoreSync, and writes them in one batch. What changes twice meanwhile is written once.
// Nobody waits for the journal, except with Config.StoreAlways: then a client gets its answer
// after the store has taken what it said. After a failure the journal keeps what the store did
// not take, and tries again.
//
// A server without a store has a nil journal, which takes nothing.
type journal struct {
	pause   time.Duration
	longest time.Duration // between tries of a store that fails
	always  bool
	log     *slog.Logger
	cancel  context.CancelFunc // of a call of the store
	ctx     context.Context

	work     sync.WaitGroup                // the goroutine that writes
	mu       sync.Mutex                    // a leaf
	turns    []*subscription.Dialog        // dialogs with a dirty turn, each once
	wholes   []*subscription.Dialog        // dialogs of which more is dirty, some several times
	dirty    map[ref]struct{}              // the rest
	sessions map[string]auth.SessionRecord // dirty ones, by key
	spare    changes                       // empty, for the next batch
	graves   map[recordKey]time.Time       // deletions that the store did not take, and until when they are kept; zero is for ever
	next     *batch                        // of what is dirty; nil if nothing is
	current  *batch                        // that the store has now; nil for none
	writing  map[ref]struct{}              // what is in it, without dialogs
	underWay int                           // how many records are in it
	begun    bool                          // Restore has read the store
	running  bool
	writer   writer // belongs to run
	closing  bool
	failing  bool
	errors   uint64
}

// batch is one call of the store.
type batch struct {
	now  chan struct{} // closed if somebody waits: then the batch begins at once
	done chan struct{} // closed at the end
	err  error         // valid when done is closed

	// Guarded by journal.mu.
	hurried bool // now is closed
	late    bool // somebody has waited for it in vain
}

// Between tries of a store that fails.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

func newJournal(s *Server) *journal {
	if s.cfg.Store == nil {
		return nil
	}
	j := &journal{
		pause: s.cfg.StoreSync, longest: lastRetry, always: s.cfg.StoreAlways || s.cluster != nil, log: s.cfg.Logger,
		dirty: make(map[ref]struct{}), graves: make(map[recordKey]time.Time),
		sessions: make(map[string]auth.SessionRecord),
		writer:   writer{server: s, store: s.cfg.Store, bundles: bundles{all: make(map[uint64]*bundle)}},
	}
	if s.cluster != nil {
		j.pause, j.longest, j.writer.others = 0, time.Second, s.cluster // other nodes wait for it
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// mark has the record of e written. It does not block.
func (j *journal) mark(e ref) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closing {
		j.dirty[e] = struct{}{}
		j.planLocked()
	}
}

// has reports whether e has changed, and the store does not have that yet.
func (j *journal) has(e ref) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, dirty := j.dirty[e]
	_, writing := j.writing[e]
	return dirty || writing
}

// dialog notes a change of a dialog: of its turn, which has a record of its own, or of the whole,
// the record of which has the turn, too.
func (j *journal) dialog(d *subscription.Dialog, turn, whole bool) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closing {
		return
	}
	if turn {
		j.turns = append(j.turns, d)
	}
	if n := len(j.wholes); whole && (n == 0 || j.wholes[n-1] != d) { // a new dialog is told twice
		j.wholes = append(j.wholes, d)
	}
	j.planLocked()
}

// planLocked plans a batch, unless there is one. j.mu is held.
func (j *journal) planLocked() {
	if j.next != nil || j.dirtyLocked() == 0 || !j.begun {
		return
	}
	j.next = &batch{now: make(chan struct{}), done: make(chan struct{})}
	if !j.running {
		j.running = true
		j.work.Go(j.run)
	}
}

func (j *journal) dirtyLocked() int {
	return len(j.turns) + len(j.wholes) + len(j.dirty) + len(j.graves)
}

// begin lets the journal write.
func (j *journal) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun = true
	j.planLocked()
}

// bury deletes records.
func (j *journal) bury(keys []recordKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, key := range keys {
		j.graves[key] = time.Time{}
	}
}

// ready reports whether the store has been read.
func (j *journal) ready() bool {
	if j == nil {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.begun
}

// wait waits until the store has what has been marked, if answers and NOTIFYs wait for that. The
// error says that the store does not have it. Once a store has kept somebody waiting in vain, the
// next do not wait.
func (j *journal) wait(ctx context.Context) error {
	if j == nil || !j.always {
		return nil
	}
	j.mu.Lock()
	failing := j.failing || j.current != nil && j.current.late
	var b *batch
	if !failing {
		b = j.hurryLocked()
	}
	j.mu.Unlock()
	switch {
	case failing:
		return ErrNotStored
	case b == nil:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		j.mu.Lock()
		if j.current != nil {
			j.current.late = true
		}
		j.mu.Unlock()
		return ErrNotStored
	}
}

// storeTimeout bounds how long one waits for the store.
const storeTimeout = 5 * time.Second

// hurryLocked has what was marked written at once. It returns the last batch, with which all of
// that is written, or nil. j.mu is held.
func (j *journal) hurryLocked() *batch {
	b := cmp.Or(j.next, j.current)
	if b != nil && !b.hurried {
		b.hurried = true
		close(b.now)
	}
	return b
}

// run writes batches while there is something to write.
func (j *journal) run() {
	retry := firstRetry
	for {
		j.mu.Lock()
		b, failing := j.next, j.failing
		j.running = b != nil
		j.mu.Unlock()
		switch {
		case b == nil:
			return
		case failing:
			j.sleep(b, max(j.pause, retry))
			retry = min(2*retry, j.longest)
		default:
			j.sleep(b, j.pause)
		}

		j.mu.Lock()
		c := changes{j.turns, j.wholes, j.dirty, j.graves}
		j.turns, j.wholes, j.dirty, j.graves = j.spare.turns[:0], j.spare.wholes[:0], j.spare.rest, make(map[recordKey]time.Time)
		if j.spare = (changes{}); j.dirty == nil {
			j.dirty = make(map[ref]struct{})
		}
		j.current, j.next, j.writing = b, nil, c.rest
		j.underWay = len(c.turns) + len(c.wholes) + len(c.rest) + len(c.graves)
		j.mu.Unlock()

		left, err := j.writer.write(j.ctx, c)
		if b.err = err; err == nil {
			retry = firstRetry
		}
		j.written(c, left, err)

		size := max(len(c.turns), len(c.wholes), len(c.rest))
		clear(c.turns)
		clear(c.wholes)
		clear(c.rest)
		j.mu.Lock()
		if size < maxSpare {
			j.spare = c
		}
		close(b.done)
		j.current, j.underWay = nil, 0
		if j.planLocked(); j.closing && b.err != nil {
			j.next = nil // close has seen the error
		}
		j.mu.Unlock()
	}
}

// sleep waits before a batch.
func (j *journal) sleep(b *batch, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.now:
	case <-j.ctx.Done():
	}
}

// written notes the outcome of a batch, and keeps what is left of it. It logs that the store begins to
// fail, and that it works again.
func (j *journal) written(c, left changes, err error) {
	j.mu.Lock()
	was, records := j.failing, j.underWay
	if j.failing = err != nil; j.failing {
		j.errors++
		maps.Copy(j.dirty, left.rest)
		maps.Copy(j.graves, left.graves)
		j.wholes = append(j.wholes, left.wholes...)
		slices.SortFunc(j.wholes, func(a, b *subscription.Dialog) int { return cmp.Compare(a.Serial(), b.Serial()) })
		j.wholes = slices.Compact(j.wholes)
	} else if len(j.sessions) > 0 {
		for e := range c.rest {
			if key, ok := e.(sessionRef); ok {
				if _, again := j.dirty[e]; !again {
					delete(j.sessions, string(key))
				}
			}
		}
	}
	j.writing = nil
	j.mu.Unlock()
	if j.writer.others != nil {
		j.writer.others.release(c.rest)
	}
	switch {
	case err != nil && !was:
		j.log.Error("the store fails: what changes is in memory alone until it works again", "records", records, "error", err)
	case err == nil && was:
		j.log.Info("the store works again", "records", records)
	}
}

// flush writes what is left until ctx ends.
func (j *journal) flush(ctx context.Context) error {
	for {
		j.mu.Lock()
		b := j.hurryLocked()
		j.mu.Unlock()
		if b == nil {
			return nil
		}
		select {
		case <-b.done:
			if b.err != nil {
				return b.err
			}
		case <-ctx.Done():
			return errors.Join(ErrNotStored, ctx.Err())
		}
	}
}

// close writes what is left, and ends the journal. It waits until ctx ends. The error says that
// not everything is in the store.
func (j *journal) close(ctx context.Context) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	j.closing = true
	j.mu.Unlock()
	err := j.flush(ctx)
	j.cancel()
	if e := await.Return(ctx, j.work.Wait); err == nil {
		err = e
	}
	return err
}

// stats returns how many records are not in the store yet, how often the store has failed, and
// whether it does now.
func (j *journal) stats() (waiting int, errors uint64, failing bool) {
	if j == nil {
		return 0, 0, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dirtyLocked() + j.underWay, j.errors, j.failing
}
