package presence

import (
	"log/slog"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/presence/subscription"
)

// end ends a client and returns its dialogs and its user. With the last client of a user
// the shared publication ends.
func (cs *clients) end(c *client) (dialogs []*member, user string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.ended {
		return nil, ""
	}
	c.ended = true
	if c.expiry != nil {
		cs.server.deadlines.Remove(&c.expiry.Item)
	}
	dialogs, c.dialogs = c.dialogs, nil
	if cs.m[c.key] == c {
		delete(cs.m, c.key)
		if c.node == "" {
			cs.mark(c)
		}
	}
	if c.user == "" {
		return dialogs, ""
	}
	cs.leaveUserLocked(c)
	if u := cs.users[c.user]; len(u.live) == 0 {
		u.left = time.Now()
		cs.server.publications.Abandon(c.user)
	}
	return dialogs, c.user
}

// departure is a client that has ended, of which nobody has been told yet.
type departure struct {
	server *Server
	user   string // "" if it was not known
	closed []*subscription.Dialog
}

// takeOut ends a client and its dialogs (§2.2, §2.3). with is a dialog that has been closed
// already, or nil.
func (s *Server) takeOut(c *client, why string, with *subscription.Dialog) departure {
	members, user := s.clients.end(c)
	gone := departure{server: s, user: user}
	if with != nil {
		gone.closed = append(gone.closed, with)
	}
	for _, m := range members {
		if m.dialog.Close(subscription.ReasonTimeout) {
			gone.closed = append(gone.closed, m.dialog)
		}
	}
	if user == "" {
		return gone
	}
	s.cfg.Logger.LogAttrs(s.ctx, slog.LevelInfo, "client ended", slog.String("user", user), slog.String("contact", c.key.contact()), slog.String("why", why))
	return gone
}

// announce notifies the watchers of the user, and then sends the last NOTIFYs of the
// client. With later a goroutine of its own does so: the rules of a host may take their
// time.
func (g departure) announce(later bool) {
	farewell := func() {
		for _, d := range g.closed {
			d.Farewell()
		}
	}
	p := g.server.presentities.find(g.user)
	if p == nil {
		farewell()
		return
	}
	p.renewThen(later, func() {
		farewell()
		p.mayBeIdle()
	})
}

// dialogEnded ends the client of a dialog that has ended by itself, if that was its last
// own subscription, or the client answers nothing (§2.3).
func (s *Server) dialogEnded(e subscription.Ending) {
	why := e.Cause.String()
	if e.Detail != "" {
		why += ": " + e.Detail
	}
	c := s.clients.leave(e.Dialog)
	if m, ok := e.Dialog.Data.(*member); ok && c == nil && e.Cause == subscription.Silent {
		c = s.clients.current(m)
	}
	if c != nil {
		s.takeOut(c, why, e.Dialog).announce(true)
		return
	}
	e.Dialog.Farewell()
}

// current returns the client of a dialog, unless it has started again since, has ended, or
// belongs to another node.
func (cs *clients) current(m *member) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if m.client != nil && !m.client.ended && m.client.node == "" && m.generation == m.client.generation {
		return m.client
	}
	return nil
}

// Expired implements [deadline.Expirer]. A client without an own subscription ends.
func (e *clientExpiry) Expired() {
	c, cs := e.client, &e.server.clients
	cs.mu.Lock()
	over := !c.ended && c.published != 0 && c.published <= deadline.Now()
	if over {
		c.published = 0
		cs.mark(c)
		over = !c.hasOwn()
	}
	cs.mu.Unlock()
	if over {
		e.server.takeOut(c, "its publication expired", nil).announce(true)
	}
}

// undo has a PUBLISH not have been, where the store did not take it.
func (s *Server) undo(done *clientPublish) {
	s.publications.Revert(done.now, done.before)
	if done.began {
		s.takeOut(done.client, "its publication could not be stored", nil).announce(false)
		return
	}
	cs, c := &s.clients, done.client
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if !c.ended {
		c.services, c.out, c.spoken = done.services, done.out, done.spoken
		cs.users[c.user].changed()
		if c.published = done.until; c.published == 0 {
			s.deadlines.Remove(&c.expiry.Item)
		} else {
			cs.expireLocked(c, deadline.Time(done.until))
		}
		cs.mark(c)
	}
}
