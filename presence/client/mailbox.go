package client

import (
	"context"
	"iter"
	"sync"
)

// A mailbox keeps the newest notification of each entity until someone takes it.
// There are as many at most as there are entities and subscriptions.
type mailbox struct {
	mu      sync.Mutex
	order   []letter                // whose turn it is, in order of arrival
	newest  map[letter]Notification // what waits
	ready   chan struct{}           // holds one token while something waits
	closing chan struct{}           // closed with closed
	closed  bool
}

// A letter is what a newer notification takes the place of an older one by. The
// end of a subscription does not take the place of the last state.
type letter struct {
	entity   string
	own, end bool
}

// maxLetters bounds the mailbox where a server makes entities up over many
// subscriptions; beyond, the oldest goes.
const maxLetters = maxAddresses + 100

func newMailbox() *mailbox {
	return &mailbox{
		newest:  make(map[letter]Notification),
		ready:   make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
}

func (m *mailbox) put(n Notification) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	l := letter{normal(n.Entity), n.Own, n.State == Terminated}
	if _, waits := m.newest[l]; !waits {
		if len(m.order) == maxLetters {
			delete(m.newest, m.order[0])
			m.order = m.order[1:]
		}
		m.order = append(m.order, l)
	}
	m.newest[l] = n
	m.signal()
}

func (m *mailbox) take() (Notification, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.order) == 0 {
		return Notification{}, false
	}
	l := m.order[0]
	m.order = m.order[1:]
	n := m.newest[l]
	delete(m.newest, l)
	if len(m.order) > 0 {
		m.signal()
	}
	return n, true
}

func (m *mailbox) signal() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.closing)
	}
}

// Notifications iterates over what the server tells, from when it came, until
// ctx ends, or the client does and all was taken. Where the loop is slower than
// the server, a newer notification of an entity takes the place of the one that
// waits: states in between are left out, the newest never is. Several loops share
// the notifications between them.
//
// It has nothing where Config.Notify is set.
func (c *Client) Notifications(ctx context.Context) iter.Seq[Notification] {
	m := c.notifications
	return func(yield func(Notification) bool) {
		for ctx.Err() == nil {
			if n, ok := m.take(); ok {
				if !yield(n) {
					return
				}
				continue
			}
			select {
			case <-m.ready:
			case <-ctx.Done():
			case <-m.closing:
				if n, ok := m.take(); ok && !yield(n) || !ok {
					return
				}
			}
		}
	}
}

// deliver hands a notification to the host.
func (c *Client) deliver(n Notification) {
	if c.cfg.Notify != nil {
		c.cfg.Notify(n)
		return
	}
	c.notifications.put(n)
}
