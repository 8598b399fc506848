package subscriber

import (
	"context"
	"sync"

	"github.com/openblustar/blustar/sipx"
)

// Routes hands each NOTIFY to the [Subscription] whose dialog it belongs to. The zero
// value is ready to use. It is safe for concurrent use, and must not be copied.
type Routes struct {
	mu      sync.RWMutex
	dialogs map[string]*Subscription // by Call-ID
}

// Serve has a NOTIFY answered by its subscription, and returns when it was. It reports
// false, and does nothing, where there is no such subscription.
func (r *Routes) Serve(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) bool {
	r.mu.RLock()
	s := r.dialogs[req.CallID]
	r.mu.RUnlock()
	if s != nil {
		s.serve(ctx, w, req)
	}
	return s != nil
}

// All returns the subscriptions that have a dialog.
func (r *Routes) All() []*Subscription {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*Subscription, 0, len(r.dialogs))
	for _, s := range r.dialogs {
		all = append(all, s)
	}
	return all
}

func (r *Routes) add(d *Dialog, s *Subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dialogs == nil {
		r.dialogs = make(map[string]*Subscription)
	}
	r.dialogs[d.CallID()] = s
}

func (r *Routes) remove(d *Dialog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.dialogs, d.CallID())
}
