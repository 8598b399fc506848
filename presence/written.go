package presence

import (
	"crypto/sha256"
	"slices"
	"time"
	"unique"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
)

// record implements [ref]. Publications lie in the order of their age: those that were made
// together are refreshed together.
func (e publicationRef) record(s *Server, on *sheet) Write {
	w := Write{Kind: kindPublication, Key: serialKey(e.number), Conditional: s.cluster != nil} // another node may have refreshed it
	for _, c := range s.publications.Of(e.presentity) {
		if c.Number != e.number {
			continue
		}
		r := publicationRecord{*c, on.clients[:0]}
		if c.Rule == publication.Shared {
			r.clients = s.clients.publishers(r.clients, e.presentity)
		}
		on.clients = r.clients
		r.Expires = deadline.Wall(c.Expires)
		r.fields(&on.flat)
		w.Value = on.record()
		w.Conditional = s.cluster != nil && c.Rule == publication.Separate // one wins with an entity-tag
		if c.Rule != publication.Forwarding {                              // the controller has to be told of its end
			w.Expires = r.Expires
		}
	}
	return w
}

// record implements [ref]. Clients that have signed in together lie together.
func (e clientRef) record(s *Server, on *sheet) Write {
	sum := sha256.Sum256([]byte(e.key)) // of any length
	w := Write{Kind: kindClient, Key: serialKey(uint64(e.since)) + string(sum[:8])}
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	switch c := s.clients.m[e.key]; {
	case c == nil || c.since != e.since:
	case c.node != "":
		return Write{} // it is that node's to write
	default:
		r := clientRecord{
			c.key, c.user, c.identity(), c.amcc, c.userAgent.Value(), time.Unix(0, c.since), c.publishedUntil(),
			c.services, c.out, c.spoken, c.generation,
		}
		r.fields(&on.flat)
		w.Value = on.record()
	}
	return w
}

func (r *clientRecord) client() *client {
	c := &client{
		key: r.key, user: r.user, amcc: r.amcc, userAgent: unique.Make(r.userAgent), since: r.since.UnixNano(),
		services: r.services, out: r.out, spoken: r.spoken, generation: r.generation,
	}
	if !r.id.IsZero() {
		c.id = &r.id
	}
	if !r.published.IsZero() {
		c.published = deadline.At(r.published)
	}
	return c
}

func (e *dialogRef) record(s *Server, on *sheet) Write {
	d := (*subscription.Dialog)(e)
	w := Write{Kind: kindDialog, Key: serialKey(d.Serial())}
	r := &on.dialog
	if !d.Record(&r.Record) {
		return w
	}
	r.dialect, r.client, r.own, r.judged, r.generation, r.run = dialectOfDialog(d).Name, "", false, false, 0, s.run.Load()
	if m, ok := d.Data.(*member); ok && m.client != nil {
		s.clients.mu.Lock()
		r.client, r.own, r.judged, r.generation = m.client.key, m.own, m.judged, m.generation
		s.clients.mu.Unlock()
	}
	r.fields(&on.flat)
	w.Value = on.record()
	return w
}

// record implements [ref]. Of several nodes the one that runs the monitor writes its value, and
// deletes it when it fades.
func (e sourceRef) record(s *Server, _ *sheet) Write {
	w := Write{Kind: e.kind, Key: e.key}
	t := s.sources[e.kind]
	said := t.Said(e.key)
	var owner source.Owner
	w.Value, w.Expires, owner = t.record(e.key)
	if s.cluster != nil && owner == source.Monitored {
		if !said {
			return Write{}
		}
		w.Expires = time.Time{} // the node that runs the monitor sees to that
	}
	return w
}

// KeepSession writes a session of the guard, or its end, to the store. It is for
// [auth.Config.KeepSession]. [Server.Restore] gives the sessions back to a Guard that has
// RestoreSession, as [*auth.Guard] does. Without a store KeepSession does nothing. It does not
// block, and is safe for concurrent use.
func (s *Server) KeepSession(r auth.SessionRecord) {
	if s.journal == nil {
		return
	}
	s.journal.mu.Lock()
	s.journal.sessions[r.Key] = r
	s.journal.mu.Unlock()
	s.journal.mark(sessionRef(r.Key))
}

func (e sessionRef) record(s *Server, _ *sheet) Write {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	r := s.journal.sessions[string(e)]
	w := Write{Kind: kindSession, Key: string(e)}
	if !r.Expires.IsZero() {
		w.Value, w.Expires = r.Value, r.Expires
	}
	return w
}

func (countRef) record(*Server, *sheet) Write { return Write{} }

// record implements [ref].
func (e askedRef) record(s *Server, _ *sheet) Write {
	sum := sha256.Sum256([]byte(e.source.kind + " " + e.source.key)) // of any length
	w := Write{Kind: kindAsked, Key: e.node + string(sum[:16])}
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.node == c.node && slices.Contains(c.asked[e.source], c.node) {
		w.Value = asJSON(askedRecord{e.source.kind, e.source.key})
	}
	return w
}
