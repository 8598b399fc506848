package presence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// tap stands between a server and everything else, and notes what passes: the
// model judges that, not what the network made of it.
type tap struct {
	server   atomic.Pointer[presence.Server]
	sender   sipx.Sender
	dir      directory.Directory
	store    modelStore
	down     atomic.Bool // the directory
	leaving  atomic.Bool // the server shuts down: it refuses requests
	deaf     atomic.Bool // nothing leaves: the process has crashed
	finished atomic.Bool // what passes is not judged any more

	mu     sync.Mutex
	events []event
}

// event is one thing that passed.
type event struct {
	at   time.Time
	kind eventKind
	exchange
	notify  *sipx.Request
	err     error
	conn    uint64
	address directory.Address
}

type eventKind int

const (
	exchanged    eventKind = iota // a request was answered
	notifySent                    // a NOTIFY leaves
	notifyDone                    // … has its outcome
	connLost                      // a connection is gone
	foundAddress                  // the directory answered a look-up that was tried again
)

func (t *tap) note(e event) {
	if t.finished.Load() {
		return
	}
	e.at = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

func (t *tap) take() []event {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.events
	t.events = nil
	return list
}

// ServeSIP implements sipx.Handler.
func (t *tap) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	switch {
	case t.deaf.Load():
		return
	case t.leaving.Load():
		t.server.Load().ServeSIP(ctx, w, req)
		return
	}
	call := &tapped{ResponseWriter: w, tap: t, exchange: exchange{req: req, failed: map[directory.Address]bool{}}}
	t.server.Load().ServeSIP(context.WithValue(ctx, tapKey{}, call), call, req)
}

func (t *tap) FlowClosed(f sipx.Flow) {
	t.note(event{kind: connLost, conn: f.Conn})
	t.server.Load().FlowClosed(f)
}

type tapKey struct{}

type tapped struct {
	sipx.ResponseWriter
	tap *tap
	exchange
}

func (c *tapped) Respond(res *sipx.Response) error {
	err := c.ResponseWriter.Respond(res)
	c.res = res
	c.tap.note(event{kind: exchanged, exchange: c.exchange})
	return err
}

// Send implements sipx.Sender.
func (t *tap) Send(req *sipx.Request, done sipx.ResponseHandler) {
	if t.deaf.Load() {
		done.HandleResponse(req, nil, sipx.ErrStackClosed)
		return
	}
	kept := copyOf(req)
	t.note(event{kind: notifySent, notify: kept})
	t.sender.Send(req, sipx.ResponseHandlerFunc(func(req *sipx.Request, res *sipx.Response, err error) {
		t.note(event{kind: notifyDone, notify: kept, exchange: exchange{res: res}, err: err})
		done.HandleResponse(req, res, err)
	}))
}

func (t *tap) Contact(f sipx.Flow) string { return t.sender.Contact(f) }

// modelStore is the store as one process has it.
type modelStore struct {
	*presence.MemoryStore
	cut atomic.Bool // the process has crashed
}

func (s *modelStore) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	if s.cut.Load() {
		return nil, errStoreCut
	}
	return s.MemoryStore.Apply(ctx, batch)
}

var errStoreCut = errors.New("the process is gone")

var errDirectoryDown = errors.New("the directory is down")

// Lookup implements directory.Directory.
func (t *tap) Lookup(ctx context.Context, a directory.Address) (directory.Entry, error) {
	call, asked := ctx.Value(tapKey{}).(*tapped)
	switch {
	case asked && call == nil: // the model itself
	case t.down.Load():
		if asked {
			call.failed[a] = true
		}
		return directory.Entry{}, errDirectoryDown
	}
	e, err := t.dir.Lookup(ctx, a)
	if !asked && err == nil {
		t.note(event{kind: foundAddress, address: a})
	}
	return e, err
}

// tracker follows the NOTIFYs of one dialog as the server sent them.
type tracker struct {
	cseq        uint32
	started     bool // another process speaks: the next CSeq is any that is larger
	underWay    int
	final       string // Subscription-State of the last
	unreachable bool
	answered    time.Time              // when a NOTIFY was last answered
	full        time.Time              // when everything was last to be shown, or will be
	postponed   bool                   // … which is later than it was asked for
	shown       map[string]*trackedDoc // by entity
}

type trackedDoc struct {
	doc      *pidf.Presence // last sent
	view     string
	sentAt   time.Time
	acked    bool // … and answered 2xx
	underWay bool
	asked    bool // the next may show the same
	due      bool // the next must come
}

// waits reports whether a NOTIFY has no answer yet, or was refused for now: then
// the whole dialog pauses.
func (t *tracker) waits() bool {
	for _, d := range t.shown {
		if !d.acked {
			return true
		}
	}
	return false
}

func newTracker() *tracker { return &tracker{shown: map[string]*trackedDoc{}} }

// restarted notes that the process that sent what is under way is gone: another sends
// it again, where nobody has acknowledged it. A list of RLMI begins anew.
func (t *tracker) restarted(full bool) {
	t.started, t.underWay, t.full, t.postponed, t.answered = true, 0, time.Time{}, false, time.Time{}
	for _, d := range t.shown {
		d.underWay, d.due, d.asked = false, false, full || !d.acked
	}
}

// ask notes that documents were asked for.
func (t *tracker) ask(a asked) {
	for entity, d := range t.shown {
		if a.entity == "" || a.entity == entity {
			d.asked, d.due = true, d.due || a.due
		}
	}
}

// outdated notes that documents may have changed while they are under way.
func (t *tracker) outdated() {
	for _, d := range t.shown {
		d.asked = d.asked || t.underWay > 0
	}
}

// documents returns what a NOTIFY shows.
func documents(req *sipx.Request) ([]*pidf.Presence, error) {
	media := req.Header.Get("Content-Type")
	if len(req.Body) == 0 {
		return nil, nil
	}
	if !strings.HasPrefix(media, "multipart/related") {
		doc, err := aa.Decode(req.Body)
		return []*pidf.Presence{doc}, err
	}
	message, err := related.Decode(pidf.Decoder{}, media, req.Body)
	if err != nil {
		return nil, err
	}
	var docs []*pidf.Presence
	for _, p := range message.Parts {
		doc, err := aa.Decode(p.Body)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// sent checks a NOTIFY as it leaves (BSP-4-2, BSP-4-4, BSX-3).
func (t *tracker) sent(req *sipx.Request, at time.Time) error {
	state := req.Header.Get("Subscription-State")
	if t.final != "" {
		return fmt.Errorf("NOTIFY %d follows the last one", req.CSeq)
	}
	if req.CSeq != t.cseq+1 && !(t.started && req.CSeq > t.cseq) {
		return fmt.Errorf("NOTIFY %d follows NOTIFY %d", req.CSeq, t.cseq)
	}
	t.cseq, t.started = req.CSeq, false
	docs, err := documents(req)
	if err != nil {
		return err
	}
	if t.underWay++; t.answered.IsZero() && t.underWay > 1 || t.underWay > 3 && req.Flow.Conn == 0 { // BSX-9
		return fmt.Errorf("NOTIFY %d is one of %d under way", req.CSeq, t.underWay)
	}
	if strings.HasPrefix(state, "terminated") {
		t.final = state
		if t.underWay > 1 {
			return fmt.Errorf("the last NOTIFY %d does not wait for others", req.CSeq)
		}
		return nil
	}
	for _, doc := range docs {
		d := t.shown[doc.Entity]
		if d == nil {
			d = &trackedDoc{}
			t.shown[doc.Entity] = d
		}
		if d.underWay {
			return fmt.Errorf("two NOTIFYs of %s are under way", doc.Entity)
		}
		again := t.postponed && !at.Before(t.full)
		if d.acked && !d.asked && !again && pidf.Equal(d.doc, doc) {
			return fmt.Errorf("NOTIFY %d shows %s as it was:\n  %s\n  %s", req.CSeq, doc.Entity, d.view, seen(doc))
		}
		*d = trackedDoc{doc: doc, view: seen(doc), sentAt: at, underWay: true}
	}
	return nil
}

// done takes an outcome. It reports whether the watcher knows the dialog no
// longer, or did not answer, and when that NOTIFY was sent.
func (t *tracker) done(req *sipx.Request, res *sipx.Response, err error) (gone, silent bool, sentAt time.Time) {
	t.underWay--
	if docs, bad := documents(req); bad == nil {
		for _, doc := range docs {
			if d := t.shown[doc.Entity]; d != nil && t.final == "" {
				d.underWay, d.acked = false, err == nil && res.Status < 300
				sentAt = d.sentAt
			}
		}
	}
	silent = errors.Is(err, sipx.ErrTimeout)
	return errors.Is(err, sipx.ErrFlowClosed) || err == nil && res.Status == 481, silent, sentAt
}
