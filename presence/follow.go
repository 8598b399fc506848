package presence

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// join reads the store, and follows it from then on.
func (c *cluster) join(ctx context.Context) error {
	s := c.server
	if guard, ok := s.cfg.Guard.(sharingGuard); ok {
		run := guard.Join(c)
		s.start(func() { run(s.ctx) })
	}
	after, err := c.load(ctx)
	if err != nil {
		return fmt.Errorf("presence: restore: %w", err)
	}
	s.journal.begin()
	c.store.Answer(c.answer)
	s.start(func() { c.follow(after) })
	return nil
}

// load reads what all nodes have written. Watch tells what is written after the revision that
// load returns.
func (c *cluster) load(ctx context.Context) (after uint64, err error) {
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	began := time.Now()
	in := inventory{server: c.server}
	if err := c.begin(ctx, &in); err != nil {
		return 0, err
	}
	c.applying.Lock()
	c.changed = make(map[*presentity]struct{})
	c.applying.Unlock()
	defer c.show(ctx, began, &err)
	there := make(map[recordKey]struct{})
	if err := c.server.cfg.Store.Load(ctx, func(r Record) error {
		if slices.Contains(sharedKinds, r.Kind) {
			there[recordKey{r.Kind, r.Key}] = struct{}{}
			r.Value = bytes.Clone(r.Value)
			c.apply(r)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	var gone []Record
	c.mu.Lock()
	for key, r := range c.records {
		if _, is := there[key]; is || r.gone || r.revision >= in.revision {
			continue
		}
		if c.holderLocked(r.node) != c.node || !expired(r.expires) { // else this node is about to delete it
			gone = append(gone, Record{Kind: key.kind, Key: key.key, Revision: in.revision})
		}
	}
	c.mu.Unlock()
	for _, r := range gone {
		c.apply(r)
	}
	return in.revision, nil
}

// show composes the users who have changed while the store was read. After that this node may
// speak.
func (c *cluster) show(ctx context.Context, began time.Time, err *error) {
	c.applying.Lock()
	changed := c.changed
	c.changed = nil
	c.applying.Unlock()
	for p := range changed {
		done := make(chan struct{})
		p.renewThen(true, func() {
			p.mayBeIdle()
			close(done)
		})
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
	if *err == nil {
		c.mu.Lock()
		c.read = began
		c.mu.Unlock()
	}
}

// aliveTick is how often a silent node looks whether it has its place again.
const aliveTick = 100 * time.Millisecond

// follow applies what other nodes write from now on.
func (c *cluster) follow(after uint64) {
	pause := backoff.Backoff{Max: 5 * time.Second}
	again := false
	for c.server.ctx.Err() == nil {
		if again {
			for !c.store.AliveSince(time.Now()) { // it cannot be read
				if backoff.Sleep(c.server.ctx, aliveTick) != nil {
					return
				}
			}
			now, err := c.load(c.server.ctx)
			if err != nil {
				if backoff.Sleep(c.server.ctx, pause.Next()) != nil {
					return
				}
				continue
			}
			after = now
		}
		again = true
		ctx, cancel := context.WithCancel(c.server.ctx)
		c.mu.Lock()
		c.reread = cancel
		c.mu.Unlock()
		err := c.store.Watch(ctx, after, sharedKinds, func(r Record) {
			c.apply(r)
			pause.Reset()
		})
		cancel()
		if err != nil && c.server.ctx.Err() == nil {
			c.server.cfg.Logger.Warn("what other nodes write is read again", "error", err)
		}
		if backoff.Sleep(c.server.ctx, pause.Next()) != nil {
			return
		}
	}
}
