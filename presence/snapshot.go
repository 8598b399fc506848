package presence

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/pidf"
)

// snapshot is one consolidated state of a presentity with the documents that
// show it. It does not change, so that any number of NOTIFYs can be made from
// it while the presentity moves on; bodies are rendered when first asked for.
type snapshot struct {
	versions [viewKinds]uint64 // each rises when those watchers see a change, not with timestamps alone
	state    State
	result   Result
	public   *pidf.Presence
	own      *pidf.Presence // nil where own eyes see no more
	tuples   []pidf.Tuple   // of Standard publications, for Standard watchers

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
	template *pidf.Template
	bodies   []body
}

type body struct {
	entity string
	xml    []byte
}

// maxBodies is how many spellings of a presentity's address a snapshot keeps
// bodies for; more are rendered each time.
const maxBodies = 16

func newSnapshot(entity string, before *snapshot, pubs []*publication, state *State, result Result, now time.Time) *snapshot {
	n := &snapshot{state: *state, result: result}
	n.public = Document(entity, state, result, now, false)
	if hasPrivate(state.Calendar) {
		n.own = Document(entity, state, result, now, true)
	}
	n.tuples = publishedTuples(pubs)
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
	if n.result.Status != before.result.Status || n.result.Note != before.result.Note || n.state.Services != before.state.Services {
		return [viewKinds]bool{true, true, true, true} // most changes are of these, and found without a look at the documents
	}
	type pair struct{ n, before *pidf.Presence }
	known := make(map[pair]bool, viewKinds) // most views are of the same document
	for _, d := range []*Dialect{bluStar, standard} {
		for _, own := range []bool{false, true} {
			docs := pair{n.document(d, own), before.document(d, own)}
			differs, ok := known[docs]
			if !ok {
				differs = !pidf.Equal(docs.n, docs.before)
				known[docs] = differs
			}
			changed[viewKind(d, own)] = differs
		}
	}
	return changed
}

func (n *snapshot) document(d *Dialect, own bool) *pidf.Presence {
	doc := n.public
	if own && n.own != nil {
		doc = n.own
	}
	if d.SharedPublication || len(n.tuples) == 0 {
		return doc
	}
	composed := *doc
	composed.Tuples = append(slices.Clip(doc.Tuples), n.tuples...)
	return &composed
}

// body returns the document for one watcher. The result is shared: it must not
// be changed.
func (n *snapshot) body(d *Dialect, own bool, entity string) []byte {
	own = own && n.own != nil
	n.mu.Lock()
	defer n.mu.Unlock()
	v := &n.views[viewKind(d, own)]
	for j := range v.bodies {
		if v.bodies[j].entity == entity {
			return v.bodies[j].xml
		}
	}
	if v.template == nil {
		v.template = n.document(d, own).Template(d.Documents)
	}
	xml := v.template.AppendXML(nil, entity)
	if len(v.bodies) < maxBodies {
		v.bodies = append(v.bodies, body{entity, xml})
	}
	return xml
}

// publishedTuples returns the tuples of Standard publications, each with an ID
// that is unique in the composed document.
func publishedTuples(pubs []*publication) []pidf.Tuple {
	var list []pidf.Tuple
	for _, pub := range pubs {
		if pub.Dialect == bluStar.Name {
			continue
		}
		for _, t := range pub.document.Tuples {
			t.ID = "p" + strconv.FormatUint(pub.number, 10) + "-" + t.ID
			list = append(list, t)
		}
	}
	return list
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
	if !named {
		return defaultServices
	}
	st.Global = true
	return st
}

// defaultServices are those of a client that published no tuples.
var defaultServices = ServiceState{Global: true, Audio: true, Message: true}
