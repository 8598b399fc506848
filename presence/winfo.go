package presence

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

// winfo is who watches the watchers of a presentity (RFC 3857). Its fields but
// list are guarded by presentity.mu.
type winfo struct {
	watches []*watch
	timer   *time.Timer // of the next NOTIFYs
	last    time.Time   // of the newest
	list    atomic.Pointer[[]watcherEntry]
}

// watcherEntry is one watcher as it stood when the list was made.
type watcherEntry struct {
	uri, id string
}

const (
	// winfoPause keeps NOTIFYs of watcher information apart (RFC 3857 §4.10).
	winfoPause = 5 * time.Second
	// maxWatcherInfo bounds what a document takes with its watchers, in bytes, so
	// that it fits a datagram.
	maxWatcherInfo = 56 << 10
	// watcherSize is what a watcher takes besides its URI: a little more than is
	// written.
	watcherSize = 80
)

// mayWatchWatchers allows a user to see their own watchers, and nobody else's
// (RFC 3857 §4.5).
func mayWatchWatchers(id auth.Identity, user, presentity watched, list bool) error {
	switch {
	case list:
		return sipx.Errorf(400, "watcher information of a list is not supported")
	case presentity.result.Err != nil || user.result.Err != nil:
		return sipx.Errorf(403, "watcher information is for the presentity alone")
	case user.result.Entry.ID != presentity.result.Entry.ID || !mayActFor(id, &presentity.result.Entry):
		return sipx.Errorf(403, "watcher information is for the presentity alone")
	}
	return nil
}

// watchersChanged has those notified who watch the watchers. p.mu is held.
func (p *presentity) watchersChanged() {
	if len(p.winfo.watches) == 0 || p.winfo.timer != nil {
		return
	}
	wait := max(0, winfoPause-time.Since(p.winfo.last))
	p.winfo.timer = p.server.after(wait, func() {
		p.mu.Lock()
		p.winfo.timer = nil
		p.winfo.last = time.Now()
		p.listWatchers()
		due := append([]*watch(nil), p.winfo.watches...)
		p.mu.Unlock()
		for _, w := range due {
			p.server.enqueue(w.dialog, true, w)
		}
	})
}

func (p *presentity) listNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listWatchers()
}

// listWatchers makes the list that the next documents show. p.mu is held.
func (p *presentity) listWatchers() {
	var list []watcherEntry
	size := 0
	for _, w := range p.watches {
		d := w.dialog
		uri := bareURI(d.remote.URI)
		if size += watcherSize + len(uri) + len("amp;")*strings.Count(uri, "&"); size > maxWatcherInfo {
			break
		}
		list = append(list, watcherEntry{uri: uri, id: "w" + strconv.FormatUint(d.serial, 36)})
	}
	p.winfo.list.Store(&list)
}

// newWinfo makes a NOTIFY with all watchers of w's presentity. d.mu is held.
func (d *dialog) newWinfo(w *watch, why reason) *notification {
	info := &pidf.WatcherInfo{Version: uint64(d.version)}
	d.version++
	list := pidf.WatcherList{Resource: w.entity, Package: eventPresence}
	if watchers := w.presentity.winfo.list.Load(); watchers != nil {
		for _, e := range *watchers {
			list.Watchers = append(list.Watchers, pidf.Watcher{
				URI: e.uri, ID: e.id, Status: pidf.WatcherActive, Event: "subscribe",
			})
		}
	}
	info.Lists = []pidf.WatcherList{list}
	n := d.notifyHead(why)
	n.Body = info.AppendXML(nil)
	n.Header = append(n.Header, sipx.Field{Name: "Content-Type", Value: typeWatcherInfo})
	return n
}
