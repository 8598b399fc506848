package presence

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/openblustar/blustar/auth"
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

// sharedKinds are the kinds of records that every node has in memory. A node knows only its own
// dialogs, until it becomes the heir of another node.
var sharedKinds = []string{kindAsked, kindPublication, kindClient, kindLine, kindCalendar, kindExternal, kindSession, kindFailures, KindHeir}

// ref names something that has a record. It is the key of a map. It is asked for its record when
// that is written, not when it changes.
type ref interface {
	// record returns what is to be written now, which it may write on the sheet. It is called without a
	// lock held.
	record(s *Server, on *sheet) Write
}

// sheet is where records are written, and memory that is used again for each of them.
type sheet struct {
	flat
	dialog  dialogRecord
	clients []publisher
}

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

// sessionRef names a session.
type sessionRef string

var _ sessionRestorer = (*auth.Guard)(nil)

// countRef is a record of [auth.Count], which the guard writes itself.
type countRef string

// askedRef is a source that is watched at a node.
type askedRef struct {
	source sourceRef
	node   string
}

type askedRecord struct {
	Kind string `json:"kind"`
	Key  string `json:"key"`
}
