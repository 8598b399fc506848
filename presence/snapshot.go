package presence

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
)

// snapshot is the state of a presentity at one moment, its result, and the bodies that show
// them. It never changes: any number of NOTIFYs may be made from it. A body is written when
// it is needed. It is kept only where several watchers may share it: most presentities are
// watched by few. snapshot implements [subscription.State].
type snapshot struct {
	server   *Server
	watching *atomic.Int32 // how many watch; nil for none
	versions [views]uint32 // each rises when that view shows something else; a new timestamp alone does not count
	entity   string        // preferred address
	at       time.Time
	since    time.Time // since when watchers of SightBusyOrNot have seen the same, as far as is known
	state    consolidation.State
	result   consolidation.Result
	said     []*publication.Contribution // what is published; Standard watchers are shown its tuples
	private  bool                        // the user sees more than others

	published [1]consolidation.Published // room for state.Published: most have one

	mu      sync.Mutex
	kept    []kept         // made when they are needed
	digests *[views]uint64 // made where there is a store
}

// kept is a document of a view for one spelling of the presentity's address. It is held
// weakly, until the next garbage collection: an idle presentity keeps none.
type kept struct {
	view   subscription.View
	entity string
	xml    weak.Pointer[[]byte]
}

// maxKept is how many documents a snapshot keeps; more are rendered each time.
const maxKept = 16

// judge consolidates the state. It raises the versions of the views that show something else than
// before did; before may be nil. It asks the rules of the host.
func (n *snapshot) judge(before *snapshot) {
	n.result = consolidation.Consolidate(n.server.cfg.Rules, &n.state, n.at)
	n.since = n.at
	if before == nil {
		n.since = n.server.unknown.at // not when somebody first asked
		return
	}
	if n.result.Status.BusyOrNot() == before.result.Status.BusyOrNot() && n.state.Services == before.state.Services {
		n.since = before.since
	}
	n.versions = before.versions
	switch {
	case n.watching.Load() == 0: // nobody sees it; a new watcher is shown everything
		for v := range n.versions {
			n.versions[v]++
		}
	case n.isAs(before):
	default:
		for v, changed := range n.changes(before) {
			if changed {
				n.versions[v]++
			}
		}
	}
	if n.server.journal != nil {
		n.digests = before.digestsOf(n)
	}
}

// Version implements [subscription.State].
func (n *snapshot) Version(v subscription.View) uint64 { return uint64(n.versions[v]) }

// isAs reports whether n certainly shows what before shows, as after the refresh of a
// publication.
func (n *snapshot) isAs(before *snapshot) bool {
	a, b := &n.state, &before.state
	if len(a.Lines)+len(b.Lines)+len(a.Calendar)+len(b.Calendar) > 0 || a.External != nil || b.External != nil ||
		n.server.cfg.Decorate != nil {
		return false
	}
	if next := b.NextChange(before.at); !next.IsZero() && !next.After(n.at) {
		return false
	}
	r, s := &n.result, &before.result
	return n.entity == before.entity && a.Entry == b.Entry && a.Services == b.Services && a.Live == b.Live &&
		r.Status == s.Status && r.Note == s.Note && r.Rule == s.Rule &&
		r.Winner.Source == s.Winner.Source && r.Winner.Owner == s.Winner.Owner && r.Winner.Received.Equal(s.Winner.Received) &&
		slices.EqualFunc(a.Published, b.Published, func(x, y consolidation.Published) bool {
			return x.Reading == y.Reading && x.Status == y.Status && x.Note == y.Note
		})
}

// isUnsaved reports whether n shows something new that clients have said, and the store may not
// have it yet. With StoreAlways watchers are shown it only when the store has it. The values of
// sources do not wait.
func (n *snapshot) isUnsaved(before *snapshot) bool {
	j := n.server.journal
	if j == nil || !j.always {
		return false
	}
	unsaved := func(list, other []*publication.Contribution) bool {
		return slices.ContainsFunc(list, func(c *publication.Contribution) bool {
			return !slices.Contains(other, c) && j.has(publicationRef{c.Presentity, c.Number})
		})
	}
	return n.state.Live != before.state.Live || n.state.Services != before.state.Services ||
		unsaved(n.said, before.said) || unsaved(before.said, n.said)
}

// Digest implements [subscription.Digester].
func (n *snapshot) Digest(v subscription.View) uint64 {
	v = n.same(v)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.digests == nil || n.digests[v] == 0 {
		page := n.server.page()
		defer n.server.put(page)
		n.keepDigest(v, pidf.Digest(page.write(n.document(v, page), v, n.entity)))
	}
	return n.digests[v]
}

// keepDigest notes the digest of what a view shows. n.mu is held.
func (n *snapshot) keepDigest(v subscription.View, digest uint64) {
	if n.digests == nil {
		n.digests = new([views]uint64)
	}
	n.digests[v] = digest
}

// digestsOf returns the digests of n that are good for newer, too: those of the views in which both
// show the same.
func (n *snapshot) digestsOf(newer *snapshot) *[views]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.digests == nil {
		return nil
	}
	digests := *n.digests
	for v := range digests {
		if n.versions[v] != newer.versions[v] {
			digests[v] = 0
		}
	}
	return &digests
}

// same returns the view of others in place of the user's own, if both show the same.
func (n *snapshot) same(v subscription.View) subscription.View {
	if sightOf(v) == consolidation.SightOwn && !n.private && n.server.cfg.Decorate == nil {
		v -= viewOf(consolidation.SightOwn, bluStar)
	}
	return v
}

// changes reports the views in which n shows something else than before.
func (n *snapshot) changes(before *snapshot) (changed [views]bool) {
	sights := consolidation.Sights
	if n.server.cfg.Policy == nil {
		sights = consolidation.SightNoDetails // there are two: that of others, and the user's own
	}
	// Most changes are found without making documents.
	obvious := n.result.Note != before.result.Note || n.state.Services != before.state.Services
	status := n.result.Status != before.result.Status
	documents := hasDocument(&n.state) || hasDocument(&before.state)
	tuples := status || !n.server.sameTuples(n.said, before.said)
	for sight := range sights {
		if sight == consolidation.SightOwn && !n.private && !before.private && n.server.cfg.Decorate == nil {
			changed[viewOf(sight, bluStar)], changed[viewOf(sight, standard)] = changed[0], changed[1]
			continue
		}
		differs := func(v subscription.View) bool {
			a, b := n.server.page(), n.server.page()
			defer n.server.put(a)
			defer n.server.put(b)
			return !pidf.Equal(n.document(v, a), before.document(v, b))
		}
		v := viewOf(sight, bluStar)
		if sight >= consolidation.SightNoLines { // nobody may notice that something hidden has changed
			changed[v], changed[v+1] = differs(v), differs(v+1)
			continue
		}
		changed[v] = obvious || differs(v)
		v = viewOf(sight, standard)
		changed[v] = tuples || documents && differs(v) || !documents && (changed[v-1] || status)
	}
	return changed
}

func hasDocument(s *consolidation.State) bool {
	return slices.ContainsFunc(s.Published, func(p consolidation.Published) bool { return p.Reading != nil })
}

// sameTuples reports whether the tuples of two lists of publications say the same.
func (s *Server) sameTuples(a, b []*publication.Contribution) bool {
	sameNumber := func(x, y *publication.Contribution) bool { return x.Number == y.Number }
	if slices.EqualFunc(a, b, sameNumber) {
		same := true
		for i := range a {
			x, y := originalOf(a[i]), originalOf(b[i])
			if x != nil && y != nil && x.glance.plainlyDiffers(y.glance) {
				return false
			}
			same = same && x == y
		}
		if same {
			return true
		}
	}
	page := s.page()
	defer s.put(page)
	x, y := page.appendPublished(nil, a), page.appendPublished(nil, b)
	if len(x) == 0 || len(y) == 0 {
		return len(x) == len(y)
	}
	return pidf.Equal(&pidf.Presence{Tuples: x}, &pidf.Presence{Tuples: y})
}

// page is memory for one document and its text, which is used again.
type page struct {
	sheet consolidation.Sheet
	said  []*publication.Contribution // those of the document
	loans []*loan
	xml   []byte
}

// page returns a page, to be given back by put.
func (s *Server) page() *page {
	if p, ok := s.pages.Get().(*page); ok {
		return p
	}
	p := new(page)
	p.sheet.Original = p.find
	return p
}

func (s *Server) put(p *page) {
	for _, l := range p.loans {
		l.giveBack()
	}
	clear(p.loans)
	p.loans, p.said = p.loans[:0], nil
	s.pages.Put(p)
}

// find returns the document that was read to r, which may be on loan.
func (p *page) find(r *consolidation.Reading) *pidf.Presence {
	for _, c := range p.said {
		if o := originalOf(c); o != nil && &o.Reading == r {
			return p.original(o)
		}
	}
	return r.Original()
}

// original returns the document of o. It is good until the page is given back.
func (p *page) original(o *original) *pidf.Presence {
	doc, l := o.borrow()
	if l == nil {
		return o.document()
	}
	p.loans = append(p.loans, l)
	return doc
}

// document makes the document of a view, for the preferred address. It is good until page is given
// back.
func (n *snapshot) document(v subscription.View, page *page) *pidf.Presence {
	sight, at := sightOf(v), n.at
	if sight >= consolidation.SightBlocked {
		at = n.server.unknown.at // another time would tell that the user exists, or has changed
	}
	page.said = n.said
	doc := page.sheet.Document(&n.state, n.result, at, consolidation.Options{
		Entity: n.entity, Sight: sight, Standard: isStandard(v),
		AllStatuses: n.server.cfg.AllStatuses, NextAppointment: n.server.cfg.NextAppointment, Since: n.since,
	})
	if isStandard(v) && sight < consolidation.SightBusyOrNot {
		doc.Tuples = page.appendPublished(doc.Tuples, n.said)
	}
	if f := n.server.cfg.Decorate; f != nil && sight < consolidation.SightBlocked {
		doc = doc.Clone() // what was published is in the documents of others, too
		f(Decoration{Entry: entryOf(&n.state), Sight: sight, Result: n.result, Document: doc})
	}
	return doc
}

// Body implements [subscription.State]. Watchers share what is the same for them.
func (n *snapshot) Body(room []byte, s subscription.Showing) (body []byte, own bool) {
	v := n.same(s.View)
	shared := n.watching != nil && n.watching.Load() >= 2
	if shared || n.server.journal != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
	}
	if !shared {
		return n.append(room, v, s.Entity), true
	}
	place := -1
	for i := range n.kept {
		k := &n.kept[i]
		if k.view != v || k.entity != s.Entity {
			continue
		}
		if xml := k.xml.Value(); xml != nil {
			return *xml, false
		}
		place = i
	}
	xml := n.append(nil, v, s.Entity)
	switch {
	case place >= 0:
		n.kept[place].xml = weak.Make(&xml)
	case len(n.kept) < maxKept:
		n.kept = append(n.kept, kept{v, s.Entity, weak.Make(&xml)})
	}
	return xml, false
}

// append writes the document of a view to the end of dst. If there is a store, n.mu is held.
func (n *snapshot) append(dst []byte, v subscription.View, entity string) []byte {
	page := n.server.page()
	defer n.server.put(page)
	doc := n.document(v, page)
	if n.server.journal != nil && (n.digests == nil || n.digests[v] == 0) { // Digest is called soon
		n.keepDigest(v, pidf.Digest(page.write(doc, v, n.entity)))
		if entity == n.entity {
			return append(dst, page.xml...)
		}
	}
	return append(dst, page.write(doc, v, entity)...)
}

// write writes a document for a watcher who calls the presentity entity. It is good until
// the page is given back, or written anew.
func (p *page) write(doc *pidf.Presence, v subscription.View, entity string) []byte {
	setEntity(doc, entity)
	p.xml = doc.Append(p.xml[:0], dialectOfView(v).Documents)
	return p.xml
}

// setEntity writes the address in a document as the watcher does: as its entity, as the ID of the
// person, and in the contacts of the services.
func setEntity(doc *pidf.Presence, entity string) {
	for i := range doc.Tuples {
		if c := doc.Tuples[i].Contact; c != nil && c.URI == doc.Entity && c.URI != entity {
			contact := *c
			contact.URI = entity
			doc.Tuples[i].Contact = &contact
		}
	}
	doc.Entity, doc.Persons[0].ID = entity, entity
}

// appendPublished appends the tuples of all Standard publications. Each gets an ID that is
// unique in the document. A basic status other than open and closed (RFC 3863 §4.1.4) is
// left out: baresip publishes "unknown". A refresh does not change the order, on which a
// digest depends.
func (p *page) appendPublished(all []pidf.Tuple, list []*publication.Contribution) []pidf.Tuple {
	if len(list) > 1 {
		list = slices.SortedFunc(slices.Values(list), func(a, b *publication.Contribution) int { return cmp.Compare(a.Number, b.Number) })
	}
	for _, c := range list {
		o := originalOf(c)
		if o == nil {
			continue
		}
		for _, t := range p.original(o).Tuples {
			t.ID = "p" + strconv.FormatUint(c.Number, 10) + "-" + t.ID
			if !isBasic(t.Basic) {
				t.Basic = ""
			}
			all = append(all, t)
		}
	}
	return all
}

func entryOf(s *consolidation.State) directory.Entry {
	if entry, ok := s.Entry.(*directory.Entry); ok {
		return *entry
	}
	return directory.Entry{}
}
