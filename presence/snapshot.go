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
	version uint64 // rises when what watchers see changes, not with timestamps alone
	state   State
	result  Result
	public  *pidf.Presence
	own     *pidf.Presence // nil where own eyes see no more
	tuples  []pidf.Tuple   // of Standard publications, for Standard watchers

	mu    sync.Mutex
	views [4]view
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
	n := &snapshot{version: 1, state: *state, result: result}
	n.public = Document(entity, state, result, now, false)
	if hasPrivate(state.Calendar) {
		n.own = Document(entity, state, result, now, true)
	}
	n.tuples = publishedTuples(pubs)
	if before == nil {
		return n
	}
	n.version = before.version
	if !n.shows(before) {
		n.version++
	}
	return n
}

// shows reports whether watchers of n see what those of other do.
func (n *snapshot) shows(other *snapshot) bool {
	if n.result.Status != other.result.Status || n.result.Note != other.result.Note || n.state.Services != other.state.Services {
		return false // most changes are of these, and found without a look at the documents
	}
	return pidf.Equal(n.public, other.public) &&
		pidf.Equal(n.document(standard, true), other.document(standard, true))
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
	i := 0
	if own {
		i = 1
	}
	if d.Documents == pidf.StandardDialect {
		i += 2
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	v := &n.views[i]
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
	for i := range pubs {
		if pubs[i].Dialect == bluStar.Name {
			continue
		}
		for _, t := range pubs[i].document.Tuples {
			t.ID = "p" + strconv.Itoa(i) + "-" + t.ID
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
