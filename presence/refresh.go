package presence

import (
	"context"
	"slices"
	"strings"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// resubscribe refreshes or ends a subscription.
func (s *Server) resubscribe(ctx context.Context, d *dialog, sub *subscription) (*sipx.Response, func(), error) {
	if d.opener != "" && !strings.EqualFold(d.opener, whoIs(sub.id)) {
		return nil, nil, sipx.Errorf(403, "the subscription is somebody else's")
	}
	uris, list, err := s.listOf(sub.req)
	if err != nil {
		return nil, nil, err
	}
	if list && !(d.list && d.dialect.ListInRefresh) {
		return sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: typePIDF}), nil, nil
	}
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	if err := d.advance(s, sub); err != nil {
		if sub.expires == 0 && s.dialogs.hasEnded(sub.req) {
			return s.unknownDialog(sub.req), nil, nil // it has ended meanwhile
		}
		return nil, nil, err
	}
	if sub.expires == 0 {
		return d.granted(sub), func() { s.ended(d) }, nil
	}
	var added []*watch
	if list {
		if added, err = s.replaceList(ctx, d, sub, uris); err != nil {
			return nil, nil, err
		}
	} else {
		s.lookAgain(ctx, d)
	}
	s.restart(d, sub.expires)
	s.clients.refreshed(d)
	return d.granted(sub), func() { s.refreshed(d, added) }, nil
}

// advance takes the CSeq, the target and the flow of a request in the dialog
// (RFC 3261 §12.2.2).
func (d *dialog) advance(s *Server, sub *subscription) error {
	flow := s.returnFlow(sub.req, sub.contact.URI, len(d.routes) > 0)
	d.mu.Lock()
	if d.state != dialogActive {
		d.mu.Unlock()
		return sipx.Errorf(481, "")
	}
	if sub.req.CSeq <= d.remoteSeq {
		d.mu.Unlock()
		return sipx.Errorf(500, "CSeq out of order")
	}
	d.remoteSeq = sub.req.CSeq
	old := d.flow
	d.flow = flow
	if d.target != sub.contact.URI {
		d.target = cloneURI(sub.contact.URI)
	}
	d.mu.Unlock()
	if old != flow {
		s.dialogs.rebind(d, old, flow)
	}
	return nil
}

// refreshed sends what a refresh asks for, once its 200 has left.
func (s *Server) refreshed(d *dialog, added []*watch) {
	d.mu.Lock()
	watches := slices.Clone(d.watches)
	d.listed = false // RLMI: a refresh is shown all (RFC 4662 §5.2)
	d.mu.Unlock()
	switch {
	case d.dialect.NotifyOnRefresh:
		s.enqueue(d, true, watches...)
	case s.isAMCC(d):
		// BSP-2.9-2: everything that this client watches, in all its dialogs.
		s.clients.mu.Lock()
		c := d.client
		s.clients.mu.Unlock()
		for _, other := range s.clients.dialogsOf(c) {
			other.mu.Lock()
			watches := slices.Clone(other.watches)
			other.mu.Unlock()
			s.enqueue(other, true, watches...)
		}
	default:
		s.enqueue(d, true, added...)
	}
}

func (s *Server) isAMCC(d *dialog) bool {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	return d.client != nil && d.client.amcc
}

// lookAgain looks addresses without an entry up once more: the directory may
// have it by now.
func (s *Server) lookAgain(ctx context.Context, d *dialog) {
	d.mu.Lock()
	var open []*watch
	var as []directory.Address
	for _, w := range d.watches {
		if strings.HasPrefix(w.presentity.key, "?") && w.address.Scheme != "" {
			open, as = append(open, w), append(as, w.address)
		}
	}
	d.mu.Unlock()
	if len(open) == 0 {
		return
	}
	for i, r := range s.lookup(ctx, as) {
		if r.Err != nil {
			continue
		}
		d.mu.Lock()
		from := open[i].presentity
		d.mu.Unlock()
		s.resolve(from, r.Entry)
	}
}

// replaceList makes d watch exactly uris (BSP-2.9-3) and returns the new ones.
func (s *Server) replaceList(ctx context.Context, d *dialog, sub *subscription, uris []string) ([]*watch, error) {
	have := make(map[string]*watch)
	d.mu.Lock()
	for _, w := range d.watches {
		have[w.key()] = w
	}
	d.mu.Unlock()
	var fresh []string
	for _, uri := range uris {
		if _, ok := have[watchKey(uri)]; !ok {
			fresh = append(fresh, uri)
		}
	}
	if s.watching.Add(int64(len(fresh))) > int64(s.cfg.MaxSubscriptions) {
		s.watching.Add(-int64(len(fresh)))
		return nil, &sipx.Error{Status: 503, Reason: "too many subscriptions"}
	}
	_, watched, err := s.whoAndWhat(ctx, sub, fresh)
	if err != nil {
		s.watching.Add(-int64(len(fresh)))
		return nil, err
	}
	added := s.newWatches(d, watched, sub.id)
	for _, w := range added {
		have[w.key()] = w
	}
	list := make([]*watch, len(uris))
	for i, uri := range uris {
		list[i] = have[watchKey(uri)]
		delete(have, watchKey(uri))
	}
	var dropped []*watch
	d.mu.Lock()
	if ended := d.unlinked; ended {
		d.mu.Unlock()
		s.removeWatches(added)
		return nil, sipx.Errorf(481, "")
	}
	d.watches = list
	for _, w := range have {
		w.removed = true
		dropped = append(dropped, w)
	}
	d.mu.Unlock()
	s.addWatches(added)
	s.removeWatches(dropped)
	return added, nil
}

func watchKey(uri string) string {
	if a, err := directory.ParseAddress(uri); err == nil {
		return a.String()
	}
	return uri
}

func (w *watch) key() string {
	if w.address.Scheme == "" {
		return w.entity
	}
	return w.address.String()
}
