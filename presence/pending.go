package presence

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/presence/subscription"
)

// pending is an address without an entry: the directory has none, or did not answer.
// Its watchers are shown the "unknown" document (§2.1). A directory that did not answer is
// asked again and again. When it has an entry, the watches move to the presentity. pending
// implements [subscription.Resource].
type pending struct {
	server  *Server
	key     string            // the address as text
	address directory.Address // zero where key is no address

	// Guarded by pendings.mu.
	watches []*subscription.Watch
	asking  bool          // the directory has not answered yet
	moving  chan struct{} // closed when resolve has moved the watches; nil while it does not run
	waiting bool          // for retry, or for its look-up
	pause   backoff.Backoff
	retry   deadline.Item
}

// pendings has the pending addresses that somebody watches.
type pendings struct {
	server *Server
	mu     sync.Mutex
	m      map[string]*pending
}

// get finds or makes a pending address. With asking the directory is asked again.
func (ps *pendings) get(key string, a directory.Address, asking bool) *pending {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.m[key]
	if p == nil {
		p = &pending{server: ps.server, key: key, address: a, pause: backoff.Backoff{First: ps.server.cfg.LookupRetry, Max: 60 * ps.server.cfg.LookupRetry}}
		ps.m[key] = p // until tidy, if nobody comes to watch it
	}
	p.asking = p.asking || asking
	if p.asking && len(p.watches) > 0 {
		p.askLater()
	}
	return p
}

// tidy forgets a pending address that nobody watches.
func (ps *pendings) tidy(p *pending) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(p.watches) == 0 && ps.m[p.key] == p {
		delete(ps.m, p.key)
	}
}

// Current implements [subscription.Resource].
func (p *pending) Current() subscription.State { return p.server.unknown }

// Joined implements [subscription.Resource].
func (p *pending) Joined(w *subscription.Watch, _ subscription.View) {
	ps := &p.server.pendings
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.watches = append(p.watches, w)
	if len(p.watches) == 1 {
		ps.m[p.key] = p
	}
	if p.asking {
		p.askLater()
	}
}

// Left implements [subscription.Resource].
func (p *pending) Left(w *subscription.Watch, _ subscription.View) {
	ps := &p.server.pendings
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.watches = slices.DeleteFunc(p.watches, func(o *subscription.Watch) bool { return o == w })
	if len(p.watches) == 0 && ps.m[p.key] == p {
		delete(ps.m, p.key)
		p.server.deadlines.Remove(&p.retry)
		p.waiting = false
	}
}

// askLater has the directory asked again after a pause. pendings.mu is held.
func (p *pending) askLater() {
	if !p.waiting {
		p.waiting = true
		p.server.deadlines.Set(&p.retry, p, time.Now().Add(p.pause.Next()))
	}
}

// Expired implements [deadline.Expirer].
func (p *pending) Expired() { p.server.start(p.ask) }

func (p *pending) ask() {
	s := p.server
	result := s.lookups.one(s.ctx, party{}, p.address)
	if result.Err == nil {
		s.resolve(p, result.Entry)
		return
	}
	s.pendings.mu.Lock()
	defer s.pendings.mu.Unlock()
	p.waiting = false
	if p.asking = !isNobody(result.Err); p.asking && len(p.watches) > 0 {
		p.askLater()
	}
}

// resolve moves all watches of an address to the presentity of its entry, in the order in
// which they came: the newest subscription of a client tells whether it has started again.
// A second call for the address waits for the first, and does nothing.
func (s *Server) resolve(from *pending, entry directory.Entry) {
	s.pendings.mu.Lock()
	moving := from.moving
	if moving == nil {
		from.moving = make(chan struct{})
	}
	s.pendings.mu.Unlock()
	if moving != nil {
		<-moving
		return
	}
	to := s.presentities.pin(&entry)
	defer s.presentities.unpin(to)
	for {
		s.pendings.mu.Lock()
		watches := slices.Clone(from.watches) // and those that come meanwhile
		if len(watches) == 0 {
			close(from.moving)
			from.moving = nil
		}
		s.pendings.mu.Unlock()
		if len(watches) == 0 {
			return
		}
		senders := s.senders(watches, from, &entry)
		for i, w := range watches {
			version := s.policies.Load()
			s.move(w, from, to, &entry, senders[i])
			if s.policies.Load() != version {
				changed, _ := s.judge(s.ctx, w.Dialog(), s.watcherOf(s.ctx, w.Dialog(), senders[i]))
				w.Dialog().Show(changed...)
			}
		}
	}
}

// resumes reports whether a former process has shown the presentity to the watcher.
func (s *Server) resumes(w *subscription.Watch) bool {
	digest := w.Resumed()
	return digest != 0 && digest != s.unknown.Digest(w.View())
}

// senders returns the entries of the watchers' addresses. A watcher may have an address of entry
// itself. For the others it asks the directory, if that tells whether they are who they say, or
// whose client it is. If a pending address has an entry now, that is resolved, too.
func (s *Server) senders(watches []*subscription.Watch, from *pending, entry *directory.Entry) []directory.Result {
	results := make([]directory.Result, len(watches))
	var ask []directory.Address
	var places []int
	for i, w := range watches {
		results[i].Err = directory.ErrNotFound
		d := w.Dialog()
		_, ofClient := d.Data.(*member)
		switch a, err := directory.ParseAddress(bareURI(d.Watcher())); {
		case err != nil, s.cfg.Policy == nil && s.resumes(w):
		case isAddressOf(a, entry):
			results[i] = directory.Result{Entry: *entry}
		case ofClient, d.Account() != "", s.cfg.Policy != nil:
			ask, places = append(ask, a), append(places, i)
		}
	}
	if len(ask) == 0 {
		return results
	}
	for i, r := range s.lookups.all(s.ctx, party{}, ask) {
		results[places[i]] = r
		s.pendings.mu.Lock()
		other := s.pendings.m[ask[i].String()]
		s.pendings.mu.Unlock()
		if r.Err == nil && other != nil && other != from {
			s.start(func() { s.resolve(other, r.Entry) })
		}
	}
	return results
}

func isAddressOf(a directory.Address, entry *directory.Entry) bool {
	of := entry.SIP
	if a.Scheme == "tel" {
		of = entry.Tel
	}
	return slices.ContainsFunc(of, func(value string) bool { return strings.EqualFold(value, a.Value) })
}

// move moves a watch to the presentity of its address. sender is what the directory says of the watcher's
// address. A watch that a former process has shown the presentity is not judged again. Else move ends the
// dialog of a watcher who has claimed the address of another user.
func (s *Server) move(w *subscription.Watch, from *pending, to *presentity, entry *directory.Entry, sender directory.Result) {
	d := w.Dialog()
	resumed := s.resumes(w)
	switch {
	case resumed && s.packages[d.Package().Name].watchers:
		w.Move(from, &to.watchers, w.View())
		return
	case !resumed && s.mayBe(s.identityOf(d), sender) != nil:
		s.reject(d)
		return
	}
	m, _ := d.Data.(*member)
	if !w.Move(from, to, s.viewOf(d, entry, sender)) || resumed || m == nil || m.client == nil || d.Watches()[0] != w || !s.clients.judge(m) {
		return
	}
	own := s.owns(m.client, sender, entry)
	switch {
	case !s.clients.join(m, own, to.id):
		s.cfg.Logger.Warn("too many clients of one user", "user", to.id)
	case !d.Active(): // it has ended meanwhile, and left its client before it joined again
		s.dialogEnded(subscription.Ending{Dialog: d, Cause: subscription.Refused})
	case own:
		to.update()
	}
}
