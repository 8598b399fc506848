package presence

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"
	"unique"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
)

// Kinds of records. Kinds of which there are many are [flat], the others are JSON. To both one may
// add fields: a program that does not know them passes them over. When a field gets another
// meaning, recordFormat rises.
const (
	kindRun         = "run"         // counts the processes; there is one
	kindPublication = "publication" // what was published, forwardings included
	kindClient      = "client"
	kindDialog      = "dialog" // all of a dialog
	kindTurn        = "turn"   // what changes of several dialogs with each refresh and NOTIFY; the newest counts
	kindLine        = "line"
	kindCalendar    = "calendar"
	kindExternal    = "external"
	kindSession     = "session"  // of auth
	kindFailures    = "failures" // of auth, where there are several nodes
	kindLeft        = "left"     // of several nodes: one that has shut down in order
	kindAsked       = "asked"    // of several nodes: where a source is watched; sorts before the values
)

// recordFormat is the version of all records. A store of another version is not read.
const recordFormat = 4

// fadingKinds are the records that are worth nothing after the longest lifetime of a request.
var fadingKinds = []string{kindPublication, kindClient, kindDialog, kindTurn, kindSession}

// asJSON writes a record down as JSON.
func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("presence: a record that cannot be written: " + err.Error()) // they are plain values
	}
	return b
}

// runRecord counts the processes that have worked with a store.
type runRecord struct {
	Format int    `json:"format"`
	Run    uint32 `json:"run"`
}

const runKey = "server"

// publicationRecord is a [publication.Contribution]. The one by the Shared rule tells, too, until
// when each client of the user has published. So a PUBLISH that only prolongs that is one record.
type publicationRecord struct {
	publication.Contribution
	clients []publisher
}

// publisher is a client that has published.
type publisher struct {
	clientRef
	until int64 // Unix time in nanoseconds
}

func (r *publicationRecord) fields(f *flat) {
	c := &r.Contribution
	str(f, &c.Presentity)
	str(f, &c.Address)
	str(f, &c.ETag)
	number(f, &c.Rule)
	str(f, &c.Owner)
	f.time(&c.Received)
	f.time(&c.Expires)
	f.uint(&c.Number)
	str(f, &c.Status)
	str(f, &c.Note)
	f.time(&c.Timestamp)
	str(f, &c.Body)
	str(f, &c.Target)
	str(f, &c.CallID)
	number(f, &c.CSeq)
	if n := f.count(len(r.clients), 3); f.reading && n > 0 {
		r.clients = make([]publisher, n)
	}
	for i := range r.clients {
		p := &r.clients[i]
		str(f, &p.key)
		number(f, &p.since)
		number(f, &p.until)
	}
	str(f, &c.IfMatch)
}

// publicationRef names one contribution.
type publicationRef struct {
	presentity string
	number     uint64
}

// record implements [ref]. Publications lie in the order of their age: those that were made
// together are refreshed together.
func (e publicationRef) record(s *Server, f *flat) Write {
	w := Write{Kind: kindPublication, Key: serialKey(e.number), Conditional: s.cluster != nil} // another node may have refreshed it
	for _, c := range s.publications.Of(e.presentity) {
		if c.Number != e.number {
			continue
		}
		r := publicationRecord{*c, f.clients[:0]}
		if c.Rule == publication.Shared {
			r.clients = s.clients.publishers(r.clients, e.presentity)
		}
		f.clients = r.clients
		r.Expires = deadline.Wall(c.Expires)
		r.fields(f)
		w.Value = f.record()
		w.Conditional = s.cluster != nil && c.Rule == publication.Separate // one wins with an entity-tag
		if c.Rule != publication.Forwarding {                              // the controller has to be told of its end
			w.Expires = r.Expires
		}
	}
	return w
}

// serialKey is the key of what has a number.
func serialKey(n uint64) string {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], n)
	return string(key[:])
}

// serialOf is the number of such a key.
func serialOf(key string) uint64 {
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// clientRecord is a client.
type clientRecord struct {
	key              clientKey
	user             string
	id               auth.Identity
	amcc             bool
	userAgent        string
	since, published time.Time
	services         consolidation.Services
	out, spoken      bool
	generation       int32
}

func (r *clientRecord) fields(f *flat) {
	str(f, &r.key)
	str(f, &r.user)
	str(f, &r.id.Account)
	str(f, &r.id.ID)
	str(f, &r.id.DN)
	f.flag(&r.id.AMCC, &r.amcc, &r.out, &r.spoken, &r.services.Global, &r.services.Audio, &r.services.Video, &r.services.Message)
	str(f, &r.userAgent)
	f.time(&r.since)
	f.time(&r.published)
	number(f, &r.generation)
}

// clientRef names one client, by what does not change in its life.
type clientRef struct {
	key   clientKey
	since int64
}

// record implements [ref]. Clients that have signed in together lie together.
func (e clientRef) record(s *Server, f *flat) Write {
	sum := sha256.Sum256([]byte(e.key)) // of any length
	w := Write{Kind: kindClient, Key: serialKey(uint64(e.since)) + string(sum[:8])}
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	switch c := s.clients.m[e.key]; {
	case c == nil || c.since != e.since:
	case c.node != "":
		return Write{} // it is that node's to write
	default:
		r := clientRecord{
			c.key, c.user, c.identity(), c.amcc, c.userAgent.Value(), time.Unix(0, c.since), c.publishedUntil(),
			c.services, c.out, c.spoken, c.generation,
		}
		r.fields(f)
		w.Value = f.record()
	}
	return w
}

func (r *clientRecord) client() *client {
	c := &client{
		key: r.key, user: r.user, amcc: r.amcc, userAgent: unique.Make(r.userAgent), since: r.since.UnixNano(),
		services: r.services, out: r.out, spoken: r.spoken, generation: r.generation,
	}
	if !r.id.IsZero() {
		c.id = &r.id
	}
	if !r.published.IsZero() {
		c.published = deadline.At(r.published)
	}
	return c
}

// dialogRecord is a dialog.
type dialogRecord struct {
	subscription.Record
	dialect     string
	client      clientKey // "" where it is nobody's
	own, judged bool
	generation  int32
	run         uint32 // which wrote it
}

func (r *dialogRecord) fields(f *flat) {
	f.uint(&r.Serial)
	str(f, &r.Tag)
	str(f, &r.RemoteTag)
	str(f, &r.CallID)
	f.uri(&r.Local)
	f.uri(&r.Remote)
	f.texts(&r.Routes)
	str(f, &r.Event)
	str(f, &r.Coding)
	f.flag(&r.List, &r.own, &r.judged)
	f.texts(&r.Entities)
	str(f, &r.Account)
	f.prefix(&r.Source)
	str(f, &r.dialect)
	str(f, &r.client)
	number(f, &r.generation)
	turn := turnRecord{Turn: r.Turn, run: r.run}
	turn.fields(f)
	r.Turn, r.run = turn.Turn, turn.run
}

// turnRecord is what changes of a dialog with each refresh and NOTIFY. It does not expire before
// its dialog: an older turn would count then.
type turnRecord struct {
	subscription.Turn
	run uint32
}

func (r *turnRecord) fields(f *flat) {
	number(f, &r.run)
	f.uri(&r.Target)
	str(f, &r.Flow.Transport)
	f.address(&r.Flow.Local)
	f.address(&r.Flow.Remote)
	f.time(&r.Expires)
	number(f, &r.RemoteSeq)
	number(f, &r.LocalSeq)
	if n := f.count(len(r.Digests), 8); f.reading {
		r.Digests = make([]uint64, n)
	}
	for i := range r.Digests {
		if f.reading {
			r.Digests[i] = binary.BigEndian.Uint64(f.next(8))
		} else {
			f.b = binary.BigEndian.AppendUint64(f.b, r.Digests[i])
		}
	}
}

// bundleRecord are the turns of several dialogs: those of one recordFormat have the same fields.
type bundleRecord []dialogTurn

type dialogTurn struct {
	serial uint64
	turnRecord
}

func (r *bundleRecord) fields(f *flat) {
	for f.reading && len(f.b) > 0 {
		var t dialogTurn
		t.fields(f)
		*r = append(*r, t)
	}
	if !f.reading {
		for i := range *r {
			(*r)[i].fields(f)
		}
	}
}

func (t *dialogTurn) fields(f *flat) {
	f.uint(&t.serial)
	t.turnRecord.fields(f)
}

// dialogRef is a dialog. Dialogs that were opened together lie together.
type dialogRef subscription.Dialog

func (e *dialogRef) record(s *Server, f *flat) Write {
	d := (*subscription.Dialog)(e)
	w := Write{Kind: kindDialog, Key: serialKey(d.Serial())}
	r := &f.dialog
	if !d.Record(&r.Record) {
		return w
	}
	r.dialect, r.client, r.own, r.judged, r.generation, r.run = dialectOfDialog(d).Name, "", false, false, 0, s.run.Load()
	if m, ok := d.Data.(*member); ok && m.client != nil {
		s.clients.mu.Lock()
		r.client, r.own, r.judged, r.generation = m.client.key, m.own, m.judged, m.generation
		s.clients.mu.Unlock()
	}
	r.fields(f)
	w.Value = f.record()
	return w
}

// sourceRecord is a value of a line, a calendar or an external user.
type sourceRecord[V any] struct {
	Value    V            `json:"value"`
	Owner    source.Owner `json:"owner"`
	Received time.Time    `json:"received"`
	Changed  time.Time    `json:"changed"`
	Expires  time.Time    `json:"expires,omitzero"`
}

// sourceRef names one of them.
type sourceRef struct{ kind, key string }

// record implements [ref]. Of several nodes the one that runs the monitor writes its value, and
// deletes it when it fades.
func (e sourceRef) record(s *Server, _ *flat) Write {
	w := Write{Kind: e.kind, Key: e.key}
	var owner source.Owner
	said := s.table(e.kind).Said(e.key)
	switch e.kind {
	case kindLine:
		w.Value, w.Expires, owner = sourceValue(s.lines, e.key)
	case kindCalendar:
		w.Value, w.Expires, owner = sourceValue(s.calendars, e.key)
	case kindExternal:
		w.Value, w.Expires, owner = sourceValue(s.externals, e.key)
	}
	if s.cluster != nil && owner == source.Monitored {
		if !said {
			return Write{}
		}
		w.Expires = time.Time{} // the node that runs the monitor sees to that
	}
	return w
}

func sourceValue[V any](t *source.Table[V], key string) ([]byte, time.Time, source.Owner) {
	v, known := t.Get(key)
	if !known {
		return nil, time.Time{}, ""
	}
	v.Expires = deadline.Wall(v.Expires)
	return asJSON(sourceRecord[V](v)), v.Expires, v.Owner
}

// KeepSession writes a session of the guard, or its end, to the store. It is for
// [auth.Config.KeepSession]. [Server.Restore] gives the sessions back to a Guard that has
// RestoreSession, as [*auth.Guard] does. Without a store KeepSession does nothing. It does not
// block, and is safe for concurrent use.
func (s *Server) KeepSession(r auth.SessionRecord) {
	if s.journal == nil {
		return
	}
	s.journal.mu.Lock()
	s.journal.sessions[r.Key] = r
	s.journal.mu.Unlock()
	s.journal.mark(sessionRef(r.Key))
}

// sessionRef names a session.
type sessionRef string

func (e sessionRef) record(s *Server, _ *flat) Write {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	r := s.journal.sessions[string(e)]
	w := Write{Kind: kindSession, Key: string(e)}
	if !r.Expires.IsZero() {
		w.Value, w.Expires = r.Value, r.Expires
	}
	return w
}

var _ sessionRestorer = (*auth.Guard)(nil)
