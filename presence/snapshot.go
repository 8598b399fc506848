package presence

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/pidf"
)

// snapshot is one consolidated state of a presentity, and the bodies that show
// it. It does not change, so that any number of NOTIFYs can be made from it while
// the presentity moves on. Documents are built when they are needed and not kept:
// most presentities are watched by nobody most of the time.
type snapshot struct {
	versions [viewKinds]uint64 // each rises when those watchers see a change, not with timestamps alone
	entity   string            // preferred address
	at       time.Time
	state    State
	result   Result
	tuples   []pidf.Tuple // of Standard publications, for Standard watchers
	private  bool         // own eyes see more
	showing  Showing      // what BluStar watchers are shown

	mu    sync.Mutex
	views [viewKinds]view
}

// viewKinds counts the kinds of views, by dialect and whose eyes see it.
const viewKinds = 4

// viewKind numbers them.
func viewKind(d *Dialect, own bool) int {
	i := 0
	if own {
		i = 1
	}
	if d.Documents == pidf.StandardDialect {
		i += 2
	}
	return i
}

// view is the document for one dialect and one kind of eyes.
type view struct {
	bodies   []body
	template *pidf.Template // once there is a second spelling of the address
}

type body struct {
	entity string
	xml    []byte
}

// maxBodies is how many spellings of a presentity's address a snapshot keeps
// bodies for; more are rendered each time.
const maxBodies = 16

func newSnapshot(entity string, showing Showing, before *snapshot, pubs []*publication, state *State, result Result, now time.Time) *snapshot {
	n := &snapshot{
		entity: entity, showing: showing, at: now, state: *state, result: result,
		tuples: publishedTuples(pubs), private: hasPrivate(state.Calendar),
	}
	if before == nil {
		return n
	}
	n.versions = before.versions
	for i, changed := range n.changes(before) {
		if changed {
			n.versions[i]++
		}
	}
	return n
}

// version tells what one kind of watchers sees from what they saw before.
func (n *snapshot) version(d *Dialect, own bool) uint64 { return n.versions[viewKind(d, own)] }

// changes reports which watchers of n see something else than those of before.
func (n *snapshot) changes(before *snapshot) (changed [viewKinds]bool) {
	all := [viewKinds]bool{true, true, true, true}
	shown := activity(n.result.Status, n.showing.AllStatuses) != activity(before.result.Status, n.showing.AllStatuses)
	if shown || n.result.Note != before.result.Note || n.state.Services != before.state.Services {
		return all // most changes are of these, and found without a look at the documents
	}
	if !pidf.Equal(n.consolidated(false), before.consolidated(false)) {
		return all
	}
	// What Standard watchers alone see: tuples, and a status that is none of the five.
	tuples := !sameTuples(n.tuples, before.tuples) || n.result.Status != before.result.Status
	own := (n.private || before.private) && !pidf.Equal(n.consolidated(true), before.consolidated(true))
	for _, d := range []*Dialect{bluStar, standard} {
		changed[viewKind(d, false)] = tuples && !d.SharedPublication
		changed[viewKind(d, true)] = own || tuples && !d.SharedPublication
	}
	return changed
}

func sameTuples(a, b []pidf.Tuple) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return &a[0] == &b[0] && len(a) == len(b) || pidf.Equal(&pidf.Presence{Tuples: a}, &pidf.Presence{Tuples: b})
}

// consolidated builds the document that both dialects share.
func (n *snapshot) consolidated(own bool) *pidf.Presence {
	show := n.showing
	show.Own = own && n.private
	return Document(n.entity, &n.state, n.result, n.at, show)
}

func (n *snapshot) document(d *Dialect, own bool) *pidf.Presence {
	doc := n.consolidated(own)
	if !d.FiveStatuses {
		doc.Persons[0].Activities.Values[0] = activity(n.result.Status, true)
	}
	if !d.SharedPublication {
		doc.Tuples = append(doc.Tuples, n.tuples...)
	}
	return doc
}

// body returns the document for one watcher. The result is shared: it must not
// be changed. It is kept where others may want it, not for a single watcher who
// has it by now.
func (n *snapshot) body(d *Dialect, own bool, entity string, keep bool) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := &n.views[viewKind(d, own && n.private)]
	for j := range v.bodies {
		if v.bodies[j].entity == entity {
			return v.bodies[j].xml
		}
	}
	var xml []byte
	if len(v.bodies) == 0 {
		doc := n.document(d, own)
		doc.Entity, doc.Persons[0].ID = entity, entity
		xml = slices.Clip(doc.Append(nil, d.Documents))
	} else {
		if v.template == nil {
			v.template = n.document(d, own).Template(d.Documents)
		}
		xml = v.template.AppendXML(nil, entity)
	}
	if keep && len(v.bodies) < maxBodies {
		v.bodies = append(v.bodies, body{entity, xml})
	}
	return xml
}

// publishedTuples returns the tuples of all Standard publications.
func publishedTuples(pubs []*publication) []pidf.Tuple {
	var all []pidf.Tuple
	for _, pub := range pubs {
		switch {
		case len(pub.tuples) == 0:
		case all == nil:
			all = slices.Clip(pub.tuples)
		default:
			all = append(all, pub.tuples...)
		}
	}
	return all
}

// tuplesOf returns the tuples of a Standard publication as they are passed on:
// each with an ID that is unique in the composed document, and with a basic status
// only if it is one (baresip publishes "unknown", RFC 3863 §4.1.4 has open and
// closed).
func tuplesOf(doc *pidf.Presence, number uint64) []pidf.Tuple {
	tuples := slices.Clone(doc.Tuples)
	for i := range tuples {
		tuples[i].ID = "p" + strconv.FormatUint(number, 10) + "-" + tuples[i].ID
		if b := tuples[i].Basic; b != pidf.Open && b != pidf.Closed {
			tuples[i].Basic = ""
		}
	}
	return tuples
}

// servicesOf reads which services a published document opens: its tuples are
// told by their IDs (§3); others say whether the client is there at all.
func servicesOf(doc *pidf.Presence) ServiceState {
	var st ServiceState
	named := false
	for i := range doc.Tuples {
		t := &doc.Tuples[i]
		open := t.Basic == pidf.Open
		switch strings.ToLower(strings.TrimSpace(t.ID)) {
		case "audio":
			st.Audio, named = open, true
		case "video":
			st.Video, named = open, true
		case "message":
			st.Message, named = open, true
		}
	}
	switch {
	case named:
		st.Global = true
		return st
	case basicMeaning(doc) == MeansSignedOut:
		return ServiceState{} // it is there to say that its user is not
	}
	return defaultServices
}

// defaultServices are those of a client that published no tuples.
var defaultServices = ServiceState{Global: true, Audio: true, Message: true}
