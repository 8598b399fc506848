package pidf

import (
	"strconv"
	"time"
)

// WatcherInfo is a document that says who watches whom (RFC 3858).
type WatcherInfo struct {
	Version uint64 // rises by one with each document of a subscription
	Partial bool   // only what changed; otherwise all
	Lists   []WatcherList
	Extra

	// Warnings says what the decoder tolerated. Encoding ignores it.
	Warnings []Warning

	prolog, epilog []Extension
}

// WatcherList is the watchers of one resource.
type WatcherList struct {
	Resource string // URI
	Package  string // event package, such as "presence"
	Watchers []Watcher
	Extra
}

// WatcherStatus is where a subscription stands (RFC 3857 §4.7.1).
type WatcherStatus string

// The values that RFC 3858 defines.
const (
	WatcherPending    WatcherStatus = "pending"
	WatcherActive     WatcherStatus = "active"
	WatcherWaiting    WatcherStatus = "waiting"
	WatcherTerminated WatcherStatus = "terminated"
)

// Watcher is one subscription.
type Watcher struct {
	URI    string
	ID     string // unique in the document, the same in all documents about this subscription
	Status WatcherStatus
	// Event is what brought it there: "subscribe", "approved", "deactivated", "probation", "rejected", "timeout",
	// "giveup" or "noresource".
	Event              string
	DisplayName        string         // empty where absent
	Lang               string         // of DisplayName
	Expiration         *time.Duration // until it expires, written in whole seconds; nil where absent
	DurationSubscribed *time.Duration // since it began, likewise
	Extra
}

// DecodeWatcherInfo reads a watcherinfo document with the default limits. See [Decoder.Decode] for what it tolerates and refuses.
func DecodeWatcherInfo(data []byte) (*WatcherInfo, error) { return Decoder{}.DecodeWatcherInfo(data) }

// DecodeWatcherInfo reads a watcherinfo document.
func (c Decoder) DecodeWatcherInfo(data []byte) (*WatcherInfo, error) {
	d := newDecoder(c.Limits)
	i := new(WatcherInfo)
	if !d.load(data) {
		return nil, d.err
	}
	var ok bool
	if i.prolog, ok = d.root("watcherinfo", idWatcherInfo, NSWatcherInfo); !ok {
		return nil, d.err
	}
	i.Version = d.version(64)
	i.Partial = d.token(d.from, "state", d.takeString("state"), documentStates) == "partial"
	i.Attrs = d.takeRest()
	n := 0
	for d.child(&i.Extra, n) {
		if d.name.local == "watcher-list" && d.is(idWatcherInfo) {
			i.Lists = append(i.Lists, WatcherList{})
			d.watcherList(&i.Lists[len(i.Lists)-1])
			n++
			continue
		}
		d.keep(&i.Extra, n)
	}
	if i.epilog = d.finish(); d.err != nil {
		return nil, d.err
	}
	i.Warnings = d.warnings
	return i, nil
}

func (d *decoder) watcherList(l *WatcherList) {
	l.Resource, l.Package = trim(d.takeString("resource")), d.takeString("package")
	l.Attrs = d.takeRest()
	n := 0
	for d.child(&l.Extra, n) {
		if d.name.local == "watcher" && d.is(idWatcherInfo) && d.watcher(l) {
			n++
		} else if d.err == nil {
			d.keep(&l.Extra, n)
		}
	}
}

func (d *decoder) watcher(l *WatcherList) bool {
	m := d.mark()
	w := Watcher{
		ID:          d.takeString("id"),
		Status:      WatcherStatus(d.token(d.from, "status", d.takeString("status"), watcherStatuses)),
		Event:       d.token(d.from, "event", d.takeString("event"), watcherEvents),
		DisplayName: d.takeString("display-name"),
		Lang:        d.takeLang(),
	}
	w.Expiration, w.DurationSubscribed = d.takeSeconds("expiration"), d.takeSeconds("duration-subscribed")
	w.Attrs = d.takeRest()
	uri, ok := d.text()
	if !ok {
		return d.back(m, "an element inside a text")
	}
	w.URI = trim(uri)
	l.Watchers = append(l.Watchers, w)
	return true
}

// takeSeconds returns a number of seconds, at most 68 years, which is what SIP's Expires can say.
func (d *decoder) takeSeconds(local string) *time.Duration {
	n, ok := d.takeUint(local, 31)
	if !ok {
		return nil
	}
	t := time.Duration(n) * time.Second
	return &t
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (i *WatcherInfo) AppendXML(dst []byte) []byte {
	w := writer{b: dst}
	state := "full"
	if i.Partial {
		state = "partial"
	}
	w.prolog(i.prolog)
	w.raw(`<watcherinfo xmlns="` + NSWatcherInfo + `"`)
	w.attr("version", strconv.FormatUint(i.Version, 10))
	w.attr("state", state)
	w.attrs(i.Attrs, false)
	w.raw(`>`)
	e := extras{left: i.placed(NSWatcherInfo, len(i.Lists), len(i.Lists))}
	for k := range i.Lists {
		w.next(&e)
		w.watcherList(&i.Lists[k])
	}
	w.rest(&e)
	w.raw(`</watcherinfo>`)
	w.epilog(i.epilog)
	return w.b
}

func (w *writer) watcherList(l *WatcherList) {
	w.raw(`<watcher-list`)
	w.attr("resource", l.Resource)
	w.attr("package", l.Package)
	w.attrs(l.Attrs, false)
	w.raw(`>`)
	e := extras{left: l.placed(NSWatcherInfo, len(l.Watchers), len(l.Watchers))}
	for i := range l.Watchers {
		w.next(&e)
		w.watcher(&l.Watchers[i])
	}
	w.rest(&e)
	w.raw(`</watcher-list>`)
}

func (w *writer) watcher(x *Watcher) {
	w.raw(`<watcher`)
	w.attr("id", x.ID)
	w.attr("status", string(x.Status))
	w.attr("event", x.Event)
	w.optional("display-name", x.DisplayName)
	w.optional("xml:lang", x.Lang)
	w.seconds("expiration", x.Expiration)
	w.seconds("duration-subscribed", x.DurationSubscribed)
	w.attrs(x.Attrs, false)
	w.close("watcher", x.URI)
}

func (w *writer) seconds(name string, t *time.Duration) {
	if t != nil {
		w.attr(name, strconv.FormatInt(max(0, int64(*t/time.Second)), 10))
	}
}
