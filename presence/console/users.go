package console

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
)

// getUsers is GET /v1/users: with ?q=, those with this text in name, address, number or
// note; with ?status=, those who are shown so.
func (c *Console) getUsers(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	search, status := strings.ToLower(strings.TrimSpace(query.Get("q"))), query.Get("status")
	type named struct {
		name string // to sort by
		presence.UserInfo
	}
	var found []named
	held := make(map[string]presence.UserInfo)
	for _, u := range c.cfg.Server.Users() {
		held[u.ID] = u
	}
	add := func(u presence.UserInfo, words ...string) {
		if status != "" && string(u.Status) != status {
			return
		}
		words = append(words, u.ID, u.Name, u.Entity, u.Note)
		if search == "" || slices.ContainsFunc(words, func(s string) bool { return strings.Contains(strings.ToLower(s), search) }) {
			found = append(found, named{strings.ToLower(cmp.Or(u.Name, u.Entity)), u})
		}
	}
	if c.cfg.Users != nil {
		for e := range c.cfg.Users() {
			u, known := held[e.ID]
			if !known {
				// Nobody watches, has signed in or has published, and no source was set.
				u = presence.UserInfo{ID: e.ID, Name: e.DisplayName, Entity: preferred(e), Status: consolidation.StatusSignedOut}
			}
			delete(held, e.ID)
			add(u, slices.Concat(e.SIP, e.Tel, e.Lines, []string{e.Account, e.Mail})...)
		}
	}
	for u := range maps.Values(held) {
		add(u)
	}
	slices.SortFunc(found, func(a, b named) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.ID, b.ID)) })
	list := make([]presence.UserInfo, len(found))
	for i := range found {
		list[i] = found[i].UserInfo
	}
	p, err := pageOf(r, list)
	if err == nil {
		writeJSON(w, http.StatusOK, p)
	}
	return err
}

// preferred is the address of an entry that documents have.
func preferred(e directory.Entry) string {
	switch {
	case len(e.SIP) > 0:
		return directory.Address{Scheme: directory.SchemeSIP, Value: e.SIP[0]}.String()
	case len(e.Tel) > 0:
		return directory.Address{Scheme: directory.SchemeTel, Value: e.Tel[0]}.String()
	}
	return ""
}

// userJSON is everything about one user.
type userJSON struct {
	directory.Entry
	Entity       string                      `json:"entity"`
	Appointments []appointment               `json:"appointments"` // those to come, too
	Presence     presenceJSON                `json:"presence"`
	Explain      explainJSON                 `json:"explain"`
	Timeline     []moment                    `json:"timeline"` // the newest first
	Watchers     []presence.SubscriptionInfo `json:"watchers"`
	Clients      []presence.ClientInfo       `json:"clients"`
	Publications []presence.PublicationInfo  `json:"publications"`
}

// What is told of one user is bounded.
const (
	maxWatchers     = 200
	maxAppointments = 50
)

// entryOf is the directory's entry behind a view.
func entryOf(v presence.Inspection) directory.Entry {
	if e, ok := v.State.Entry.(*directory.Entry); ok {
		return *e
	}
	return directory.Entry{}
}

// getUser is GET /v1/users/{address}.
func (c *Console) getUser(w http.ResponseWriter, r *http.Request) error {
	server, address := c.cfg.Server, r.PathValue("address")
	view, err := server.Presence(r.Context(), address)
	if err != nil {
		return err
	}
	why, err := server.Explain(r.Context(), address)
	if err != nil {
		return err
	}
	u := userJSON{
		Entity: view.Document.Entity, Presence: newPresenceJSON(view), Explain: newExplainJSON(view.Entity, why),
		Appointments: []appointment{},
		Timeline:     c.cfg.Stream.timeline(view.Document.Entity),
		Watchers:     []presence.SubscriptionInfo{}, Clients: []presence.ClientInfo{},
		Publications: []presence.PublicationInfo{},
	}
	u.Entry = entryOf(view)
	for _, m := range view.State.Calendar {
		if m.End.After(why.At) && len(u.Appointments) < maxAppointments {
			u.Appointments = append(u.Appointments, shown(m.Appointment))
		}
	}
	slices.SortStableFunc(u.Appointments, func(a, b appointment) int { return a.From.Compare(b.From) })
	own := make(map[string]bool)
	for _, sip := range u.SIP {
		own[directory.Address{Scheme: directory.SchemeSIP, Value: sip}.String()] = true
	}
	for _, tel := range u.Tel {
		own[directory.Address{Scheme: directory.SchemeTel, Value: tel}.String()] = true
	}
	for _, s := range server.Subscriptions() {
		at := slices.IndexFunc(s.Resources, func(e string) bool { return own[e] || own[entityOf(e)] })
		if at >= 0 && len(u.Watchers) < maxWatchers {
			s.Resources = s.Resources[at : at+1] // the others are not about this user
			u.Watchers = append(u.Watchers, s)
		}
	}
	for _, cl := range server.Clients() {
		if cl.User == u.ID {
			u.Clients = append(u.Clients, cl)
		}
	}
	for _, p := range server.Publications() {
		if p.Presentity == u.ID {
			u.Publications = append(u.Publications, p)
		}
	}
	writeJSON(w, http.StatusOK, u)
	return nil
}

// getSummary is GET /v1/summary: how many there are of what.
func (c *Console) getSummary(w http.ResponseWriter, _ *http.Request) error {
	statuses := make(map[consolidation.Status]int)
	for _, u := range c.cfg.Server.Users() {
		statuses[u.Status]++
	}
	s := c.cfg.Server.Stats()
	writeJSON(w, http.StatusOK, map[string]any{
		"statuses": statuses, "subscriptions": s.Subscriptions, "watches": s.Watches,
		"max_watches": c.cfg.Server.MaxSubscriptions(), "clients": s.Clients,
		"publications": s.Publications, "pending": s.Pending, "notifies_under_way": s.UnderWay,
		"listeners": c.cfg.Stream.Listeners(),
		"nodes":     c.cfg.Nodes != nil, // there is /v1/nodes
	})
	return nil
}
