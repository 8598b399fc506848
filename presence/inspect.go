package presence

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
)

// View is what is known about one presentity now.
type View struct {
	Entity string // the address that was asked for
	State  State
	Result Result
	// Document is what BluStar watchers are sent, with the user's preferred address
	// for its entity.
	Document *pidf.Presence
}

// Presence returns what watchers of an address (a sip or tel URI, or user@host)
// are shown. The error wraps [directory.ErrNotFound] where it has no entry.
func (s *Server) Presence(ctx context.Context, address string) (View, error) {
	p, entity, err := s.inspected(ctx, address)
	if err != nil {
		return View{}, err
	}
	defer s.presentities.release(p)
	snap := p.current.Load()
	return View{Entity: entity, State: snap.state, Result: snap.result, Document: snap.document(bluStar, false)}, nil
}

// Explain tells why an address is shown as it is (BSX-1). The error wraps
// [directory.ErrNotFound] where it has no entry.
func (s *Server) Explain(ctx context.Context, address string) (Explanation, error) {
	p, _, err := s.inspected(ctx, address)
	if err != nil {
		return Explanation{}, err
	}
	defer s.presentities.release(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	state := p.state(now)
	return Explain(s.cfg.Rules, &state, now), nil
}

// inspected returns the presentity of an address, referred to once more.
func (s *Server) inspected(ctx context.Context, address string) (*presentity, string, error) {
	entry, err := s.entry(ctx, address)
	if err != nil {
		return nil, "", err
	}
	a, err := directory.ParseAddress(address)
	return s.presentities.acquire(entry.ID, resolved, entry), a.String(), err
}

// SubscriptionInfo describes a live subscription.
type SubscriptionInfo struct {
	ID        string    `json:"id"` // our tag of its dialog
	Watcher   string    `json:"watcher"`
	Contact   string    `json:"contact"`
	Dialect   string    `json:"dialect"`
	Event     string    `json:"event"`
	Own       bool      `json:"own"` // to its user's own address
	Resources []string  `json:"resources"`
	Flow      string    `json:"flow"`
	UnderWay  int       `json:"under_way"` // NOTIFYs without an answer
	Expires   time.Time `json:"expires"`
}

// Subscriptions lists the live subscriptions, the oldest first.
func (s *Server) Subscriptions() []SubscriptionInfo {
	all := s.dialogs.all()
	slices.SortFunc(all, func(a, b *dialog) int { return cmp.Compare(a.serial, b.serial) })
	list := make([]SubscriptionInfo, len(all))
	for i, d := range all {
		own := d.isOwn()
		d.mu.Lock()
		list[i] = SubscriptionInfo{
			ID: d.localTag(), Watcher: bareURI(d.remote.URI), Contact: d.target.String(), Dialect: d.dialect.Name,
			Event: d.event, Own: own, Flow: d.flow.String(), UnderWay: int(d.underWay), Expires: d.expires,
		}
		for _, w := range d.watches {
			list[i].Resources = append(list[i].Resources, w.entity)
		}
		d.mu.Unlock()
	}
	return list
}

// ClientInfo describes a live client.
type ClientInfo struct {
	User          string    `json:"user"` // ID of the directory entry
	Contact       string    `json:"contact"`
	UserAgent     string    `json:"user_agent"`
	AMCC          bool      `json:"amcc"`
	Since         time.Time `json:"since"`
	Subscriptions int       `json:"subscriptions"`
	Published     time.Time `json:"published_until,omitzero"` // zero where it did not publish
	Audio         bool      `json:"audio"`
	Video         bool      `json:"video"`
	Message       bool      `json:"message"`
}

// Clients lists the live BluStar clients by user and Contact.
func (s *Server) Clients() []ClientInfo {
	s.clients.mu.Lock()
	var list []ClientInfo
	for _, c := range s.clients.m {
		if c.user == nil {
			continue
		}
		list = append(list, ClientInfo{
			User: c.key.user, Contact: c.key.contact, UserAgent: c.userAgent, AMCC: c.amcc, Since: c.since,
			Subscriptions: len(c.dialogs), Published: c.published,
			Audio: c.services.Audio, Video: c.services.Video, Message: c.services.Message,
		})
	}
	s.clients.mu.Unlock()
	slices.SortFunc(list, func(a, b ClientInfo) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.Contact, b.Contact))
	})
	return list
}

// PublicationInfo describes a live publication.
type PublicationInfo struct {
	Presentity string    `json:"presentity"` // ID of the directory entry
	ETag       string    `json:"etag"`
	Dialect    string    `json:"dialect"`
	Status     string    `json:"status"`
	Note       string    `json:"note"`
	Owner      string    `json:"owner"`
	Received   time.Time `json:"received"`
	Expires    time.Time `json:"expires"`
}

// Publications lists the live publications by presentity.
func (s *Server) Publications() []PublicationInfo {
	var list []PublicationInfo
	for _, p := range s.presentities.all() {
		p.mu.Lock()
		for _, pub := range p.pubs {
			list = append(list, PublicationInfo{
				Presentity: p.key, ETag: pub.ETag, Dialect: pub.Dialect, Status: string(pub.Own.Status), Note: pub.Own.Note,
				Owner: pub.Own.Owner, Received: pub.Own.Received, Expires: pub.Expires,
			})
		}
		p.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b PublicationInfo) int {
		return cmp.Or(strings.Compare(a.Presentity, b.Presentity), a.Received.Compare(b.Received))
	})
	return list
}

// Stats counts what the server holds.
type Stats struct {
	Subscriptions int // dialogs
	Watches       int // addresses watched in them
	Clients       int
	Presentities  int // in memory
	Publications  int
	UnderWay      int // NOTIFYs without an answer
}

// Stats returns the counts. It is cheap enough for each scrape of metrics, not
// for each request.
func (s *Server) Stats() Stats {
	st := Stats{Watches: int(s.watching.Load()), UnderWay: int(s.outstanding.Load())}
	s.dialogs.mu.Lock()
	st.Subscriptions = len(s.dialogs.byTag)
	s.dialogs.mu.Unlock()
	s.clients.mu.Lock()
	for _, list := range s.clients.live {
		st.Clients += len(list)
	}
	s.clients.mu.Unlock()
	for _, p := range s.presentities.all() {
		p.mu.Lock()
		st.Presentities++
		st.Publications += len(p.pubs)
		p.mu.Unlock()
	}
	return st
}

// Reload looks an address up again and takes over what has changed in its
// directory entry, its devices say. The server does so by itself with each request
// that needs the entry; this is for hosts that hear of changes. The error is that
// of the directory.
func (s *Server) Reload(ctx context.Context, address string) error {
	p, _, err := s.inspected(ctx, address)
	if err == nil {
		s.presentities.release(p)
	}
	return err
}
