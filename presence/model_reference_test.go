package presence_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/sipx"
)

// reference is a presence server without a network, concurrency or speed: it is
// told, one after another, what reached the real one, and says what that must
// have answered and what its watchers must be shown. Its values are copied on
// write, so that clone is cheap.
type reference struct {
	now     time.Time
	said    int                        // how often anything was published
	share   int                        // of watches by the account of all telephones
	entries map[string]directory.Entry // by ID
	ids     map[directory.Address]string

	users     map[string]refUser // by ID, or "?" and the address where it has no entry
	clients   map[refEndpoint]refClient
	dialogs   map[string]refDialog // by the server's tag
	lines     map[string]refLine
	calendars map[string][]aa.Appointment
	externals map[string]refExternal
}

type refUser struct {
	pubs []refPub // the one changed last stands last
}

type refOwn struct {
	status  aa.Status
	meaning string
	note    string
	act     string // of a Standard publication: the activity, as published
	at      int    // the larger the newer
}

type refPub struct {
	etag     string
	shared   bool
	own      refOwn
	services string
	tuples   int
	expires  time.Time
	callID   string
	cseq     uint32
	match    string
	set      time.Time
}

// refEndpoint is a Contact, and the From of an AMCC.
type refEndpoint struct{ contact, from string }

type refClient struct {
	user       string
	alive      bool // has an own subscription or a publication
	amcc       bool
	dialogs    []string
	generation int
	services   string
	published  time.Time
	out        bool // it published "signed out" (BSP-4.3-3)
	started    bool // has published a document since it opened its own subscription
}

type refDialog struct {
	callID, remoteTag string
	standard, list    bool
	fetch             bool // it has ended when everything was shown
	watches           []refWatch
	client            refEndpoint
	from              directory.Address
	serial            int // in the order in which they were opened
	hasClient, own    bool
	judged            bool // whether it is
	generation        int
	expires           time.Time
	seq               uint32
	conn              uint64
	detached          bool      // its connection ended with the process
	grace             time.Time // … and until then it may come back
	state             refState
	reason            string // of its last NOTIFY
	endedAt           time.Time
}

type refState int

const (
	refLive  refState = iota
	refEnded          // a last NOTIFY is due
	refGone           // its watcher cannot be reached
)

type refWatch struct {
	entity  string
	address directory.Address
	user    string // key of refUser
}

type refLine struct {
	state   aa.LineState
	forward string
	until   time.Time
}

type refExternal struct {
	status                 aa.Status
	text, forward, talking string
	until                  time.Time
}

// exchange is a request that the server answered.
type exchange struct {
	req    *sipx.Request
	res    *sipx.Response
	failed map[directory.Address]bool // look-ups that were not answered
}

// asked names a document that a watcher asked for, so that it may be as before;
// an empty entity stands for all of the dialog. due tells that it must be sent.
type asked struct {
	tag, entity string
	due         bool
}

const (
	refMin        = 60 * time.Second
	refMax        = 300 * time.Second
	refMaxPublish = 3600 * time.Second
	refGrace      = 60 * time.Second
	refServices   = "gam" // of a client that says nothing of its services
)

func newReference(entries []directory.Entry, share int) *reference {
	r := &reference{now: time.Now(), share: share, entries: map[string]directory.Entry{}, ids: map[directory.Address]string{},
		users: map[string]refUser{}, clients: map[refEndpoint]refClient{}, dialogs: map[string]refDialog{},
		lines: map[string]refLine{}, calendars: map[string][]aa.Appointment{}, externals: map[string]refExternal{}}
	for _, e := range entries {
		r.entries[e.ID] = e
		for _, a := range e.SIP {
			r.ids[directory.Address{Scheme: "sip", Value: a}] = e.ID
		}
		for _, a := range e.Tel {
			r.ids[directory.Address{Scheme: "tel", Value: a}] = e.ID
		}
	}
	return r
}

func (r *reference) clone() *reference {
	c := *r
	c.users, c.clients, c.dialogs = maps.Clone(r.users), maps.Clone(r.clients), maps.Clone(r.dialogs)
	return &c
}

// key tells references apart: two with the same one say the same of all that follows.
func (r *reference) key() string {
	users, dialogs := maps.Clone(r.users), maps.Clone(r.dialogs)
	for id, u := range users {
		u.pubs = slices.Clone(u.pubs)
		for i := range u.pubs {
			older := func(p refPub) bool { return p.own.at < r.users[id].pubs[i].own.at }
			u.pubs[i].own.at = len(slices.DeleteFunc(slices.Clone(r.users[id].pubs), func(p refPub) bool { return !older(p) }))
		}
		users[id] = u
	}
	for tag, d := range dialogs {
		d.serial = 0 // those of a client stand in their order there
		dialogs[tag] = d
	}
	return fmt.Sprint(users, r.clients, dialogs)
}

// next returns the next moment until t at which something may change by itself,
// else t.
func (r *reference) next(t time.Time) time.Time {
	due := func(at time.Time) {
		if at.After(r.now) && at.Before(t) {
			t = at
		}
	}
	for _, d := range r.dialogs {
		if d.state == refLive {
			due(d.expires)
			if d.detached {
				due(d.grace)
			}
		}
	}
	for _, c := range r.clients {
		due(c.published)
	}
	for _, u := range r.users {
		for _, p := range u.pubs {
			due(p.expires)
		}
	}
	for _, l := range r.lines {
		due(l.until)
	}
	for _, e := range r.externals {
		due(e.until)
	}
	for _, list := range r.calendars {
		for _, a := range list {
			due(a.From)
			due(a.End)
		}
	}
	return t
}

// advance lets time pass: what expires until t does, in order.
func (r *reference) advance(t time.Time) {
	for {
		var at time.Time
		var do func()
		due := func(when time.Time, f func()) {
			if !when.IsZero() && !when.After(t) && (do == nil || when.Before(at)) {
				at, do = when, f
			}
		}
		for tag, d := range r.dialogs {
			switch {
			case d.state != refLive:
			case d.detached && d.grace.Before(d.expires):
				due(d.grace, func() { r.lost(tag, false) })
			default:
				due(d.expires, func() { r.finish(tag) })
			}
		}
		for key, c := range r.clients {
			due(c.published, func() { r.published(key) })
		}
		for user, u := range r.users {
			for _, p := range u.pubs {
				due(p.expires, func() { r.withdraw(user, p.etag) })
			}
		}
		if do == nil {
			break
		}
		r.now = at
		do()
	}
	r.now = t
}

// apply takes an exchange and checks its response.
func (r *reference) apply(ex exchange) ([]asked, error) {
	status, etag, ask := 405, "", []asked(nil)
	switch ex.req.Method {
	case "SUBSCRIBE":
		status, ask = r.subscribe(ex)
	case "PUBLISH":
		status, etag, ask = r.publish(ex)
	}
	if ex.res.Status != status {
		return nil, fmt.Errorf("%s %s was answered %d %s, want %d", ex.req.Method, ex.req.CallID, ex.res.Status, ex.res.Reason, status)
	}
	if got := ex.res.Header.Get("SIP-ETag"); status == 200 && etag != "" && got != etag {
		return nil, fmt.Errorf("PUBLISH %s got the entity-tag %s, want %s", ex.req.CallID, got, etag)
	}
	return ask, nil
}

func refGranted(req *sipx.Request, most time.Duration) (d time.Duration, ok bool) {
	n, err := strconv.Atoi(req.Header.Get("Expires"))
	if err != nil {
		return most, true
	}
	d = time.Duration(n) * time.Second
	return min(d, most), d == 0 || d >= refMin
}

func isBluStar(req *sipx.Request) bool {
	return strings.Contains(req.Header.Get("User-Agent"), "BluStar")
}

func refContact(req *sipx.Request) string {
	a, err := sipx.ParseAddress(req.Header.Get("Contact"))
	if err != nil {
		return ""
	}
	a.URI.Params = ""
	return a.URI.String()
}

func refEndpointOf(req *sipx.Request) refEndpoint {
	at := refEndpoint{contact: refContact(req)}
	if strings.HasPrefix(at.contact, "sip:fmc@") {
		at.from = req.From.URI.String()
	}
	return at
}

// locate finds the user of an address as the directory had it.
func (r *reference) locate(uri string, ex exchange) (directory.Address, string) {
	a, err := directory.ParseAddress(uri)
	if err != nil {
		panic(err)
	}
	if id := r.ids[a]; id != "" && !ex.failed[a] {
		return a, id
	}
	return a, "?" + a.String()
}

func refURIs(req *sipx.Request) (uris []string, list bool) {
	if len(req.Body) == 0 {
		return []string{req.To.URI.String()}, false
	}
	lists, err := resourcelists.Decode(pidf.Decoder{}, req.Body)
	if err != nil {
		panic(err)
	}
	for e := range lists.All() {
		if !slices.Contains(uris, e.URI) {
			uris = append(uris, e.URI)
		}
	}
	return uris, true
}

// view is what watchers of a user must be shown.
func (r *reference) view(user string, standard bool) string {
	entry, ok := r.entries[user]
	if !ok {
		return viewOf(&viewed{activity: "unknown", blustar: "unknown", tuples: 4})
	}
	v := &viewed{tuples: 4, blustar: "unknown"}
	claims := map[string]bool{}
	u := r.users[user]
	alive := r.alive(user)
	var owns []refOwn
	blustar := ""
	for _, p := range slices.Backward(u.pubs) {
		if p.shared && !alive && p.own.status != aa.StatusSignedOut {
			continue // all its clients have signed out
		}
		owns = append(owns, p.own)
		if p.shared {
			blustar = string(cmp.Or(p.own.status, aa.StatusUnknown)) + "/" + p.own.note
		} else {
			v.open(p.services)
			if standard {
				v.tuples += p.tuples
			}
		}
	}
	if len(owns) == 0 && !alive { // BSP-2.4-8
		owns = append(owns, refOwn{status: aa.StatusSignedOut, meaning: "signed out"})
	}
	slices.SortStableFunc(owns, func(a, b refOwn) int { return b.at - a.at })
	switch {
	case alive: // BSP-3.2-8: that of a BluStar client alone
		v.blustar = cmp.Or(blustar, v.blustar)
	case len(owns) > 0:
		v.blustar = string(owns[0].status) + "/" + owns[0].note
	}
	newest := slices.Clone(owns)
	for _, o := range owns {
		claims[o.meaning] = true
	}
	slices.SortStableFunc(owns, func(a, b refOwn) int { return ruleOf(a.meaning) - ruleOf(b.meaning) })
	for _, o := range owns {
		v.note = cmp.Or(v.note, o.note)
	}
	for _, c := range r.clients {
		if c.user == user && c.alive && !c.out {
			v.open(c.services)
		}
	}
	for _, dn := range entry.Lines {
		l := r.lines[dn]
		if l.state == "" || !l.until.IsZero() && !l.until.After(r.now) {
			l = refLine{state: aa.LineUnknown}
		}
		claims["call"] = claims["call"] || l.state == aa.LineBusy
		v.lines = append(v.lines, fmt.Sprintf("%s=%s>%s", dn, l.state, l.forward))
	}
	calendar := slices.Clone(r.calendars[strings.ToLower(entry.Mail)])
	slices.SortStableFunc(calendar, func(a, b aa.Appointment) int { return a.From.Compare(b.From) })
	for _, a := range calendar {
		running := !a.From.After(r.now) && a.End.After(r.now)
		if running { // BSP-3.2-5
			if a.Private {
				a.Subject = ""
			}
			v.calendar = append(v.calendar, fmt.Sprintf("%s=%s/%s", a.ID, a.State, a.Subject))
		}
		claims["meeting"] = claims["meeting"] || running && a.State == aa.CalendarBusy
	}
	if e, ok := r.externals[user]; ok && (e.until.IsZero() || e.until.After(r.now)) {
		v.external = fmt.Sprintf("%s/%s/%s/%s", cmp.Or(e.status, aa.StatusUnknown), e.text, e.forward, e.talking)
		claims[string(e.status)] = true
		claims["call"] = claims["call"] || e.talking == "on-the-phone"
	}
	for _, row := range refRules {
		if claims[row[0]] || row[0] == "" {
			v.activity, v.note = row[1], cmp.Or(v.note, row[2])
			if !standard && (row[1] == "away" || row[1] == "other") {
				v.activity = "busy" // BSP-3.2-7
			}
			won := func(o refOwn) bool { return o.act != "" && o.meaning == row[0] }
			if i := slices.IndexFunc(newest, won); standard && i >= 0 {
				v.activity, v.note = newest[i].act, "" // BSX-6: as published
			}
			break
		}
	}
	return viewOf(v)
}

// refRules are BSP-3.2-3: what a claim means, the activity and the note.
var refRules = [][3]string{
	{"do not disturb", "unavailable", "Unavailable"}, {"call", "busy", "In a call"}, {"meeting", "busy", "In a meeting"},
	{"busy", "busy", "Busy"}, {"away", "away", "Away"}, {"inactive", "away", "Inactive"}, {"be right back", "away", "Be right back"},
	{"other", "other", "Other"}, {"available", "available", "Available"}, {"signed out", "signed out", "Signed out"}, {"", "unknown", ""},
}

// ruleOf is the place of a meaning in refRules.
func ruleOf(meaning string) int {
	i := slices.IndexFunc(refRules, func(row [3]string) bool { return row[0] == meaning })
	if i < 0 {
		return len(refRules)
	}
	return i
}
