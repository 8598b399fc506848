package subscription

import (
	"strconv"

	"github.com/openblustar/blustar/sipx"
)

// maxListBody bounds the body of a NOTIFY of a list, in bytes, so that it fits a
// datagram with its header. What does not fit follows in the next.
const maxListBody = 56 << 10

// What a body takes, in bytes, besides URIs and documents: a little more than
// is written.
const (
	entrySize = 32  // for each resource that is listed
	partSize  = 320 // for each document, with what refers to it
)

// newList makes the NOTIFY of what is due in a list, as much as one body has room for
// (RFC 4662 §5.2); nil if nothing is. The first one lists all resources, if one body has room for
// them. A reason ends the subscription: such a NOTIFY lists what is still due, if anything
// (RFC 4662 §4.5). d.mu is held.
func (d *Dialog) newList(why Reason) *notification {
	d.resumeList()
	var entries []Entry
	var place map[*Watch]int // in entries, if those are all resources
	size := 0
	full := !d.listed && why == reasonNone && (d.due.first != nil || len(d.watches) == 0)
	if full {
		for _, w := range d.watches {
			size += entrySize + len(w.entity)
		}
	}
	if full = full && size <= maxListBody; full {
		place = make(map[*Watch]int, len(d.watches))
		for i, w := range d.watches {
			place[w] = i
			entries = append(entries, Entry{Entity: w.entity})
		}
	} else {
		size = 0
	}
	var shown chain
	for w := d.due.first; w != nil; w = d.due.first {
		state := w.resource.Current()
		if !w.isDue(state) {
			d.pop()
			continue
		}
		body, _ := state.Body(nil, Showing{View: w.view, Entity: w.entity, Serial: d.version})
		size += partSize + len(w.entity) + len(body)
		if size > maxListBody && (full || shown.first != nil) {
			break
		}
		d.pop()
		w.shows(state)
		shown.push(w)
		if full {
			entries[place[w]].Body = body
		} else {
			entries = append(entries, Entry{w.entity, body})
		}
	}
	if shown.first == nil && why == reasonNone && !(full && (d.due.first != nil || len(d.watches) == 0)) {
		return nil
	}
	l := List{
		URI:     bare(d.local.URI()),
		ID:      strconv.FormatUint(uint64(d.localSeq), 10) + "@" + d.Tag(),
		Version: d.version,
		Full:    full,
		Entries: entries,
	}
	d.listed = true
	d.version++
	n := d.notifyHead(why)
	n.shown, n.full = shown, full
	contentType := ""
	n.Body, contentType = d.Style().Lists.WriteList(l)
	n.Header = append(n.Header,
		sipx.Field{Name: "Require", Value: d.Style().Lists.Extension()},
		sipx.Field{Name: "Content-Type", Value: contentType})
	d.encode(n)
	return n
}

// resumeList shows the whole of a restored list of which something is due. Only full state
// tells a watcher to forget what it knew (RFC 4662 §5.2). d.mu is held.
func (d *Dialog) resumeList() {
	due := false
	for w := d.due.first; w != nil && d.restored && !due; w = w.next {
		due = w.isDue(w.resource.Current())
	}
	if due {
		d.restored = false
		d.pushAll()
	}
}

// bare writes an address without port and parameters.
func bare(u sipx.URI) string {
	u.Params, u.Headers, u.Port = "", "", 0
	return u.String()
}
