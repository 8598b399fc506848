package presence

import (
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
)

// original is a document as a client of the RFCs published it. It has what the document says
// of its user, and the text. The whole document is decoded again when a watcher is to see it:
// decoded documents are large, and most users have few watchers.
type original struct {
	consolidation.Reading
	services consolidation.Services
	glance   glance
	body     []byte
	decoded  atomic.Pointer[weak.Pointer[pidf.Presence]] // nil, or gone, where nobody used it lately
	lent     atomic.Pointer[loan]                        // while its PUBLISH is handled
}

// newOriginal makes an original of body, which doc is decoded. It does not keep doc.
func newOriginal(doc *pidf.Presence, body []byte) *original {
	o := &original{services: servicesOf(doc), glance: glanceAt(doc.Tuples), body: body}
	o.Read(doc)
	o.Original = o.document
	return o
}

// readOriginal reads a body of a former run, or of another node. It returns nil where the body
// is no document.
func readOriginal(body []byte) any {
	doc, err := aa.Decode(body)
	if err != nil {
		return nil
	}
	return newOriginal(doc, body)
}

// originalOf returns the document of a contribution, or nil.
func originalOf(c *publication.Contribution) *original {
	o, _ := c.Reading.(*original)
	return o
}

// document returns the document, which nobody changes.
func (o *original) document() *pidf.Presence {
	if p := o.decoded.Load(); p != nil {
		if doc := p.Value(); doc != nil {
			return doc
		}
	}
	doc, err := aa.Decode(o.body)
	if err != nil {
		return &pidf.Presence{} // it could be read before
	}
	o.decoded.Store(new(weak.Make(doc))) // until the next garbage collection
	return doc
}

// loan is memory for the document of a PUBLISH, which is used again for the next PUBLISH. While
// the PUBLISH is handled, the NOTIFYs that it causes are made from it.
type loan struct {
	room pidf.Room

	mu      sync.Mutex
	of      *original      // which may be read from doc; nil for none
	doc     *pidf.Presence // in room
	readers int            // pages on which something is written from doc
	idle    chan struct{}  // closed when there are none; nil if nobody waits for that
}

// loan returns memory, to be given back by takeBack.
func (s *Server) loan() *loan {
	if l, ok := s.loans.Get().(*loan); ok {
		return l
	}
	return new(loan)
}

// lend lets o be read from the document that it was decoded to, until takeBack.
func (l *loan) lend(o *original, doc *pidf.Presence) {
	l.mu.Lock()
	l.of, l.doc = o, doc
	l.mu.Unlock()
	o.lent.Store(l)
}

// takeBack ends a loan. It waits for the pages that are being written from it.
func (s *Server) takeBack(l *loan) {
	l.mu.Lock()
	if l.of != nil {
		l.of.lent.Store(nil)
		l.of, l.doc = nil, nil
	}
	if l.readers > 0 {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	if idle != nil {
		<-idle
		l.idle = nil // nobody else has l now
	}
	s.loans.Put(l)
}

// borrow returns the document that o was decoded to, and its loan. Both are nil if it is not on
// loan. Who has borrowed writes at once, and then calls giveBack: a PUBLISH waits for that.
func (o *original) borrow() (*pidf.Presence, *loan) {
	l := o.lent.Load()
	if l == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of != o { // it has been taken back since, and perhaps lent for another
		return nil, nil
	}
	l.readers++
	return l.doc, l
}

func (l *loan) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers--; l.readers == 0 && l.idle != nil {
		close(l.idle)
	}
}

// glance is what one sees of tuples at once.
type glance struct {
	ids  uint64 // in their order; 0 where a glance is not enough
	says uint64 // their statuses and notes
}

// glanceAt looks at tuples, of which there are few, each with an ID of its own.
func glanceAt(tuples []pidf.Tuple) glance {
	const few = 8
	if len(tuples) == 0 || len(tuples) > few {
		return glance{}
	}
	var g glance
	for i := range tuples {
		t := &tuples[i]
		if !isBasic(t.Basic) || len(t.Notes) > 1 {
			return glance{}
		}
		for j := range i {
			if tuples[j].ID == t.ID {
				return glance{}
			}
		}
		g.ids = mix(g.ids, t.ID)
		g.says = mix(g.says, string(t.Basic))
		if len(t.Notes) == 1 {
			g.ids, g.says = g.ids+1, mix(g.says, t.Notes[0].Text)
		}
	}
	return g
}

// plainlyDiffers reports whether a glance shows that tuples differ: one has another status
// or note than that with its ID.
func (g glance) plainlyDiffers(from glance) bool {
	return g.ids != 0 && g.ids == from.ids && g.says != from.says
}

// mix is the hash FNV-1a of a text, which ends with a byte that no text has.
func mix(hash uint64, text string) uint64 {
	const prime = 1099511628211
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * prime
	}
	return (hash ^ 0xFF) * prime
}

// servicesOf reads which services a published document opens: its tuples are
// told by their IDs (§3); others say whether the client is there at all.
func servicesOf(doc *pidf.Presence) consolidation.Services {
	var st consolidation.Services
	if doc == nil {
		return st
	}
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
	case consolidation.BasicMeaning(doc) == consolidation.MeansSignedOut:
		return consolidation.Services{} // it is there to say that its user is not
	}
	return defaultServices()
}

// defaultServices are those of a client that published no tuples (§4.3).
func defaultServices() consolidation.Services {
	return consolidation.Services{Global: true, Audio: true, Message: true}
}

func isBasic(b pidf.Basic) bool { return b == pidf.Open || b == pidf.Closed }
