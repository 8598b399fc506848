package pidf

import "time"

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

// Watcher is one subscription.
type Watcher struct {
	URI    string
	ID     string // unique in the document, the same in all documents about this subscription
	Status string // where the subscription stands (RFC 3857 §4.7.1): "pending", "active", "waiting" or "terminated"
	// Event is what brought it there: "subscribe", "approved", "deactivated", "probation", "rejected", "timeout",
	// "giveup" or "noresource".
	Event              string
	DisplayName        string         // empty where absent
	Lang               string         // of DisplayName
	Expiration         *time.Duration // until it expires, written in whole seconds; nil where absent
	DurationSubscribed *time.Duration // since it began, likewise
	Extra
}

// DecodeWatcherInfo reads a watcherinfo document. See [Decoder.Decode] for what it tolerates and refuses.
func (c Decoder) DecodeWatcherInfo(data []byte) (*WatcherInfo, error) {
	i := new(WatcherInfo)
	warnings, err := c.document(data, idWatcherInfo, "watcherinfo", &i.Extra, &i.prolog, &i.epilog, i.Fields)
	if err != nil {
		return nil, err
	}
	i.Warnings = warnings
	return i, nil
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (i *WatcherInfo) AppendXML(dst []byte) []byte {
	w := newWriter(dst, BluStarDialect)
	w.document(idWatcherInfo, "watcherinfo", &i.Extra, i.prolog, i.epilog, i.Fields)
	return w.done()
}

func (i *WatcherInfo) Fields(f *Fields) {
	f.Attr("version", &i.Version, Need)
	f.state(&i.Partial)
	Many(f, "watcher-list", &i.Lists)
}

// state lists whether a document is partial. Any other state is read as full and kept.
func (f *Fields) state(partial *bool) {
	var state string
	switch {
	case *partial:
		state = "partial"
	case f.mode != readAttrs && (f.mode != writing || f.x.hidden == nil || f.x.hidden.missing&(f.bit()<<1) == 0):
		state = "full"
	}
	f.Attr("state", &state, Need, documentStates)
	if f.mode != readAttrs {
		return
	}
	if *partial = state == "partial"; state != "" && !isOneOf(state, documentStates) {
		f.d.warn("state " + state + " read as full")
		f.x.hide().missing |= f.bit()
		for i := range f.d.Attrs {
			if a := &f.d.Attrs[i]; a.Prefix == "" && a.Local == "state" {
				a.Taken = false
			}
		}
	}
}

func (l *WatcherList) Fields(f *Fields) {
	f.Attr("resource", &l.Resource, Need)
	f.Attr("package", &l.Package, Need|Raw)
	Many(f, "watcher", &l.Watchers)
}

func (w *Watcher) Fields(f *Fields) {
	f.Attr("id", &w.ID, Need|Raw)
	f.Attr("status", &w.Status, Need, watcherStatuses)
	f.Attr("event", &w.Event, Need, watcherEvents)
	f.Attr("display-name", &w.DisplayName, Raw)
	f.Attr("xml:lang", &w.Lang, Raw)
	f.Attr("expiration", &w.Expiration, 0)
	f.Attr("duration-subscribed", &w.DurationSubscribed, 0)
	f.Text(&w.URI, 0)
}
