package presence

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/openblustar/blustar/directory"
)

// retryLookup asks the directory again after d, and so on with back-off, until
// it answers. p.mu is held.
func (p *presentity) retryLookup(d time.Duration) {
	s := p.server
	if p.kind != unresolved {
		return
	}
	stopTimer(&p.retry)
	p.retry = s.after(jitter(d), func() {
		address, err := directory.ParseAddress(p.key[1:])
		if err != nil {
			return
		}
		result := s.lookup(s.ctx, []directory.Address{address})[0]
		if result.Err == nil {
			s.resolve(p, result.Entry)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.retry = nil
		if result.Err == nil {
			return
		}
		if errors.Is(result.Err, directory.ErrNotFound) || errors.Is(result.Err, directory.ErrAmbiguous) {
			p.kind = nobody
			return
		}
		if len(p.watches) > 0 {
			p.retryLookup(min(2*d, 60*s.cfg.LookupRetry))
		}
	})
}

// resolve moves all that watch an address to the entry that it turned out to
// have.
func (s *Server) resolve(from *presentity, entry directory.Entry) {
	to := s.presentities.acquire(entry.ID, resolved, entry)
	defer s.presentities.release(to)
	if to == from {
		return // somebody else was faster
	}
	var moved []*watch
	for watches := from.watched(); len(watches) > 0; watches = from.watched() {
		for _, w := range watches { // and those that come meanwhile
			s.move(w, from, to)
		}
		moved = append(moved, watches...)
	}
	impostors := s.clients.rekey(from, to, &entry)
	s.update(to) // the clients that came along open its services
	s.notify(moved)
	for _, c := range impostors {
		s.endClient(c, "it is not of this user", reasonDeactivated)
	}
}

// whose returns the directory entry, where kind says that there is one.
func (p *presentity) whose() (directory.Entry, presentityKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entry, p.kind
}

// watched returns a copy of the watches.
func (p *presentity) watched() []*watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.watches)
}

// move makes w watch another presentity.
func (s *Server) move(w *watch, from, to *presentity) {
	s.membership.Lock()
	defer s.membership.Unlock()
	if w.presentity != from || !w.linked || w.gone {
		return
	}
	from.removeWatch(w)
	s.presentities.retain(to)
	to.addWatch(w)
	w.dialog.mu.Lock()
	w.presentity = to
	w.dialog.mu.Unlock()
	s.presentities.release(from)
}

// lookup asks the directory, bounded in time and number.
func (s *Server) lookup(ctx context.Context, as []directory.Address) []directory.Result {
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
	default:
		results := make([]directory.Result, len(as))
		for i := range results {
			results[i].Err = errBusy
		}
		return results
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	results := directory.LookupAll(ctx, s.cfg.Directory, as)
	for i, r := range results {
		if r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
			s.cfg.Logger.Warn("directory look-up", "address", as[i].String(), "error", r.Err)
		}
	}
	return results
}

var errBusy = errors.New("presence: too many directory look-ups under way")
