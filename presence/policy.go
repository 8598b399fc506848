package presence

import (
	"context"
	"errors"
	"slices"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// watcher describes the watcher with this identity and this address in From. found is what
// the directory says of the address.
func (s *Server) watcher(ctx context.Context, who party, id auth.Identity, from string, found directory.Result) Watcher {
	w := Watcher{Account: whoIs(id), Address: from, id: id}
	if isNobody(found.Err) && s.cfg.Policy != nil && id.Account != "" && !id.AMCC {
		found = s.lookups.account(ctx, who, id.Account)
		w.open = errors.Is(found.Err, directory.ErrAmbiguous) // any of its entries may be named
	}
	switch {
	case found.Err != nil:
		w.open = w.open || !isNobody(found.Err)
	case mayActFor(id, &found.Entry):
		w.Entry = new(found.Entry)
	}
	return w
}

// watcherOf describes the watcher of a dialog. found is what the directory says of its
// address.
func (s *Server) watcherOf(ctx context.Context, d *subscription.Dialog, found directory.Result) Watcher {
	return s.watcher(ctx, party{}, s.identityOf(d), bareURI(d.Watcher()), found)
}

// sight returns how much a watcher sees of the user of an entry.
func (s *Server) sight(ctx context.Context, w Watcher, entry *directory.Entry) consolidation.Sight {
	if !w.id.IsZero() && auth.SameAccount(w.id, entry.Account, entry.ID) {
		return consolidation.SightOwn
	}
	switch {
	case s.cfg.Policy == nil:
		return consolidation.SightOthers
	case w.open:
		return consolidation.SightBlocked
	}
	sight, err := s.cfg.Policy.Sight(ctx, w, *entry)
	if err != nil || sight >= consolidation.Sights {
		s.cfg.Logger.Error("policy", "watcher", w.Account, "presentity", entry.ID, "error", err)
		return consolidation.SightBlocked
	}
	return sight
}

// viewOf returns the view in which the watcher of a dialog sees the user of an entry. found
// is what the directory says of the watcher's address.
func (s *Server) viewOf(d *subscription.Dialog, entry *directory.Entry, found directory.Result) subscription.View {
	return viewOf(s.sight(s.ctx, s.watcherOf(s.ctx, d, found), entry), dialectOfDialog(d))
}

// ApplyPolicy asks the policy again about all watches. A host calls it after its policy
// has changed. A watcher whose view is another one now gets a NOTIFY. A watcher who is
// refused now gets a last NOTIFY (terminated;reason=rejected).
func (s *Server) ApplyPolicy(ctx context.Context) {
	s.policies.Add(1)
	for dialogs := range slices.Chunk(s.registry.All(), lookupBatch) {
		as := make([]directory.Address, len(dialogs))
		for i, d := range dialogs {
			as[i], _ = directory.ParseAddress(bareURI(d.Watcher()))
		}
		for i, found := range s.lookups.all(ctx, party{}, as) {
			if ctx.Err() != nil {
				return
			}
			d := dialogs[i]
			if changed, ok := s.judge(ctx, d, s.watcherOf(ctx, d, found)); ok {
				d.Show(changed...)
			}
		}
	}
}

// judge asks the policy about all watches of a dialog, and returns those with a new view.
// If the watcher is refused, it ends the dialog and reports false.
func (s *Server) judge(ctx context.Context, d *subscription.Dialog, who Watcher) (changed []*subscription.Watch, ok bool) {
	for {
		version := s.policies.Load()
		for _, w := range d.Watches() {
			p, ok := w.Resource().(*presentity)
			if !ok || s.cfg.Policy == nil && sightOf(w.View()) != consolidation.SightOwn {
				continue // without a policy only the user's own view can change
			}
			sight := s.sight(ctx, who, p.entry.Load())
			if sight == consolidation.SightRefused && !d.IsList() {
				s.reject(d)
				return nil, false
			}
			if w.SetView(viewOf(sight, dialectOfDialog(d))) {
				changed = append(changed, w)
			}
		}
		if s.policies.Load() == version { // else it has changed meanwhile
			return changed, true
		}
	}
}

// reject ends a dialog whose watcher may not watch any more. The last NOTIFY tells nothing.
func (s *Server) reject(d *subscription.Dialog) {
	for _, w := range d.Watches() {
		if _, ok := w.Resource().(*presentity); ok {
			w.SetView(viewOf(consolidation.SightBlocked, dialectOfDialog(d)))
		}
	}
	if d.Close(subscription.ReasonRejected) {
		s.dialogEnded(subscription.Ending{Dialog: d})
	}
}

// mayBe returns an error if an account may not write an address in From. found is what the
// directory said of the address.
func (s *Server) mayBe(id auth.Identity, found directory.Result) error {
	switch {
	case found.Err == nil && !mayActFor(id, &found.Entry):
		return sipx.Errorf(403, "From is another user's address")
	case isNobody(found.Err) && !id.IsZero() && !id.AMCC && s.cfg.ListedFrom:
		return sipx.Errorf(403, "the directory does not have the address in From")
	}
	return nil
}

// identityOf returns who opened a dialog.
func (s *Server) identityOf(d *subscription.Dialog) auth.Identity {
	if m, ok := d.Data.(*member); ok && m.client != nil {
		s.clients.mu.Lock()
		defer s.clients.mu.Unlock()
		return m.client.identity()
	}
	id := identityNamed(d.Account())
	id.AMCC = id.Account != "" && d.Info().Contact.User == amccUser // as the guard judged
	return id
}
