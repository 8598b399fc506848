package subscription

import (
	"strconv"

	"github.com/openblustar/blustar/internal/deadline"
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

// listNotify is a NOTIFY of a list under way, with what it shows.
type listNotify struct {
	dialog  *Dialog
	watches []*Watch
	full    bool // it lists all resources
	sentAt  int64
}

// nextList makes the NOTIFY of everything that is due in a list (RFC 4662 §5.2). One is under way
// at a time. The first one lists all resources, if one body has room for them. d.mu is held.
func (d *Dialog) nextList() *notification {
	if d.underWay > 0 {
		return nil
	}
	shown, full := d.takeDue(false)
	if len(shown) == 0 && !full {
		if d.fetch {
			d.state, d.final = dialogEnding, ReasonTimeout
			return d.lastNotify()
		}
		return nil
	}
	n := &listNotify{dialog: d, full: full, sentAt: deadline.Now()}
	for _, e := range shown {
		n.watches = append(n.watches, e.watch)
	}
	notify := d.newList(shown, full, reasonNone)
	notify.then = n
	return notify
}

// resumeList shows the whole of a restored list of which something is due. Only full state
// tells a watcher to forget what it knew (RFC 4662 §5.2). d.mu is held.
func (d *Dialog) resumeList() {
	due := false
	for w := d.due; w != nil && d.restored && !due; w = w.next {
		due = w.isDue(w.resource.Current())
	}
	if !due {
		return
	}
	d.restored = false
	for _, w := range d.watches {
		w.force, w.resumed = true, false
		d.push(w)
	}
}

// lastList makes the NOTIFY that ends a list, with what is still due (RFC 4662 §4.5). d.mu
// is held.
func (d *Dialog) lastList() *notification {
	shown, full := d.takeDue(true)
	return d.newList(shown, full, d.final)
}

// written is a state that goes into a body.
type written struct {
	watch *Watch
	body  []byte
}

// takeDue takes what is due out of the queue, as much as one body has room for. full tells that the
// body lists all resources; that of the last NOTIFY never does. d.mu is held.
func (d *Dialog) takeDue(last bool) (shown []written, full bool) {
	size := 0
	d.resumeList()
	if full = !d.listed && (d.due != nil || len(d.watches) == 0) && !last; full {
		for _, w := range d.watches {
			size += entrySize + len(w.entity)
		}
		if size > maxListBody {
			size, full = 0, false
		}
	}
	for w := d.due; w != nil; w = d.due {
		state := w.resource.Current()
		if !w.isDue(state) {
			d.pop()
			continue
		}
		body := d.body(w, state)
		size += partSize + len(w.entity) + len(body)
		if size > maxListBody && (full || len(shown) > 0) {
			break
		}
		d.pop()
		w.shows(state)
		shown = append(shown, written{w, body})
	}
	return shown, full && (len(shown) > 0 || d.due != nil || len(d.watches) == 0)
}

func (d *Dialog) newList(shown []written, full bool, why Reason) *notification {
	l := List{
		URI:     bare(d.local.URI()),
		ID:      strconv.FormatUint(uint64(d.localSeq), 10) + "@" + d.Tag(),
		Version: d.version,
		Full:    full,
	}
	if full {
		bodies := make(map[*Watch][]byte, len(shown))
		for _, e := range shown {
			bodies[e.watch] = e.body
		}
		for _, w := range d.watches {
			l.Entries = append(l.Entries, Entry{w.entity, bodies[w]})
		}
	} else {
		for _, e := range shown {
			l.Entries = append(l.Entries, Entry{e.watch.entity, e.body})
		}
	}
	d.listed = true
	d.version++
	n := d.notifyHead(why)
	contentType := ""
	n.Body, contentType = d.Style().Lists.WriteList(l)
	n.Header = append(n.Header,
		sipx.Field{Name: "Require", Value: d.Style().Lists.Extension()},
		sipx.Field{Name: "Content-Type", Value: contentType})
	d.encode(n)
	return n
}

// bare writes an address without port and parameters.
func bare(u sipx.URI) string {
	u.Params, u.Headers, u.Port = "", "", 0
	return u.String()
}

// answered takes the outcome of the NOTIFY of a list.
func (n *listNotify) answered(res *sipx.Response, err error) {
	d := n.dialog
	verdict, pause := d.judge(res, err, n.sentAt)
	d.mu.Lock()
	verdict = d.again(verdict, pause, n.sentAt)
	if verdict == notNow || verdict == missed {
		for _, w := range n.watches {
			w.shown = false // the watcher has not taken it
			if !w.removed {
				d.push(w)
			}
		}
		d.listed = d.listed && !n.full
	}
	if res != nil && verdict == delivered {
		other := false
		for _, w := range n.watches {
			other = w.acknowledged(verdict) || other
		}
		if other {
			d.changed(false)
		}
	}
	d.settled(res, err, verdict, n.sentAt)
}
