package presence

import (
	"context"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/subscription"
)

// Policy decides what a watcher may see of a user. The server asks it when somebody begins
// to watch an address. [Server.ApplyPolicy] asks again for all watches. A watcher who is
// authenticated as the user sees everything; the policy is not asked.
type Policy interface {
	// Sight returns how much the watcher sees. An error is logged, and the watcher is
	// shown the status "unknown". Sight is called by several goroutines at once. If it
	// blocks, it holds up the request that waits for it, and nothing else.
	Sight(ctx context.Context, w Watcher, whom directory.Entry) (consolidation.Sight, error)
}

// Watcher is somebody who wants to see.
type Watcher struct {
	Account string // as authenticated; "" for nobody
	Address string // in From: the watcher's word, unless an account stands for it
}

// Decoration is a document on its way to watchers. The host can add elements to it.
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

// ApplyPolicy asks the policy again about all watches. A host calls it after its policy
// has changed. A watcher whose view is another one now gets a NOTIFY. A watcher who is
// refused now gets a last NOTIFY (terminated;reason=rejected).
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
