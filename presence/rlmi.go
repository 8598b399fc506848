package presence

import (
	"strconv"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

// maxRLMI bounds the body of a NOTIFY of a list, in bytes, so that it fits a
// datagram with its header. What does not fit follows in the next.
const maxRLMI = 56 << 10

// What a body takes, in bytes, besides URIs and documents: a little more than
// is written.
const (
	resourceSize = 32  // for each resource that is listed
	partSize     = 320 // for each document, with the instance that refers to it
)

// rlmiNotify is a NOTIFY of a list under way, with what it shows.
type rlmiNotify struct {
	dialog  *dialog
	watches []*watch
	full    bool // it lists all resources
}

// nextRLMI makes the NOTIFY of all that is due in a list (RFC 4662 §5.2), one at
// a time. The first lists all resources, unless they are too many for one body:
// then each is told with its document only. d.mu is held.
func (d *dialog) nextRLMI() (*notification, sipx.ResponseHandler) {
	if d.underWay > 0 {
		return nil, nil
	}
	size, full := 0, !d.listed
	if full {
		if size = listingSize(d.watches); size > maxRLMI {
			size, full = 0, false
		}
	}
	unique := "." + strconv.FormatUint(uint64(d.localSeq), 10) + "@" + d.localTag() // RFC 2392 §2
	info := &pidf.ListInfo{URI: bareURI(d.local.URI), Version: d.version, FullState: full}
	body := &pidf.Related{Start: "list" + unique, List: info}
	n := &rlmiNotify{dialog: d, full: full}
	shown := make(map[*watch]string)
	for w := d.due; w != nil; w = d.due {
		p := w.presentity
		snap := p.current.Load()
		version := snap.version(d.dialect, w.own)
		if w.removed || !w.force && w.sentOf == p && w.sent == version {
			d.pop()
			continue
		}
		xml := w.body(snap)
		size += partSize + len(w.entity) + len(xml)
		if size > maxRLMI && (full || len(n.watches) > 0) {
			break
		}
		d.pop()
		w.force, w.sentOf, w.sent = false, p, version
		cid := "r" + strconv.Itoa(len(n.watches)) + unique
		shown[w] = cid
		body.Parts = append(body.Parts, pidf.Part{ID: cid, Type: typePIDF, Body: xml})
		n.watches = append(n.watches, w)
	}
	if len(n.watches) == 0 && (!full || d.due == nil) {
		return d.afterRLMI()
	}
	listed := n.watches
	if full {
		listed = d.watches
	}
	for _, w := range listed {
		r := pidf.Resource{URI: w.entity}
		if cid, ok := shown[w]; ok {
			r.Instances = []pidf.Instance{{ID: "1", State: pidf.InstanceActive, CID: cid}}
		}
		info.Resources = append(info.Resources, r)
	}
	d.listed = true
	d.version++
	notify := d.notifyHead(reasonNone)
	content := ""
	notify.Body, content = body.Append(nil)
	notify.Header = append(notify.Header,
		sipx.Field{Name: "Require", Value: extEventList},
		sipx.Field{Name: "Content-Type", Value: content})
	return notify, n
}

// listingSize is what a document that lists all these takes.
func listingSize(watches []*watch) int {
	n := 0
	for _, w := range watches {
		n += resourceSize + len(w.entity)
	}
	return n
}

// afterRLMI ends a fetch that has shown everything.
func (d *dialog) afterRLMI() (*notification, sipx.ResponseHandler) {
	if !d.fetch {
		return nil, nil
	}
	d.state, d.final = dialogEnding, reasonTimeout
	return d.lastNotify()
}

// HandleResponse takes the outcome of the NOTIFY of a list.
func (n *rlmiNotify) HandleResponse(_ *sipx.Request, res *sipx.Response, err error) {
	d := n.dialog
	verdict, pause := judge(res, err)
	d.mu.Lock()
	verdict = d.again(verdict, pause)
	if verdict == notNow {
		for _, w := range n.watches {
			w.sentOf = nil // what it showed was not taken
			if !w.removed {
				d.push(w)
			}
		}
		d.listed = d.listed && !n.full
	}
	d.settled(res, err, verdict)
}
