package ews

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// maxGroup is how many mailboxes can share a stream.
const maxGroup = 200

// hub tells the monitors of mailboxes that something has changed. It groups them:
// each group has one stream, and one goroutine that ends with its last member. It
// is safe for concurrent use.
type hub struct {
	cfg *Config
	log *slog.Logger

	mu     sync.Mutex // guards groups, and what of group and member says so
	groups []*group
}

// member is a mailbox in a group.
type member struct {
	mail  string
	group *group
	wake  chan struct{} // gets an element when the mailbox is to be asked

	// Guarded by hub.mu.
	live  bool        // the stream tells of changes
	fresh bool        // and the calendar was read since, and nothing has changed since
	asked time.Time   // when it was last read
	timer *time.Timer // that wakes the mailbox; nil: none
	wakes time.Time

	// For the goroutine of the group.
	subscription string // "": none
	made         time.Time
	retry        time.Time // no subscription before
	pause        backoff.Backoff
}

const (
	// afterEvent is how long a mailbox waits after an event before it is asked: what
	// belongs to one change comes in several.
	afterEvent = 500 * time.Millisecond
	// betweenEvents is how long it waits from one such question to the next. One
	// change by a user makes events for some seconds; and what changes next is to be
	// shown within two.
	betweenEvents = 1500 * time.Millisecond
)

// join puts a mailbox into a group of its server. nil: there are as many streams
// as there may be.
func (h *hub) join(s *server, grouping, mail string, wake chan struct{}) *member {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.groups, func(g *group) bool {
		return g.server == s && g.grouping == grouping && len(g.members)+len(g.left) < h.cfg.Limits.Group
	})
	if i < 0 {
		if len(h.groups) >= h.cfg.Limits.Streams {
			return nil
		}
		i = len(h.groups)
		h.groups = append(h.groups, newGroup(h, s, grouping))
	}
	g := h.groups[i]
	m := &member{mail: mail, group: g, wake: wake, pause: backoff.Backoff{First: time.Minute, Max: time.Hour}}
	g.members = append(g.members, m)
	signal(g.changed)
	return m
}

// leave takes the mailbox out of its group. The last one waits for the end of the
// group.
func (m *member) leave() {
	g, h := m.group, m.group.hub
	h.mu.Lock()
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	g.left = append(g.left, m)
	m.live = false
	if m.timer != nil {
		m.timer.Stop()
	}
	last := len(g.members) == 0
	if last {
		h.groups = slices.DeleteFunc(h.groups, func(o *group) bool { return o == g })
	}
	h.mu.Unlock()
	if last {
		g.cancel()
		<-g.done
	}
}

// unchanged reports whether the calendar is as it was when it was last read.
func (m *member) unchanged() bool {
	m.group.hub.mu.Lock()
	defer m.group.hub.mu.Unlock()
	return m.live && m.fresh
}

// asking notes that the calendar is about to be read.
func (m *member) asking() {
	m.group.hub.mu.Lock()
	defer m.group.hub.mu.Unlock()
	m.asked, m.fresh = time.Now(), m.live
}

// failed notes that it was not read.
func (m *member) failed() {
	m.group.hub.mu.Lock()
	defer m.group.hub.mu.Unlock()
	m.fresh = false
}

// changed notes that the calendar may have changed, and has the mailbox woken
// after a while. hub.mu is held.
func (m *member) changed(after time.Duration) {
	m.fresh = false
	at := time.Now().Add(after)
	switch {
	case m.timer == nil:
		m.timer = time.AfterFunc(after, func() {
			m.group.hub.mu.Lock()
			m.timer = nil
			m.group.hub.mu.Unlock()
			signal(m.wake)
		})
	case at.Before(m.wakes):
		m.timer.Reset(after)
	default:
		return
	}
	m.wakes = at
}

// signal puts an element into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// newGroup returns a group, and starts its goroutine.
func newGroup(h *hub, s *server, grouping string) *group {
	ctx, cancel := context.WithCancel(context.Background())
	g := &group{
		hub: h, server: s, grouping: grouping, cancel: cancel, affinity: new(affinity),
		changed: make(chan struct{}, 1), done: make(chan struct{}), log: h.log.With("server", plain(s.url)),
	}
	go g.run(ctx)
	return g
}
