package presence

import (
	"context"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/subscription"
)

// Policy decides what a watcher may see of a user. It is asked for each address that
// somebody begins to watch, and for all of them by [Server.ApplyPolicy]. The user's
// own authenticated eyes see everything without being asked for.
type Policy interface {
	// Sight returns how much is seen. An error is logged, and the watcher is shown a
	// user who is unknown. It is safe for concurrent use; one that blocks holds up the
	// request that waits for it, and nothing else.
	Sight(ctx context.Context, w Watcher, whom directory.Entry) (consolidation.Sight, error)
}

// Watcher is somebody who wants to see.
type Watcher struct {
	Account string // as authenticated; "" for nobody
	Address string // in From: the watcher's word, unless an account stands for it
}

// Decoration is a document on its way to watchers, to which a host adds elements of
// its own.
type Decoration struct {
	Entry    directory.Entry
	Sight    consolidation.Sight // of those who will see it
	Result   consolidation.Result
	Document *pidf.Presence // to be changed; Entity and the ID of the first person are set afterwards
}

func entryOf(s *consolidation.State) directory.Entry {
	if entry, ok := s.Entry.(*directory.Entry); ok {
		return *entry
	}
	return directory.Entry{}
}

// sight is how much a watcher sees of an entry.
func (s *Server) sight(ctx context.Context, w Watcher, entry *directory.Entry) consolidation.Sight {
	if w.Account != "" && auth.SameAccount(auth.Identity{Account: w.Account, ID: w.Account}, entry.Account, entry.ID) {
		return consolidation.SightOwn
	}
	if s.cfg.Policy == nil {
		return consolidation.SightOthers
	}
	sight, err := s.cfg.Policy.Sight(ctx, w, *entry)
	if err != nil || sight >= consolidation.Sights {
		s.cfg.Logger.Error("policy", "watcher", w.Account, "presentity", entry.ID, "error", err)
		return consolidation.SightBlocked
	}
	return sight
}

// viewOf is how the watcher of a dialog sees an entry.
func (s *Server) viewOf(d *subscription.Dialog, entry *directory.Entry) subscription.View {
	return viewOf(s.sight(s.ctx, watcherOf(d), entry), dialectOfDialog(d))
}

func watcherOf(d *subscription.Dialog) Watcher {
	return Watcher{Account: d.Account(), Address: bareURI(d.Watcher())}
}

// ApplyPolicy asks the policy again about everybody who watches now: after it has
// changed. Those who see otherwise than before are shown that; those who are refused
// now get a last NOTIFY (terminated;reason=rejected).
func (s *Server) ApplyPolicy(ctx context.Context) {
	for _, d := range s.registry.All() {
		for _, w := range d.Watches() {
			p, ok := w.Resource().(*presentity)
			if !ok || ctx.Err() != nil {
				continue
			}
			entry := p.entryNow()
			sight := s.sight(ctx, watcherOf(d), &entry)
			if sight == consolidation.SightRefused && !d.IsList() {
				if d.Close(subscription.ReasonRejected) {
					s.dialogEnded(subscription.Ending{Dialog: d})
				}
				continue
			}
			w.SetView(viewOf(sight, dialectOfDialog(d)))
		}
	}
}
