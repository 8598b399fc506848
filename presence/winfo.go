package presence

import (
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/openblustar/blustar/presence/subscription"
)

// watchers tells who watches a presentity. It can be watched itself (RFC 3857), and
// implements [subscription.Resource]. The presentity's lock guards its fields, except list.
type watchers struct {
	of      *presentity
	watches []*subscription.Watch
	due     deadline.Item // when the next list is made
	waiting bool          // for due
	last    time.Time     // when the newest list was made
	list    atomic.Pointer[watcherList]
}

// watcherList tells who watched at one moment. It implements [subscription.State].
type watcherList struct {
	version  uint64
	watchers []watcherinfo.Watcher
}

const (
	// winfoPause keeps NOTIFYs of watcher information apart (RFC 3857 §4.10).
	winfoPause = 5 * time.Second
	// maxWatcherInfo bounds what a document takes with its watchers, in bytes, so
	// that it fits a datagram.
	maxWatcherInfo = 56 << 10
	// watcherSize bounds what a watcher takes besides its URI, in bytes.
	watcherSize = 80
)

// Current implements [subscription.Resource].
func (w *watchers) Current() subscription.State {
	if list := w.list.Load(); list != nil {
		return list
	}
	return &watcherList{}
}

// Joined implements [subscription.Resource].
func (w *watchers) Joined(watch *subscription.Watch, _ subscription.View) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.watches = append(w.watches, watch)
	w.renew()
}

// Left implements [subscription.Resource].
func (w *watchers) Left(watch *subscription.Watch, _ subscription.View) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.watches = slices.DeleteFunc(w.watches, func(o *subscription.Watch) bool { return o == watch })
	if len(w.watches) == 0 && len(w.of.watches) == 0 {
		w.of.mayBeIdle()
	}
}

// changed has a new list made after a pause. The presentity is locked.
func (w *watchers) changed() {
	if len(w.watches) == 0 || w.waiting {
		return
	}
	w.waiting = true
	w.of.server.deadlines.Set(&w.due, w, w.last.Add(winfoPause))
}

// Expired implements [deadline.Expirer].
func (w *watchers) Expired() {
	w.of.mu.Lock()
	w.waiting = false
	w.last = time.Now()
	w.renew()
	due := slices.Clone(w.watches)
	w.of.mu.Unlock()
	subscription.Notify(due)
}

// complete makes the list anew, when all watches of a former process are there.
func (w *watchers) complete() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.renew()
}

// renew makes the list that the next documents show. The presentity is locked.
func (w *watchers) renew() {
	next := &watcherList{}
	if before := w.list.Load(); before != nil {
		next.version = before.version + 1
	}
	size := 0
	for _, watch := range w.of.watches {
		d := watch.Dialog()
		uri := bareURI(d.Watcher())
		if size += watcherSize + len(uri) + len("amp;")*strings.Count(uri, "&"); size > maxWatcherInfo {
			break
		}
		next.watchers = append(next.watchers, watcherinfo.Watcher{
			URI: uri, ID: "w" + strconv.FormatUint(d.Serial(), 36), Status: "active", Event: "subscribe",
		})
	}
	if before := w.list.Load(); before != nil && slices.EqualFunc(before.watchers, next.watchers, func(a, b watcherinfo.Watcher) bool { return a.ID == b.ID }) {
		return
	}
	w.list.Store(next)
}

// Version implements [subscription.State].
func (l *watcherList) Version(subscription.View) uint64 { return l.version }

// Digest implements [subscription.Digester].
func (l *watcherList) Digest(subscription.View) uint64 {
	lines := make([]string, len(l.watchers)) // in any order
	for i := range l.watchers {
		lines[i] = l.watchers[i].ID + " " + l.watchers[i].URI
	}
	slices.Sort(lines)
	hash := fnv.New64a()
	for _, line := range lines {
		_, _ = io.WriteString(hash, line+"\n")
	}
	return hash.Sum64() | 1
}

// Body implements [subscription.State].
func (l *watcherList) Body(room []byte, s subscription.Showing) (body []byte, own bool) {
	info := &watcherinfo.Document{
		Version: uint64(s.Serial),
		Lists:   []watcherinfo.List{{Resource: s.Entity, Package: eventPresence, Watchers: l.watchers}},
	}
	return info.AppendXML(room), true
}
