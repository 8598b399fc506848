package presence

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unique"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// Kinds of records. A value is JSON: names may be added, and are left out by those who
// do not know them; recordFormat rises when what there is means something else.
const (
	kindRun         = "run"         // counts the processes; there is one
	kindPublication = "publication" // what was published, forwardings included
	kindClient      = "client"
	kindDialog      = "dialog" // what seldom changes of a dialog
	kindTurn        = "turn"   // what changes with each refresh and NOTIFY
	kindLine        = "line"
	kindCalendar    = "calendar"
	kindExternal    = "external"
	kindSession     = "session" // of auth
)

// recordFormat is the version of all records. A store of a newer one is not read.
const recordFormat = 1

// fades reports whether the records of a kind are worth nothing after the longest
// lifetime of a request.
func fades(kind string) bool {
	switch kind {
	case kindPublication, kindClient, kindDialog, kindTurn, kindSession:
		return true
	}
	return false
}

// value writes a record down.
func value(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("presence: a record that cannot be written: %v", err)) // they are plain values
	}
	return b
}

// runRecord counts the processes that have worked with a store.
type runRecord struct {
	Format int    `json:"format"`
	Run    uint32 `json:"run"`
}

const runKey = "server"

// publicationRecord is a [publication.Contribution].
type publicationRecord struct {
	Presentity string           `json:"presentity"`
	Address    string           `json:"address"`
	ETag       string           `json:"etag"`
	Rule       publication.Rule `json:"rule"`
	Owner      string           `json:"owner"`
	Received   time.Time        `json:"received"`
	Expires    time.Time        `json:"expires"`
	Number     uint64           `json:"number"`
	Status     aa.Status        `json:"status,omitempty"`
	Note       string           `json:"note,omitempty"`
	Timestamp  time.Time        `json:"timestamp,omitzero"`
	Body       []byte           `json:"body,omitempty"`
	Target     string           `json:"target,omitempty"`
	CallID     string           `json:"call_id,omitempty"`
	CSeq       uint32           `json:"cseq,omitempty"`
}

// publicationEntry names one contribution.
type publicationEntry struct {
	presentity string
	number     uint64
}

func (e publicationEntry) record(s *Server) Write {
	w := Write{Kind: kindPublication, Key: e.presentity + "/" + strconv.FormatUint(e.number, 10)}
	for _, c := range s.publications.Of(e.presentity) {
		if c.Number != e.number {
			continue
		}
		w.Value = value(publicationRecord{
			c.Presentity, c.Address, c.ETag, c.Rule, c.Owner, c.Received, c.Expires, c.Number,
			c.Status, c.Note, c.Timestamp, c.Body, c.Target, c.CallID, c.CSeq,
		})
		if c.Rule != publication.Forwarding { // the controller has to be told of its end
			w.Expires = c.Expires
		}
	}
	return w
}

func (r *publicationRecord) contribution() publication.Contribution {
	return publication.Contribution{
		Presentity: r.Presentity, Address: r.Address, ETag: r.ETag, Rule: r.Rule, Owner: r.Owner, Received: r.Received, Expires: r.Expires,
		Number: r.Number, Status: r.Status, Note: r.Note, Timestamp: r.Timestamp, Body: r.Body, Target: r.Target, CallID: r.CallID, CSeq: r.CSeq,
	}
}

// clientRecord is a client.
type clientRecord struct {
	Key        string                 `json:"key"`
	User       string                 `json:"user"`
	Account    string                 `json:"account,omitempty"`
	ID         []byte                 `json:"id,omitempty"` // of a directory: any bytes
	DN         string                 `json:"dn,omitempty"`
	Controller bool                   `json:"controller,omitempty"` // the account is that of an AMCC
	AMCC       bool                   `json:"amcc,omitempty"`
	UserAgent  string                 `json:"user_agent,omitempty"`
	Since      time.Time              `json:"since"`
	Services   consolidation.Services `json:"services"`
	Out        bool                   `json:"out,omitempty"`
	Spoken     bool                   `json:"spoken,omitempty"`
	Published  time.Time              `json:"published,omitzero"`
	Generation int32                  `json:"generation,omitempty"`
}

// clientEntry names one client.
type clientEntry string

func (e clientEntry) record(s *Server) Write {
	sum := sha256.Sum256([]byte(e)) // of any length
	w := Write{Kind: kindClient, Key: base64.RawURLEncoding.EncodeToString(sum[:])}
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	if c := s.clients.m[clientKey(e)]; c != nil {
		id := c.identity()
		w.Value = value(clientRecord{
			string(c.key), c.user, id.Account, []byte(id.ID), id.DN, id.AMCC, c.amcc, c.userAgent.Value(), time.Unix(0, c.since),
			c.services, c.out, c.spoken, unixTime(c.published), c.generation,
		})
	}
	return w
}

func (r *clientRecord) client() *client {
	c := &client{
		key: clientKey(r.Key), user: r.User, amcc: r.AMCC, userAgent: unique.Make(r.UserAgent), since: r.Since.UnixNano(),
		services: r.Services, out: r.Out, spoken: r.Spoken, generation: r.Generation,
	}
	if id := (auth.Identity{Account: r.Account, ID: string(r.ID), DN: r.DN, AMCC: r.Controller}); !id.IsZero() {
		c.id = &id
	}
	if !r.Published.IsZero() {
		c.published = r.Published.UnixNano()
	}
	return c
}

// dialogRecord is what seldom changes of a dialog.
type dialogRecord struct {
	Serial     uint64       `json:"serial"`
	Tag        string       `json:"tag"`
	RemoteTag  string       `json:"remote_tag"`
	CallID     string       `json:"call_id"`
	Local      string       `json:"local"`
	Remote     string       `json:"remote"`
	Routes     []string     `json:"routes,omitempty"`
	Event      string       `json:"event"`
	Dialect    string       `json:"dialect"`
	List       bool         `json:"list,omitempty"`
	Entities   []string     `json:"entities"`
	Account    string       `json:"account,omitempty"`
	Source     netip.Prefix `json:"source,omitzero"`
	Client     string       `json:"client,omitempty"` // its key, where it is one's
	Own        bool         `json:"own,omitempty"`
	Judged     bool         `json:"judged,omitempty"`
	Generation int32        `json:"generation,omitempty"`
}

// turnRecord is the rest.
type turnRecord struct {
	Run       uint32         `json:"run"` // which wrote it
	Target    string         `json:"target"`
	Transport string         `json:"transport"`
	From      netip.AddrPort `json:"from,omitzero"` // our address
	To        netip.AddrPort `json:"to,omitzero"`
	Expires   time.Time      `json:"expires"`
	RemoteSeq uint32         `json:"remote_seq"`
	LocalSeq  uint32         `json:"local_seq"`
	Digests   []byte         `json:"digests"` // 8 bytes each
}

// dialogKey has dialogs lie together that were opened, and so are refreshed, together.
func dialogKey(serial uint64) string { return fmt.Sprintf("%012x", serial) }

// wholeEntry and turnEntry are a dialog.
type (
	wholeEntry subscription.Dialog
	turnEntry  subscription.Dialog
)

func (e *wholeEntry) record(s *Server) Write {
	d := (*subscription.Dialog)(e)
	w := Write{Kind: kindDialog, Key: dialogKey(d.Serial())}
	r, live := d.Record()
	if !live {
		return w
	}
	v := dialogRecord{
		Serial: r.Serial, Tag: r.Tag, RemoteTag: r.RemoteTag, CallID: r.CallID, Local: r.Local, Remote: r.Remote, Routes: r.Routes,
		Event: r.Event, Dialect: dialectOfDialog(d).Name, List: r.List, Entities: r.Entities, Account: r.Account, Source: r.Source,
	}
	if m, ok := d.Data.(*member); ok && m.client != nil {
		s.clients.mu.Lock()
		v.Client, v.Own, v.Judged, v.Generation = string(m.client.key), m.own, m.judged, m.generation
		s.clients.mu.Unlock()
	}
	w.Value = value(v)
	return w
}

func (e *turnEntry) record(s *Server) Write {
	d := (*subscription.Dialog)(e)
	w := Write{Kind: kindTurn, Key: dialogKey(d.Serial())}
	if t, live := d.Turn(); live {
		digests := make([]byte, 0, 8*len(t.Digests))
		for _, n := range t.Digests {
			digests = binary.BigEndian.AppendUint64(digests, n)
		}
		w.Value = value(turnRecord{s.run, t.Target, t.Flow.Transport, t.Flow.Local, t.Flow.Remote, t.Expires, t.RemoteSeq, t.LocalSeq, digests})
		w.Expires = t.Expires
	}
	return w
}

func (r *dialogRecord) subscription(t *turnRecord) subscription.Record {
	digests := make([]uint64, len(t.Digests)/8)
	for i := range digests {
		digests[i] = binary.BigEndian.Uint64(t.Digests[8*i:])
	}
	return subscription.Record{
		Serial: r.Serial, Tag: r.Tag, RemoteTag: r.RemoteTag, CallID: r.CallID, Local: r.Local, Remote: r.Remote, Routes: r.Routes,
		Event: r.Event, List: r.List, Entities: r.Entities, Account: r.Account, Source: r.Source,
		Turn: subscription.Turn{
			Target: t.Target, Flow: sipx.Flow{Transport: t.Transport, Local: t.From, Remote: t.To}, Expires: t.Expires,
			RemoteSeq: t.RemoteSeq, LocalSeq: t.LocalSeq, Digests: digests,
		},
	}
}

// sourceRecord is a value of a line, a calendar or an external user.
type sourceRecord[V any] struct {
	Value    V            `json:"value"`
	Owner    source.Owner `json:"owner"`
	Received time.Time    `json:"received"`
	Changed  time.Time    `json:"changed"`
	Expires  time.Time    `json:"expires,omitzero"`
}

// sourceEntry names one of them.
type sourceEntry struct{ kind, key string }

func (e sourceEntry) record(s *Server) Write {
	w := Write{Kind: e.kind, Key: e.key}
	switch e.kind {
	case kindLine:
		w.Value, w.Expires = sourceValue(s.lines, e.key)
	case kindCalendar:
		w.Value, w.Expires = sourceValue(s.calendars, e.key)
	case kindExternal:
		w.Value, w.Expires = sourceValue(s.externals, e.key)
	}
	return w
}

func sourceValue[V any](t *source.Table[V], key string) ([]byte, time.Time) {
	v, known := t.Get(key)
	if !known {
		return nil, time.Time{}
	}
	return value(sourceRecord[V]{v.Value, v.Owner, v.Received.Round(0), v.Changed.Round(0), v.Expires.Round(0)}), v.Expires
}

// KeepSession writes a session of the guard to the store, or its end. It is for
// [auth.Config.KeepSession]; [Server.Restore] gives the sessions back to a Guard that has
// RestoreSession, as [*auth.Guard] does. Without a store it does nothing. It does not
// block, and is safe for concurrent use.
func (s *Server) KeepSession(r auth.SessionRecord) {
	if s.journal == nil {
		return
	}
	s.journal.mu.Lock()
	s.journal.sessions[r.Key] = r
	s.journal.mu.Unlock()
	s.journal.mark(sessionEntry(r.Key))
}

// sessionEntry names a session.
type sessionEntry string

func (e sessionEntry) record(s *Server) Write {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	r := s.journal.sessions[string(e)]
	w := Write{Kind: kindSession, Key: string(e)}
	if !r.Expires.IsZero() {
		w.Value, w.Expires = r.Value, r.Expires
	}
	return w
}

// sessionRestorer is a [Guard] that takes sessions back.
type sessionRestorer interface {
	RestoreSession(auth.SessionRecord) error
}

var _ sessionRestorer = (*auth.Guard)(nil)
