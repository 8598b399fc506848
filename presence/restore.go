package presence

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// ResumeSpread is the time, after [Server.Restore], over which the NOTIFYs are spread to those
// whose document has changed meanwhile. It takes longer only if the machine or the directory is
// slow.
const ResumeSpread = 10 * time.Second

const resumePace = 5 * time.Millisecond // between two NOTIFYs; less where there are many

// inventory is what was in the store.
type inventory struct {
	server       *Server
	run          runRecord
	revision     uint64 // of its record
	publications []publication.Contribution
	clients      []*clientRecord
	published    map[clientRef]int64 // until when, as the records of publications tell
	adopted      []*client           // clients that are in their place
	dialogs      map[string]*dialogRecord
	turns        map[string]newestTurn
	bundles      map[uint64]int // how many turns are in each
	values       []func() error // of sources
	sessions     []auth.SessionRecord
	lost         []recordKey // useless, to be deleted
	bad          int         // how many records could not be used
	first        error       // what is wrong with the first of them
	restored     []*subscription.Dialog
}

func newInventory(s *Server) inventory {
	return inventory{
		server: s, published: make(map[clientRef]int64), dialogs: make(map[string]*dialogRecord), turns: make(map[string]newestTurn),
		bundles: make(map[uint64]int),
	}
}

// newestTurn is the newest of the records that tell the turn of a dialog.
type newestTurn struct {
	*turnRecord
	revision uint64
	bundle   uint64 // 0 where it is the record of the dialog
}

// take reads one record. Only a store of another version is an error.
func (in *inventory) take(r Record) error {
	var err error
	switch r.Kind {
	case kindRun:
		if err := json.Unmarshal(r.Value, &in.run); err != nil {
			return fmt.Errorf("the store is not one of this program: %w", err)
		}
		if in.revision = r.Revision; in.run.Format != recordFormat {
			return fmt.Errorf("the store is of another version: %d; this program knows %d", in.run.Format, recordFormat)
		}
	case kindPublication:
		err = taken(r, func(v *publicationRecord) {
			in.publications = append(in.publications, v.Contribution)
			for _, p := range v.clients {
				in.published[p.clientRef] = p.until
			}
		})
	case kindClient:
		err = taken(r, func(v *clientRecord) { in.clients = append(in.clients, v) })
	case kindDialog:
		err = taken(r, func(v *dialogRecord) {
			in.dialogs[r.Key] = v
			in.turn(r.Key, newestTurn{&turnRecord{v.Turn, v.run}, r.Revision, 0})
		})
	case kindTurn:
		err = taken(r, func(v *bundleRecord) {
			number := serialOf(r.Key)
			in.bundles[number] = len(*v)
			for i := range *v {
				t := &(*v)[i]
				in.turn(serialKey(t.serial), newestTurn{&t.turnRecord, r.Revision, number})
			}
		})
	case kindSession:
		in.sessions = append(in.sessions, auth.SessionRecord{Key: r.Key, Value: bytes.Clone(r.Value), Expires: r.Expires})
	default:
		if t := in.server.sources[r.Kind]; t != nil {
			var restore func() error
			if restore, err = t.restored(r, in.server.cfg.Grace); err == nil {
				in.values = append(in.values, restore)
			}
		}
	}
	if err != nil {
		in.leaveOut(r.Kind, r.Key, err)
	}
	return nil
}

func (in *inventory) turn(key string, t newestTurn) {
	if t.revision > in.turns[key].revision {
		in.turns[key] = t
	}
}

func taken[V any, R flatRecord[V]](r Record, f func(*V)) error {
	v, err := readFlat[V, R](r.Value)
	if err == nil {
		f(&v)
	}
	return err
}

// leaveOut notes a record that cannot be used.
func (in *inventory) leaveOut(kind, key string, err error) {
	if in.bad++; in.bad == 1 {
		in.first = fmt.Errorf("%s %q: %w", kind, key, err)
	}
}

// warn logs that records were left out.
func (in *inventory) warn() {
	if in.bad > 0 {
		in.server.cfg.Logger.Warn("records of the store are left out", "records", in.bad, "first", in.first)
	}
}

// countRun writes down that one more process works with the store. That comes before anything is
// sent: each process has CSeqs of its own. Of two processes that begin at the same time, one
// fails.
func (s *Server) countRun(ctx context.Context, in *inventory) error {
	run := in.run.Run + 1
	revisions, err := s.cfg.Store.Apply(ctx, []Write{{
		Kind: kindRun, Key: runKey, Value: asJSON(runRecord{recordFormat, run}), Conditional: true, Revision: in.revision,
	}})
	if err != nil {
		return err
	}
	if revisions[0] == 0 {
		return errOtherProcess
	}
	in.revision = revisions[0]
	s.run.Store(run)
	return nil
}

var errOtherProcess = errors.New("another process has begun to use the store")

// begin begins a new run, with CSeqs, and numbers of dialogs and publications, that no other run
// has. Another node may do so at the same time.
func (c *cluster) begin(ctx context.Context, in *inventory) error {
	s := c.server
	for {
		if err := s.cfg.Store.Load(ctx, func(r Record) error {
			if r.Kind == kindRun {
				return in.take(r)
			}
			return nil
		}); err != nil {
			return err
		}
		if err := s.countRun(ctx, in); !errors.Is(err, errOtherProcess) {
			if err == nil {
				first := uint64(s.run.Load()) << 32
				s.registry.CountFrom(first)
				s.publications.CountFrom(first)
			}
			return err
		}
	}
}

// restore puts everything back in its place.
func (in *inventory) restore() {
	s := in.server
	longest := time.Now().Add(s.cfg.MaxPublishExpires) // the clock may have been turned back
	for i := range in.publications {
		c := in.publications[i]
		if c.Expires.After(longest) {
			c.Expires = longest
		}
		s.publications.Restore(c)
	}
	for _, restore := range in.values {
		if err := restore(); err != nil {
			in.leaveOut("source", "", err)
		}
	}
	if guard, ok := s.cfg.Guard.(sessionRestorer); ok {
		for _, r := range in.sessions {
			if err := guard.RestoreSession(r); err != nil {
				in.leaveOut(kindSession, r.Key, err)
			}
		}
	}
	for i := range in.clients {
		c := in.clients[i].client()
		if until, ok := in.published[clientRef{c.key, c.since}]; ok && c.published != 0 {
			c.published = deadline.At(time.Unix(0, until))
		}
		if s.clients.restore(c, longest) {
			in.adopted = append(in.adopted, c)
		}
	}
	in.restoreDialogs()
}

// restoreDialogs puts the dialogs back in their place. Their clients are there.
func (in *inventory) restoreDialogs() {
	s := in.server
	signedOut := make(map[*client]bool) // an own subscription has ended; another one may be left
	for _, key := range slices.Sorted(maps.Keys(in.dialogs)) {
		r, t := in.dialogs[key], in.turns[key]
		if time.Until(t.Expires) <= 0 {
			in.lost = append(in.lost, recordKey{kindDialog, key})
			if c := s.clients.get(r.client); c != nil && r.own && r.generation == c.generation {
				signedOut[c] = true
			}
			continue
		}
		d, err := in.dialog(r, t.turnRecord)
		if err != nil {
			in.leaveOut(kindDialog, key, err)
			in.lost = append(in.lost, recordKey{kindDialog, key})
			continue
		}
		in.restored = append(in.restored, d)
	}
	for _, c := range s.clients.leftBehind(in.adopted, signedOut) {
		s.takeOut(c, "its subscription expired while the server was down", nil).announce(true)
	}
}

// dialog puts a dialog back. It watches pending addresses, until the directory has answered.
func (in *inventory) dialog(r *dialogRecord, t *turnRecord) (*subscription.Dialog, error) {
	s := in.server
	event, _ := sipx.ParseEvent(r.Event)
	pack := s.packages[event.Package]
	if pack == nil {
		return nil, fmt.Errorf("event %q", r.Event)
	}
	r.Turn = t.Turn
	o := subscription.Restoring{
		Record: r.Record, Runs: s.run.Load() - t.run, Package: &pack.Package,
		Longest: s.cfg.MaxSubscribeExpires, Grace: s.cfg.Grace,
	}
	if s.cluster != nil {
		o.Flow.Local = netip.AddrPort{} // that was another machine's
	}
	dialect := standard
	if r.dialect == bluStar.Name {
		dialect = bluStar
	}
	o.Style, o.Data = &dialect.Style, dialect
	var m *member
	if r.client != "" {
		c := s.clients.get(r.client)
		if c == nil {
			return nil, errors.New("its client is not there")
		}
		m = &member{client: c, own: r.own, judged: r.judged, generation: r.generation}
		o.Data, o.Pulse = m, &c.pulse
	}
	for _, uri := range r.Entities {
		a, _ := directory.ParseAddress(uri)
		o.Items = append(o.Items, subscription.Item{
			Entity: uri, Resource: s.pendings.get(cmp.Or(a.String(), uri), a, false), View: viewOf(0, dialect),
		})
	}
	d, err := s.registry.Restore(o)
	if err == nil && m != nil {
		s.clients.mu.Lock()
		m.dialog = d
		m.client.dialogs = append(m.client.dialogs, m)
		s.clients.mu.Unlock()
	}
	return d, err
}

// restore puts a client of a former process back.
func (cs *clients) restore(c *client, longest time.Time) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.m[c.key] != nil { // the end of one of the two was not stored
		return false
	}
	cs.m[c.key] = c
	if c.user != "" {
		cs.joinUserLocked(c)
	}
	if c.published != 0 {
		c.published = min(c.published, deadline.At(longest))
	}
	return true
}

// leftBehind returns the restored clients that nothing keeps alive any more. If the end of an own
// subscription has signed a client out, a publication alone does not keep it alive (§2.3). The
// publications of the other clients expire from now on.
func (cs *clients) leftBehind(restored []*client, signedOut map[*client]bool) []*client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var list []*client
	for _, c := range restored {
		over := signedOut[c] || c.published <= deadline.Now()
		if len(c.dialogs) == 0 && c.user == "" || c.user != "" && !c.hasOwn() && over {
			list = append(list, c)
		} else if c.published != 0 {
			cs.expireLocked(c, deadline.Time(c.published))
		}
	}
	return list
}

// resume asks the directory who is watched. Then it tells the watchers who do not know what is
// shown now.
func (in *inventory) resume() {
	s, began := in.server, time.Now()
	in.findPublishers()
	s.pendings.mu.Lock()
	waiting := slices.Collect(maps.Values(s.pendings.m))
	s.pendings.mu.Unlock()
	for some := range slices.Chunk(waiting, lookupBatch) {
		if s.ctx.Err() != nil {
			return
		}
		s.askFor(some)
	}
	dialogs := in.restored
	rand.Shuffle(len(dialogs), func(i, j int) { dialogs[i], dialogs[j] = dialogs[j], dialogs[i] })
	spread := max(ResumeSpread-time.Since(began), ResumeSpread/2)
	pace, next := min(resumePace, spread/time.Duration(max(1, len(dialogs)))), time.Now()
	for _, d := range dialogs {
		for _, w := range d.Watches() {
			if list, ok := w.Resource().(*watchers); ok {
				list.complete()
			}
		}
		if d.Resume() {
			next = next.Add(pace)
		}
		if wait := time.Until(next); wait >= resumePace && backoff.Sleep(s.ctx, wait) != nil {
			return
		}
	}
}

// askFor asks the directory for addresses that were watched before the restart.
func (s *Server) askFor(list []*pending) {
	as := make([]directory.Address, 0, len(list))
	asked := make([]*pending, 0, len(list))
	for _, p := range list {
		if p.address.Scheme == "" {
			p.stays()
			continue
		}
		as, asked = append(as, p.address), append(asked, p)
	}
	for i, r := range s.lookups.all(s.ctx, party{}, as) {
		switch p := asked[i]; {
		case r.Err == nil:
			s.resolve(p, r.Entry)
		case isNobody(r.Err):
			p.stays()
		default:
			s.pendings.mu.Lock()
			p.asking = true
			if len(p.watches) > 0 {
				p.askLater()
			}
			s.pendings.mu.Unlock()
		}
	}
}

// stays tells the watchers that an address has no entry, unless they know it.
func (p *pending) stays() {
	p.server.pendings.mu.Lock()
	watches := slices.Clone(p.watches)
	p.server.pendings.mu.Unlock()
	for _, w := range watches {
		w.Dialog().Show(w)
	}
}

// findPublishers brings users who have published into memory, and ends the forwardings that have
// expired while the server was down.
func (in *inventory) findPublishers() {
	s := in.server
	for list := range slices.Chunk(in.publications, lookupBatch) {
		if s.ctx.Err() != nil {
			return
		}
		var as []directory.Address
		var of []*publication.Contribution
		for i := range list {
			if a, err := directory.ParseAddress(list[i].Address); err == nil {
				as, of = append(as, a), append(of, &list[i])
			}
		}
		for i, r := range s.lookups.all(s.ctx, party{}, as) {
			if r.Err != nil || r.Entry.ID != of[i].Presentity {
				continue
			}
			p := s.presentities.pin(&r.Entry)
			if of[i].Rule == publication.Forwarding && time.Until(of[i].Expires) <= 0 {
				s.endForwarding(p)
				s.journal.mark(publicationRef{of[i].Presentity, of[i].Number})
			}
			s.presentities.unpin(p)
		}
	}
}
