package presence

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/sipx"
)

// Inspection is what is known about one presentity now.
type Inspection struct {
	Entity string // the address that was asked for
	State  consolidation.State
	Result consolidation.Result
	// Document is what BluStar watchers are sent, with the user's preferred address
	// for its entity.
	Document *pidf.Presence
}

// Presence returns what watchers of an address (a sip or tel URI, or user@host)
// are shown. The error wraps [directory.ErrNotFound] where it has no entry.
func (s *Server) Presence(ctx context.Context, address string) (Inspection, error) {
	p, entity, err := s.inspected(ctx, address)
	if err != nil {
		return Inspection{}, err
	}
	defer s.presentities.unpin(p)
	snap := p.current.Load()
	return Inspection{Entity: entity, State: snap.state, Result: snap.result, Document: snap.document(viewOf(consolidation.SightOthers, bluStar), new(page))}, nil
}

// Explain tells why an address is shown as it is. The error wraps
// [directory.ErrNotFound] where it has no entry.
func (s *Server) Explain(ctx context.Context, address string) (consolidation.Explanation, error) {
	p, _, err := s.inspected(ctx, address)
	if err != nil {
		return consolidation.Explanation{}, err
	}
	defer s.presentities.unpin(p)
	return consolidation.Explain(s.cfg.Rules, &p.current.Load().state, time.Now()), nil
}

// inspected returns the presentity of an address, to be unpinned.
func (s *Server) inspected(ctx context.Context, address string) (*presentity, string, error) {
	entry, err := s.entry(ctx, address)
	if err != nil {
		return nil, "", err
	}
	a, err := directory.ParseAddress(address)
	if err != nil {
		return nil, "", err
	}
	return s.presentities.pin(&entry), a.String(), nil
}

// UserInfo describes a user whom the server holds: who is watched, is signed in, has
// published, or has a source that was set.
type UserInfo struct {
	ID       string               `json:"id"` // of the directory entry
	Name     string               `json:"name"`
	Entity   string               `json:"entity"` // the preferred address
	Status   consolidation.Status `json:"status"`
	Note     string               `json:"note"`
	Since    time.Time            `json:"since"`                // of what watchers see
	Next     time.Time            `json:"next_change,omitzero"` // when it may change by itself; zero for never
	Watchers int                  `json:"watchers"`
}

// Users lists the users whom the server holds, in no order.
func (s *Server) Users() []UserInfo {
	var list []UserInfo
	now := time.Now()
	for _, p := range s.presentities.of.Values() {
		snap := p.current.Load()
		if snap == nil {
			continue // it is being made
		}
		list = append(list, UserInfo{
			ID: p.id, Name: entryOf(&snap.state).DisplayName, Entity: snap.entity,
			Status: snap.result.Status, Note: snap.result.Note, Since: snap.at, Next: snap.state.NextChange(now), Watchers: int(p.watching.Load()),
		})
	}
	return list
}

// SubscriptionInfo describes a live subscription.
type SubscriptionInfo struct {
	ID        string    `json:"id"` // our tag of its dialog
	Watcher   string    `json:"watcher"`
	Account   string    `json:"account"` // who was authenticated
	Contact   string    `json:"contact"`
	Dialect   string    `json:"dialect"`
	Event     string    `json:"event"`
	Own       bool      `json:"own"` // to its user's own address
	Resources []string  `json:"resources"`
	Flow      string    `json:"flow"`
	UnderWay  int       `json:"under_way"` // NOTIFYs without an answer
	Expires   time.Time `json:"expires"`
	// Notified is when the last NOTIFY was sent of which the outcome is known, and Answer
	// what the watcher said to it: "200 OK", or "no answer".
	Notified time.Time `json:"notified,omitzero"`
	Answer   string    `json:"answer,omitempty"`
}

// Subscriptions lists the live subscriptions, the oldest first.
func (s *Server) Subscriptions() []SubscriptionInfo {
	var list []SubscriptionInfo
	for _, d := range s.registry.All() {
		i := d.Info()
		info := SubscriptionInfo{
			ID: d.Tag(), Watcher: bareURI(d.Watcher()), Account: d.Account(), Contact: i.Contact.String(), Dialect: d.Style().Name,
			Event: i.Event, Flow: i.Flow.String(), UnderWay: i.UnderWay, Expires: i.Expires,
			Notified: i.Notified,
		}
		switch {
		case i.Answer != 0:
			info.Answer = strconv.Itoa(i.Answer) + " " + sipx.StatusText(i.Answer)
		case !i.Notified.IsZero():
			info.Answer = "no answer"
		}
		if m, ok := d.Data.(*member); ok {
			s.clients.mu.Lock()
			info.Own = m.own
			s.clients.mu.Unlock()
		}
		for _, w := range d.Watches() {
			info.Resources = append(info.Resources, w.Entity())
		}
		list = append(list, info)
	}
	return list
}

// ClientInfo describes a live client.
type ClientInfo struct {
	User          string    `json:"user"`    // ID of the directory entry
	Entity        string    `json:"entity"`  // the user's preferred address
	Account       string    `json:"account"` // who was authenticated
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
	for _, u := range s.clients.users {
		for _, c := range u.live {
			list = append(list, ClientInfo{
				User: c.user, Account: whoIs(c.identity()), Contact: c.key.contact(), UserAgent: c.userAgent.Value(),
				AMCC: c.amcc, Since: time.Unix(0, c.since), Subscriptions: len(c.dialogs), Published: c.publishedUntil(),
				Audio: c.services.Audio, Video: c.services.Video, Message: c.services.Message,
			})
		}
	}
	s.clients.mu.Unlock()
	for i := range list {
		list[i].Entity = s.preferred(list[i].User)
	}
	slices.SortFunc(list, func(a, b ClientInfo) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.Contact, b.Contact))
	})
	return list
}

// PublicationInfo describes a live publication.
type PublicationInfo struct {
	Presentity string    `json:"presentity"` // ID of the directory entry
	Entity     string    `json:"entity"`     // the user's preferred address
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
	for _, c := range s.publications.All() {
		info := PublicationInfo{
			Presentity: c.Presentity, Entity: s.preferred(c.Presentity), ETag: c.ETag, Status: string(c.Status), Note: c.Note,
			Owner: c.Owner, Received: c.Received, Expires: c.Expires,
		}
		switch c.Rule {
		case publication.Forwarding:
			continue
		case publication.Shared:
			info.Dialect = bluStar.Name
		case publication.Separate:
			info.Dialect, info.Status = standard.Name, string(aa.StatusUnknown)
			if o := originalOf(c); o != nil {
				now, said := time.Now(), consolidation.Published{Reading: &o.Reading}
				info.Status, info.Note = string(said.StatusAt(now)), o.Note(now)
			}
		}
		list = append(list, info)
	}
	return list
}

// preferred is the preferred address of a user who is held; empty for others.
func (s *Server) preferred(id string) string {
	if p := s.presentities.find(id); p != nil {
		if snap := p.current.Load(); snap != nil {
			return snap.entity
		}
	}
	return ""
}

// Stats counts what the server holds.
type Stats struct {
	Subscriptions int // dialogs
	Watches       int // addresses watched in them
	Clients       int
	Presentities  int // in memory
	Pending       int // watched addresses that have no entry
	Publications  int
	UnderWay      int // NOTIFYs without an answer
	LogDropped    int // lines that the log could not take in time

	StoreWaiting int    // records that the store has not taken yet
	StoreErrors  uint64 // how often it failed
	StoreFailing bool   // it failed when it was last asked, or this node of several may not speak
}

// Stats returns the counts. It is cheap enough for each scrape of metrics, not
// for each request.
func (s *Server) Stats() Stats {
	of := s.registry.Stats()
	st := Stats{Subscriptions: of.Dialogs, Watches: of.Watches, UnderWay: of.UnderWay, Publications: s.publications.Len()}
	st.StoreWaiting, st.StoreErrors, st.StoreFailing = s.journal.stats()
	st.StoreFailing = st.StoreFailing || s.cluster.away()
	if s.cfg.log != nil {
		st.LogDropped = int(s.cfg.log.Dropped())
	}
	s.clients.mu.Lock()
	for _, u := range s.clients.users {
		st.Clients += len(u.live)
	}
	s.clients.mu.Unlock()
	st.Presentities = s.presentities.of.Len()
	s.pendings.mu.Lock()
	st.Pending = len(s.pendings.m)
	s.pendings.mu.Unlock()
	return st
}

// MaxSubscriptions returns how many addresses may be watched: the bound of [Stats].Watches.
func (s *Server) MaxSubscriptions() int { return s.cfg.MaxSubscriptions }
