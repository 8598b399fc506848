package presence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// BSP-4-1, BSP-4-2, BSP-2.1-3: the 200 has a To tag, Contact and the granted
// Expires; the NOTIFY that follows belongs to its dialog and looks as printed.
func TestSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		s, res := w.client("ann", "192.0.2.7:5060").subscribe("sip:tom@example.com:5060")
		require.Equal(t, 200, res.Status)
		require.NotEmpty(t, res.ToTag)
		require.Equal(t, "300", res.Header.Get("Expires"))
		require.Equal(t, "<sip:192.0.2.1:5060>", res.Header.Get("Contact"))

		n := s.one()
		require.Equal(t, "NOTIFY", n.Method)
		require.Equal(t, "sip:ann@192.0.2.7:5060", n.URI.String())
		require.Equal(t, "<sip:tom@example.com:5060>;tag="+res.ToTag, n.From.String())
		require.Equal(t, "<sip:ann@example.com>;tag=f"+s.callID, n.To.String())
		require.Equal(t, uint32(1), n.CSeq)
		require.Equal(t, 1, n.Header.Count("Contact"))
		require.Equal(t, "presence", n.Header.Get("Event"))
		require.Equal(t, "300", n.Header.Get("Expires"))
		require.Equal(t, "active;expires=300", n.state())
		require.Equal(t, "application/pidf+xml", n.Header.Get("Content-Type"))
		require.Equal(t, udp("192.0.2.7:5060"), n.Flow)
		require.Equal(t, shown{entity: "sip:tom@example.com", activity: "other:signed out", note: "Signed out", blustar: "signed out"}, n.shown(t))
	})
}

// BSP-2.1-3: the Request-URI names the presentity where its host is served; else
// To does.
func TestPresentityOfSubscribe(t *testing.T) {
	for _, tt := range []struct{ uri, to, want string }{
		{"sip:ann@example.com", "<sip:tom@example.com>", "sip:ann@example.com"},
		{"sip:ann@192.0.2.1", "<sip:tom@example.com>", "sip:tom@example.com"},
		{"sip:192.0.2.1:5060", "<sip:tom@example.com>", "sip:tom@example.com"},
		{"sip:192.0.2.1:5060", "<tel:2719;phone-context=x>", "tel:2719"},
	} {
		w := newWorld(t)
		req := w.client("bob", "192.0.2.7").request("SUBSCRIBE", tt.uri, tt.to, "c", 1, "", "Event: presence")
		require.Equal(t, 200, w.send(req).Status)
		sent := w.net.take()
		require.Len(t, sent, 1)
		require.Equal(t, tt.want, sent[0].doc(t).Entity)
		require.NotEmpty(t, sent[0].doc(t).Devices, "%s has an entry with a line", tt.want)
	}
}

// BSP-2.1-5: no entry is no error; the document is the "unknown" one.
func TestUnknownPresentity(t *testing.T) {
	w := newWorld(t)
	for _, uri := range []string{"sip:nobody@example.com", "tel:999", "sip:x@elsewhere.example", "mailto:x@example.com"} {
		s, res := w.client("ann", "192.0.2.7").subscribe(uri)
		require.Equal(t, 200, res.Status)
		n := s.one()
		doc := n.doc(t)
		require.Equal(t, shown{entity: uri, activity: "other:unknown", blustar: "unknown"}, shownOf(doc))
		require.Empty(t, doc.Devices)
		require.Len(t, doc.Tuples, 4)
		require.Empty(t, doc.Persons[0].Activities.Notes)
	}
}

// BSP-2.1-7: two addresses of one entry are one presentity; each watcher's
// documents have the address that it subscribed to.
func TestAliasesShareState(t *testing.T) {
	w := newWorld(t)
	e := w.client("ann", "192.0.2.7")
	bySIP, _ := e.subscribe("sip:67251@EXAMPLE.com:5060")
	byTel, _ := e.subscribe("tel:27-19")
	w.net.take()
	require.Equal(t, 200, w.client("tom", "192.0.2.9").status("", "busy", "HELLO").Status)
	sent := w.net.take()
	require.Equal(t, shown{"sip:67251@EXAMPLE.com", "busy", "HELLO", "busy", "gam"}, bySIP.of(sent)[0].shown(t))
	require.Equal(t, shown{"tel:27-19", "busy", "HELLO", "busy", "gam"}, byTel.of(sent)[0].shown(t))
}

// BSP-4.1-2: how long a subscription is granted.
func TestSubscribeExpires(t *testing.T) {
	for _, tt := range []struct {
		asked  string
		status int
		want   string
	}{
		{"", 200, "300"}, {"Expires: 7200", 200, "300"}, {"Expires: 300", 200, "300"}, {"Expires: 60", 200, "60"},
		{"Expires: 59", 423, "60"}, {"Expires: 1", 423, "60"}, {"Expires: 4294967296", 200, "300"},
		{"Expires: 99999999999999999999999", 200, "300"}, {"Expires: soon", 400, ""}, {"Expires: -1", 400, ""}, {"Expires: 0", 200, "0"},
	} {
		t.Run(tt.asked, func(t *testing.T) {
			w := newWorld(t)
			fields := []string{"Subject: x"}
			if tt.asked != "" {
				fields = append(fields, tt.asked)
			}
			_, res := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com", fields...)
			require.Equal(t, tt.status, res.Status)
			if tt.status == 423 {
				require.Equal(t, tt.want, res.Header.Get("Min-Expires"))
			} else if tt.want != "" {
				require.Equal(t, tt.want, res.Header.Get("Expires"))
			}
		})
	}
}

// BSP-2.2-1: Expires 0 in a dialog ends it with a last NOTIFY; after that it is
// unknown.
func TestUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		require.Equal(t, 200, s.end().Status)
		n := s.one()
		require.Equal(t, "terminated;reason=timeout", n.state())
		require.Equal(t, uint32(2), n.CSeq)
		require.Equal(t, 481, s.refresh().Status)
		w.client("tom", "192.0.2.9").status("", "busy", "")
		require.Empty(t, w.net.take())
		require.Zero(t, w.server.Stats().Watches)
	})
}

// RFC 6665 §4.4.3, BSP-2.2-1: Expires 0 in a new SUBSCRIBE fetches the state.
func TestFetch(t *testing.T) {
	w := newWorld(t)
	e := w.client("ann", "192.0.2.7")
	s, res := e.subscribe("sip:tom@example.com", "Expires: 0")
	require.Equal(t, 200, res.Status)
	n := s.one()
	require.Equal(t, "terminated;reason=timeout", n.state())
	require.Equal(t, "sip:tom@example.com", n.doc(t).Entity)
	require.Zero(t, w.server.Stats().Subscriptions)

	l, res := e.open("sip:rls@example.com", resourceLists("sip:ann@example.com", "sip:tom@example.com"),
		"Expires: 0", "Content-Type: application/resource-lists+xml")
	require.Equal(t, 200, res.Status)
	sent := l.of(w.net.take())
	require.Len(t, sent, 3, "one for each entry, and the end")
	require.Equal(t, "sip:ann@example.com", sent[0].doc(t).Entity)
	require.Equal(t, "sip:tom@example.com", sent[1].doc(t).Entity)
	require.Equal(t, "terminated;reason=timeout", sent[2].state())
	require.Zero(t, w.server.Stats().Watches)
}

// BSP-2.3-1: a subscription that is not refreshed ends; one that is, stays.
// BSP-2.9-1: the refresh is answered with the granted Expires, and with no
// NOTIFY in the BluStar dialect.
func TestRefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		kept, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		left, _ := w.client("bob", "192.0.2.8").subscribe("sip:tom@example.com")
		w.net.take()
		time.Sleep(299 * time.Second)
		res := kept.refresh()
		require.Equal(t, 200, res.Status)
		require.Equal(t, "300", res.Header.Get("Expires"))
		require.Empty(t, w.net.take())
		time.Sleep(2 * time.Second)
		sent := w.net.take()
		require.Empty(t, kept.of(sent))
		require.Equal(t, "terminated;reason=timeout", left.of(sent)[0].state())
		require.Equal(t, 481, left.refresh().Status)
		require.Equal(t, 200, kept.refresh().Status)
	})
}

// BSP-4.1-3, BSP-4-5: a To tag that the server did not give is 481, in both
// dialects; as is one of another dialog.
func TestUnknownDialog(t *testing.T) {
	w := newWorld(t)
	for _, e := range []*endpoint{w.client("ann", "192.0.2.7"), w.standard("ann", "192.0.2.7")} {
		req := e.request("SUBSCRIBE", "sip:192.0.2.1", "<sip:tom@example.com>;tag=70f4bd96", "x", 1, "", "Event: presence")
		require.Equal(t, 481, w.send(req).Status)
		s, _ := e.subscribe("sip:tom@example.com")
		other := *s
		other.callID = "another"
		require.Equal(t, 481, other.refresh().Status)
	}
}

// RFC 3261 §12.2.2: a CSeq that does not rise is refused; the dialog stays.
func TestSubscribeCSeqOrder(t *testing.T) {
	w := newWorld(t)
	s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	require.Equal(t, 200, s.refresh().Status)
	s.cseq -= 1
	require.Equal(t, 500, s.refresh().Status)
	require.Equal(t, 200, s.refresh().Status)
}

// BSP-4-3: requests in the dialog follow its route set, and the 200 repeats it.
func TestRouteSet(t *testing.T) {
	w := newWorld(t)
	e := w.client("ann", "192.0.2.7")
	e.header = []string{"Record-Route: <sip:sbc2.example.com;lr>, <sip:192.0.2.50;lr>", "Record-Route: <sip:192.0.2.51:5070;lr;x=a,b>"}
	s, res := e.subscribe("sip:tom@example.com")
	require.Equal(t, 200, res.Status, res.Reason)
	require.Equal(t, []string{"<sip:sbc2.example.com;lr>, <sip:192.0.2.50;lr>", "<sip:192.0.2.51:5070;lr;x=a,b>"}, collect(res.Header, "Record-Route"))
	n := s.one()
	require.Equal(t, []string{"<sip:sbc2.example.com;lr>", "<sip:192.0.2.50;lr>", "<sip:192.0.2.51:5070;lr;x=a,b>"}, n.Route)
	require.Equal(t, "sip:ann@192.0.2.7", n.URI.String())
	require.False(t, n.Flow.Remote.IsValid(), "the route set says where it goes")
}

func collect(h sipx.Header, name string) (list []string) {
	for v := range h.Values(name) {
		list = append(list, v)
	}
	return list
}

// BSX-5: where NOTIFYs go.
func TestReturnFlow(t *testing.T) {
	remote := udp("198.51.100.9:6000")
	for _, tt := range []struct {
		name, contact string
		nat           subscription.NATMode
		flow          sipx.Flow
		want          string // remote address, "" for left to the stack
	}{
		{"contact", "sip:ann@203.0.113.7:5062", subscription.NATAuto, remote, "203.0.113.7:5062"},
		{"default port", "sip:ann@203.0.113.7", subscription.NATAuto, remote, "203.0.113.7:5060"},
		{"private contact elsewhere", "sip:67251@10.103.228.151:5060", subscription.NATAuto, remote, "198.51.100.9:6000"},
		{"a carrier's address", "sip:ann@100.64.0.7:5062", subscription.NATAuto, remote, "198.51.100.9:6000"},
		{"link-local", "sip:ann@169.254.0.7:5062", subscription.NATAuto, remote, "198.51.100.9:6000"},
		{"link-local IPv6", "sip:ann@[fe80::7]:5062", subscription.NATAuto, udp("[2001:db8::7]:6000"), "[2001:db8::7]:6000"},
		{"loopback elsewhere", "sip:ann@127.0.0.1:5062", subscription.NATAuto, remote, "198.51.100.9:6000"},
		{"loopback", "sip:ann@127.0.0.1:5062", subscription.NATAuto, udp("127.0.0.2:6000"), "127.0.0.1:5062"},
		{"no address", "sip:ann@0.0.0.0:5062", subscription.NATAuto, remote, "198.51.100.9:6000"},
		{"private network", "sip:ann@10.0.0.7:5062", subscription.NATAuto, udp("10.0.0.7:6000"), "10.0.0.7:5062"},
		{"never", "sip:67251@10.103.228.151:5060", subscription.NATNever, remote, "10.103.228.151:5060"},
		{"always", "sip:ann@203.0.113.7:5062", subscription.NATAlways, remote, "198.51.100.9:6000"},
		{"host name", "sip:ann@phone.example.com", subscription.NATAuto, remote, ""},
		{"another transport", "sip:ann@203.0.113.7:5062;transport=tcp", subscription.NATAuto, remote, ""},
		{"connection", "sip:ann@203.0.113.7:5062;transport=tcp", subscription.NATAuto, tcp(7), "192.0.2.7:40000"},
		{"IPv6", "sip:ann@[2001:db8::7]:5062", subscription.NATAuto, udp("[2001:db8::7]:6000"), "[2001:db8::7]:5062"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *presence.Config) { c.NAT = tt.nat })
			e := w.client("ann", "x")
			e.contact, e.flow = tt.contact, tt.flow
			s, res := e.subscribe("sip:tom@example.com")
			require.Equal(t, 200, res.Status)
			flow := s.one().Flow
			if tt.want == "" {
				require.False(t, flow.Remote.IsValid())
			} else {
				require.Equal(t, tt.want, flow.Remote.String())
			}
		})
	}
}

// RFC 3261 §12.2.1.1: a refresh moves the remote target, and the connection.
func TestRefreshMovesTarget(t *testing.T) {
	w := newWorld(t)
	e := w.client("ann", "192.0.2.7:5060")
	e.flow = tcp(1)
	s, _ := e.subscribe("sip:tom@example.com")
	w.net.take()
	e.flow, e.contact = tcp(2), "sip:ann@192.0.2.7:7777"
	require.Equal(t, 200, s.refresh().Status)
	w.server.FlowClosed(tcp(1))
	w.client("tom", "192.0.2.9").status("", "busy", "")
	n := s.one()
	require.Equal(t, "sip:ann@192.0.2.7:7777", n.URI.String())
	require.Equal(t, uint64(2), n.Flow.Conn)
}

// BSP-4-5: what is wrong with a request is answered as such, and the server goes
// on.
func TestBadSubscribe(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.MaxBody = 2000; c.MaxList = 3 })
	list := func(body string, fields ...string) *sipx.Request {
		return w.client("ann", "192.0.2.7").request("SUBSCRIBE", "sip:192.0.2.1", "<sip:rls@example.com>", "l", 1, body,
			append(fields, "Event: presence", "Content-Type: application/resource-lists+xml")...)
	}
	plain := func(fields ...string) *sipx.Request {
		return w.client("ann", "192.0.2.7").request("SUBSCRIBE", "sip:192.0.2.1", "<sip:tom@example.com>", "p", 1, "", fields...)
	}
	rl := func(inner string) string {
		return `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + inner + `</resource-lists>`
	}
	longTag := plain("Event: presence")
	longTag.From = longTag.From.WithTag(strings.Repeat("t", 300))
	for _, tt := range []struct {
		name   string
		req    *sipx.Request
		status int
		field  string // that the answer has
	}{
		{"a tag to be kept", longTag, 400, ""},
		{"an event id to be kept", plain("Event: presence;id=" + strings.Repeat("i", 300)), 400, ""},
		{"a route set to be kept", plain("Event: presence", "Record-Route: <sip:192.0.2.9;lr>;x="+strings.Repeat("x", 9000)), 400, ""},
		{"unknown event", plain("Event: dialog"), 489, "Allow-Events"},
		{"no event", plain(), 489, "Allow-Events"},
		{"template package", plain("Event: presence.nothing"), 489, "Allow-Events"},
		{"bad require", plain("Event: presence", "Require: gold, recipient-list-subscribe"), 420, "Unsupported"},
		{"two contacts", plain("Event: presence", "Contact: <sip:b@192.0.2.8>"), 400, ""},
		{"not acceptable", w.standard("ann", "192.0.2.7").request("SUBSCRIBE", "sip:192.0.2.1", "<sip:tom@example.com>", "b", 1, "",
			"Event: presence", "Accept: text/html"), 406, "Accept"},
		{"list required, none there", plain("Event: presence", "Require: recipient-list-subscribe"), 400, ""},
		{"too large", list(rl(strings.Repeat(" ", 2000))), 413, ""},
		{"too many", list(rl(`<list><entry uri="sip:a@x"/><entry uri="sip:b@x"/><entry uri="sip:c@x"/><entry uri="sip:d@x"/></list>`)), 403, ""},
		{"not well-formed", list(`<resource-lists`), 400, ""},
		{"another document", list(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="x"/>`), 400, ""},
		{"no entry", list(rl(`<list/>`)), 400, ""},
		{"entry-ref", list(rl(`<list><entry-ref ref="x"/></list>`)), 400, ""},
		{"external", list(rl(`<list><external anchor="http://x"/></list>`)), 400, ""},
		{"DTD", list(`<!DOCTYPE resource-lists [<!ENTITY a "b">]>` + rl(`<list><entry uri="&a;"/></list>`)), 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := w.send(tt.req)
			require.Equal(t, tt.status, res.Status, res.Reason)
			if tt.field != "" {
				require.NotEmpty(t, res.Header.Get(tt.field))
			}
			require.NotContains(t, res.Reason, "\n")
			require.Empty(t, w.net.take())
		})
	}
	// A BluStar client may write what it likes there: §4.3 prints another type.
	s, res := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com", "Expires: 300", "Accept: application/dialog-info+xml")
	require.Equal(t, 200, res.Status)
	require.Equal(t, 200, s.end().Status)
	w.net.take()

	body := list("x")
	body.Header = append(body.Header[:0:0], sipx.Field{Name: "Event", Value: "presence"}, sipx.Field{Name: "Contact", Value: "<sip:a@192.0.2.7>"}, sipx.Field{Name: "Content-Type", Value: "text/plain"})
	res = w.send(body)
	require.Equal(t, 415, res.Status)
	require.Equal(t, "application/resource-lists+xml", res.Header.Get("Accept"))
	require.Zero(t, w.server.Stats().Subscriptions)

	for _, method := range []string{"INVITE", "NOTIFY", "REGISTER", "MESSAGE", "FOO"} {
		res := w.send(w.client("ann", "192.0.2.7").request(method, "sip:192.0.2.1", "<sip:tom@example.com>", "m", 1, ""))
		require.Equal(t, 405, res.Status)
		require.Equal(t, "SUBSCRIBE, PUBLISH, OPTIONS", res.Header.Get("Allow"))
	}
	notify := w.client("pbx", "192.0.2.7").request("NOTIFY", "sip:192.0.2.1", "<sip:gateway@example.com>;tag=before", "m", 1, "")
	require.Equal(t, 481, w.send(notify).Status, "of a subscriber that was on this stack before a restart")
	require.Equal(t, 200, w.send(w.client("ann", "192.0.2.7").request("OPTIONS", "sip:192.0.2.1", "<sip:192.0.2.1>", "m", 1, "")).Status)
	require.Equal(t, 416, w.send(w.client("ann", "192.0.2.7").request("SUBSCRIBE", "http://192.0.2.1/", "<sip:192.0.2.1>", "m", 1, "")).Status)
}

// BSX-4: the bound on subscriptions is an answer, and what ends makes room.
func TestMaxSubscriptions(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.MaxSubscriptions = 3 })
	e := w.standard("ann", "192.0.2.7")
	first, _ := e.subscribe("sip:tom@example.com")
	for range 2 {
		_, res := e.subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
	}
	_, res := e.subscribe("sip:tom@example.com")
	require.Equal(t, 503, res.Status)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Equal(t, 200, first.refresh().Status, "who is in stays in")
	require.Equal(t, 200, first.end().Status)
	_, res = e.subscribe("sip:tom@example.com")
	require.Equal(t, 200, res.Status)
	require.Equal(t, 3, w.server.Stats().Watches)
}

// BSP-2.1-4, BSP-4.2-1, BSP-4.2-2: a list is one NOTIFY for each entry, in order,
// nested lists flattened, duplicates dropped; with and without Require and
// Content-Disposition.
func TestListSubscribe(t *testing.T) {
	body := `<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<list><entry uri="sip:ann@example.com" /><list name="x"><entry uri="tel:2719"/><entry uri="sip:ANN@example.com:5060"/></list>
<entry uri="sip:nobody@example.com" /></list>
</resource-lists>`
	for i, fields := range [][]string{
		{"Require: recipient-list-subscribe", "Content-Disposition: recipient-list"},
		{"Require: recipient-list-subscribe"}, {"Content-Disposition: recipient-list"}, nil,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w := newWorld(t)
			s, res := w.client("ann", "192.0.2.7").open("sip:rls@example.com", body,
				append(fields, "Expires: 7200", "Content-Type: application/resource-lists+xml")...)
			require.Equal(t, 200, res.Status, res.Reason)
			require.Equal(t, "300", res.Header.Get("Expires"))
			sent := s.of(w.net.take())
			require.Len(t, sent, 3)
			for j, entity := range []string{"sip:ann@example.com", "tel:2719", "sip:nobody@example.com"} {
				require.Equal(t, entity, sent[j].doc(t).Entity)
				require.Equal(t, uint32(j+1), sent[j].CSeq)
				require.Equal(t, "<"+entity+">;tag="+res.ToTag, sent[j].From.String(), "BSP-4-2")
			}
		})
	}
}

// BSP-2.9-3: a refresh with a body replaces the list.
func TestListReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		s, _ := w.client("ann", "192.0.2.7").list("sip:ann@example.com", "sip:tom@example.com")
		w.net.take()
		res := s.again(resourceLists("sip:ann@example.com", "sip:bob@example.com"), "Expires: 300",
			"Content-Type: application/resource-lists+xml")
		require.Equal(t, 200, res.Status)
		require.Equal(t, "sip:bob@example.com", s.one().doc(t).Entity, "only the new entry")
		w.client("tom", "192.0.2.8").status("", "busy", "")
		require.Empty(t, w.net.take(), "the dropped entry is not watched any more")
		w.client("bob", "192.0.2.9").status("", "busy", "")
		require.Equal(t, "sip:bob@example.com", s.one().doc(t).Entity)
		require.Equal(t, 2, w.server.Stats().Watches)
	})
}
