package presence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/sipx"
)

// pidfBody is what a client of the RFCs publishes.
func pidfBody(basic, activity, note string) string {
	return fmt.Sprintf(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"`+
		` xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:tom@example.com"><tuple id="desk"><status><basic>%s</basic></status>`+
		`<contact priority="0.8">sip:tom@192.0.2.8</contact><note>%s</note></tuple>`+
		`<dm:person id="me"><rpid:activities>%s</rpid:activities></dm:person></presence>`, basic, note, activity)
}

// RFC 3903 §6: each PUBLISH gets a new entity-tag; an old one is 412; a refresh
// keeps the state; each client has a publication of its own, and they compose.
func TestStandardPublish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		desk, mobile := w.standard("tom", "192.0.2.8"), w.standard("tom", "192.0.2.9")
		desk.contact, mobile.contact = "", ""
		w.net.take()

		first := etag(desk.publish("", pidfBody("open", "", "At the desk"), "Expires: 600"))
		require.Equal(t, shown{"sip:tom@example.com", "other:available", "At the desk", "available", "gamp"}, watcher.one().shown(t))
		second := etag(desk.publish(first, "", "Expires: 600"))
		require.NotEqual(t, first, second)
		require.Empty(t, w.net.take())
		require.Equal(t, 412, desk.publish(first, "").Status)

		time.Sleep(time.Second)
		other := etag(mobile.publish("", pidfBody("open", "<rpid:on-the-phone/>", ""), "Expires: 300"))
		n := watcher.one()
		require.Equal(t, "on-the-phone", n.shown(t).activity, "as it was published (BSX-6)")
		require.Len(t, n.doc(t).Tuples, 6, "the tuples of both are passed on")

		time.Sleep(301 * time.Second)
		sent := watcher.of(w.net.take())
		require.Equal(t, 412, mobile.publish(other, "").Status, "it has expired")
		_ = sent
		watcher, _ = w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, "other:available", watcher.of(w.net.take())[0].shown(t).activity)
		require.Equal(t, 200, desk.publish(second, "", "Expires: 0").Status)
		require.Equal(t, shown{"sip:tom@example.com", "other:signed out", "Signed out", "signed out", ""}, watcher.one().shown(t))
		require.Equal(t, 400, desk.publish("", "", "Expires: 0").Status)
	})
}

// BSX-6: what the documents of other clients mean.
func TestStandardStatuses(t *testing.T) {
	for _, tt := range []struct {
		basic, activity string
		want            consolidation.Status
		note            string
	}{
		{"open", "", consolidation.StatusAvailable, "Available"},
		{"closed", "", consolidation.StatusSignedOut, "Signed out"},
		{"open", "<rpid:on-the-phone/>", consolidation.StatusBusy, "In a call"},
		{"open", "<rpid:meeting/>", consolidation.StatusBusy, "In a meeting"},
		{"open", "<rpid:appointment/>", consolidation.StatusBusy, "In a meeting"},
		{"open", "<rpid:presentation/>", consolidation.StatusBusy, "In a meeting"},
		{"open", "<rpid:busy/>", consolidation.StatusBusy, "Busy"},
		{"open", "<rpid:away/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:vacation/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:holiday/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:travel/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:sleeping/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:dinner/>", consolidation.StatusAway, "Away"},
		{"closed", "<rpid:meal/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:permanent-absence/>", consolidation.StatusAway, "Away"},
		{"open", "<rpid:steering/>", consolidation.StatusBusy, "Busy"},
		{"open", "<rpid:performance/>", consolidation.StatusBusy, "In a meeting"},
		{"open", "<rpid:working/>", consolidation.StatusAvailable, "Available"},
		{"closed", "<rpid:looking-for-work/>", consolidation.StatusSignedOut, "Signed out"},
		{"open", "<rpid:away/><rpid:busy/><rpid:on-the-phone/>", consolidation.StatusBusy, "In a call"},
		{"open", "<rpid:other>unavailable</rpid:other>", consolidation.StatusUnavailable, "Unavailable"},
		{"open", "<rpid:other>signed out</rpid:other>", consolidation.StatusSignedOut, "Signed out"},
		{"closed", "<rpid:other>available</rpid:other>", consolidation.StatusAvailable, "Available"},
	} {
		t.Run(tt.basic+tt.activity, func(t *testing.T) {
			w := newWorld(t)
			require.Equal(t, 200, w.standard("tom", "192.0.2.8").publish("", pidfBody(tt.basic, tt.activity, "")).Status)
			view, err := w.server.Presence(t.Context(), "sip:tom@example.com")
			require.NoError(t, err)
			require.Equal(t, tt.want, view.Result.Status)
			require.Equal(t, tt.note, view.Result.Note)
		})
	}
}

// BSP-3.2-8: aa:blustar is the last status of a BluStar client. That of another client
// counts for what is consolidated, and is shown there while no BluStar client is live. A
// BluStar PUBLISH without aa:blustar changes its tuples alone.
func TestWhoseStatusIsShown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		latest := func() shown {
			list := watcher.of(w.net.take())
			require.NotEmpty(t, list)
			return list[len(list)-1].shown(t)
		}
		phone := w.standard("tom", "192.0.2.9")
		away := etag(phone.publish("", pidfBody("open", "<rpid:away/>", "")))
		require.Equal(t, "away", latest().activity)
		phone.publish(away, pidfBody("open", "<rpid:busy/>", ""))
		now := latest()
		require.Equal(t, "busy", now.activity)
		require.Equal(t, "busy", now.blustar, "no BluStar client is live")

		blu := w.client("tom", "192.0.2.8")
		own, _ := blu.subscribe("sip:tom@example.com")
		tag := etag(blu.status("", "available", "here"))
		now = latest()
		require.Equal(t, "busy", now.activity, "the other client's counts")
		require.Equal(t, "available", now.blustar)

		tuples := bluStarBody("", "")
		tuples = tuples[:strings.Index(tuples, "<dm:person")] + "</presence>"
		require.Equal(t, 200, blu.publish(tag, strings.Replace(tuples, "closed", "open", 1)).Status)
		now = latest()
		require.Equal(t, "gavmp", now.services)
		require.Equal(t, "available", now.blustar)

		require.Equal(t, 200, own.end().Status)
		now = latest()
		require.Equal(t, "busy", now.activity)
		require.Equal(t, "busy", now.blustar)
	})
}

// BSP-4.3-5, BSX-6: what the tuples of other clients open, p being one of those
// themselves. A watcher that looks at
// the first tuple alone, as baresip does, must not see a user online who is not.
func TestStandardServices(t *testing.T) {
	for _, tt := range []struct{ tuples, want string }{
		{"", "gam"},
		{"desk:open", "gamp"},
		{"desk:closed", ""},
		{"desk:closed mobile:open", "gamp"},
		{"desk:unknown", "gam"},
		{"audio:closed video:open", "gvp"},
		{"audio:open message:closed", "gap"},
	} {
		t.Run(tt.tuples, func(t *testing.T) {
			w := newWorld(t)
			watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			w.net.take()
			var tuples strings.Builder
			for tuple := range strings.FieldsSeq(tt.tuples) {
				id, basic, _ := strings.Cut(tuple, ":")
				fmt.Fprintf(&tuples, `<tuple id="%s"><status><basic>%s</basic></status></tuple>`, id, basic)
			}
			require.Equal(t, 200, w.standard("tom", "192.0.2.8").publish("",
				`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com">`+tuples.String()+`</presence>`).Status)
			n := watcher.one()
			require.Equal(t, tt.want, n.shown(t).services)
			for _, tuple := range n.doc(t).Tuples {
				require.Contains(t, []pidf.Basic{pidf.Open, pidf.Closed, ""}, tuple.Basic, "RFC 3863 §4.1.4")
			}
		})
	}
}

// RFC 6665 §4.2.1: a refresh is answered with a NOTIFY; a new list in it with 415
// (RFC 5367 §5.1); and each dialog stands alone.
func TestStandardSubscribe(t *testing.T) {
	w := newWorld(t)
	e := w.standard("tom", "192.0.2.8")
	own, res := e.subscribe("sip:tom@example.com")
	require.Equal(t, 200, res.Status)
	other, _ := e.subscribe("sip:bob@example.com")
	n := own.of(w.net.take())[0]
	require.Equal(t, "sip:tom@example.com", n.doc(t).Entity)
	require.Equal(t, 200, own.refresh().Status)
	require.Equal(t, uint32(2), own.one().CSeq)
	require.Equal(t, 415, own.again(resourceLists("sip:bob@example.com"), "Expires: 300", "Content-Type: application/resource-lists+xml").Status)
	require.Equal(t, 200, own.end().Status)
	require.Equal(t, 200, other.refresh().Status)
	require.Zero(t, w.server.Stats().Clients)
	view, err := w.server.Presence(t.Context(), "sip:tom@example.com")
	require.NoError(t, err)
	require.Equal(t, consolidation.StatusSignedOut, view.Result.Status)
}

// The dialect is told from the request that opens a dialog or publication, and
// kept with it.
func TestDialectOf(t *testing.T) {
	blu := map[string]func(*endpoint) *sipx.Response{
		"User-Agent": func(e *endpoint) *sipx.Response {
			e.agent = "Mitel blustar 7/1"
			_, res := e.subscribe("sip:bob@example.com")
			return res
		},
		"X-BSS header": func(e *endpoint) *sipx.Response {
			_, res := e.subscribe("sip:bob@example.com", "X-BSS-rauth: x", "Expires: 300")
			return res
		},
		"fmc": func(e *endpoint) *sipx.Response {
			e.contact = "sip:fmc@192.0.2.8"
			_, res := e.subscribe("sip:bob@example.com")
			return res
		},
		"list without eventlist": func(e *endpoint) *sipx.Response {
			_, res := e.list("sip:bob@example.com")
			return res
		},
	}
	for name, open := range blu {
		w := newWorld(t)
		require.Equal(t, 200, open(w.standard("ann", "192.0.2.7")).Status)
		require.Equal(t, "BluStar", w.server.Subscriptions()[0].Dialect, name)
	}
	w := newWorld(t)
	w.standard("ann", "192.0.2.7").subscribe("sip:bob@example.com")
	require.Equal(t, "Standard", w.server.Subscriptions()[0].Dialect)
	w.standard("tom", "192.0.2.7").publish("", bluStarBody("busy", "x"))
	require.Equal(t, "BluStar", w.server.Publications()[0].Dialect, "aa: body")

	unused := strings.Replace(pidfBody("open", "", ""), "<presence ", `<presence xmlns:aa="http://www.aastra.com/presence/blustar/2011" `, 1)
	w.standard("bob", "192.0.2.9").publish("", unused)
	require.Equal(t, "Standard", w.server.Publications()[0].Dialect, "declared is not used")

	e := w.standard("tom", "192.0.2.7")
	tag := w.server.Publications()[1].ETag
	require.Equal(t, tag, etag(e.publish(tag, "")), "a publication keeps its dialect")

	for mode, want := range map[presence.DialectMode]string{presence.DialectBluStar: "BluStar", presence.DialectStandard: "Standard"} {
		w := newWorld(t, func(c *presence.Config) { c.Dialect = mode })
		w.standard("ann", "192.0.2.7").subscribe("sip:bob@example.com")
		w.client("ann", "192.0.2.7").subscribe("sip:bob@example.com")
		for _, s := range w.server.Subscriptions() {
			require.Equal(t, want, s.Dialect)
		}
	}
}

// RFC 4662, RFC 5367: a list subscription with Supported: eventlist gets one RLMI
// body with all resources first, and after that with what changed.
func TestEventList(t *testing.T) {
	w := newWorld(t)
	s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", resourceLists("sip:tom@example.com", "sip:bob@example.com"),
		"Expires: 300", "Supported: eventlist", "Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml",
		"Accept: application/pidf+xml, application/rlmi+xml, multipart/related")
	require.Equal(t, 200, res.Status)
	require.Equal(t, "eventlist", res.Header.Get("Require"))
	n := s.one()
	require.Equal(t, "eventlist", n.Header.Get("Require"))
	require.Equal(t, "multipart/related", sipx.MediaType(n.Header.Get("Content-Type")))
	list, docs := listOf(t, n)
	require.True(t, list.FullState)
	require.Equal(t, uint32(0), list.Version)
	require.Len(t, docs, 2)

	w.net.hold()
	tag := etag(w.standard("tom", "192.0.2.8").publish("", pidfBody("open", "<rpid:busy/>", "")))
	held := s.one()
	list, docs = listOf(t, held)
	require.False(t, list.FullState)
	require.Equal(t, uint32(1), list.Version)
	require.Len(t, docs, 1)
	require.Equal(t, "sip:tom@example.com", docs[0].Entity)
	w.standard("tom", "192.0.2.8").publish(tag, pidfBody("open", "<rpid:away/>", ""))
	w.standard("bob", "192.0.2.9").publish("", pidfBody("open", "", ""))
	require.Empty(t, w.net.take(), "one at a time")
	held.ok()
	_, docs = listOf(t, s.one())
	require.Len(t, docs, 2)
}

func listOf(t *testing.T, n *notify) (*rlmi.List, []*pidf.Presence) {
	message, err := related.Decode(pidf.Decoder{}, n.Header.Get("Content-Type"), n.Body)
	require.NoError(t, err)
	list := message.List
	var docs []*pidf.Presence
	for _, r := range list.Resources {
		for _, i := range r.Instances {
			part, ok := message.Part(i.CID)
			require.True(t, ok)
			doc, err := aa.Decode(part.Body)
			require.NoError(t, err)
			docs = append(docs, doc)
		}
	}
	return list, docs
}
