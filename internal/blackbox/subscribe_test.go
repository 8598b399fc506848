package blackbox_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	tom  = "sip:tom@example.com"
	bill = "sip:bill@example.com"
	joe  = "sip:joe@example.org"
	ted  = "sip:ted@example.net"
)

// The first NOTIFY, its headers and its document, over each transport
// (BSP-2.1-3, BSP-2.1-6, BSP-4-1, BSP-4-2, BSP-4-6, BSP-2.4-8, BSP-1.3-1, BSP-3.1-1).
func TestFirstNotify(t *testing.T) {
	t.Parallel()
	s := start(t, `{"listen":["udp:127.0.0.1:0","tcp:127.0.0.1:0","tls:127.0.0.1:0"],"tls":{"cert":"server.pem","key":"server.key"}}`)
	for _, network := range []string{"udp", "tcp", "tls"} {
		p := s.phone(network, bill)
		m := p.subscribeRequest("sip:tom.hanks@astra.com:5060", "300")
		r := p.do(m, 200)
		require.Equal(t, "300", r.get("Expires"))
		require.Contains(t, r.get("Contact"), p.server(), "the server's own address")
		require.Equal(t, m.tag("From"), r.tag("From"))
		d := &dialog{p: p, last: m, to: r.get("To")}
		n := d.next()
		require.True(t, strings.HasPrefix(n.start, "NOTIFY "+uri(p.contact)), n.start)
		require.Equal(t, "sip:tom.hanks@astra.com", strings.TrimSuffix(uri(n.get("From")), ":5060"))
		require.Equal(t, "presence", n.get("Event"))
		require.Len(t, n.all("Contact"), 1)
		require.NotContains(t, n.get("Contact"), ",")
		require.Contains(t, n.get("Contact"), p.server())
		require.NotEmpty(t, n.get("Max-Forwards"))
		require.Regexp(t, `^active; ?expires=(300|299|298)$`, n.get("Subscription-State"))
		expires, err := strconv.Atoi(n.get("Expires"))
		require.NoError(t, err)
		require.InDelta(t, 300, expires, 3)
		require.Regexp(t, `branch=z9hG4bK`, n.get("Via"))
		doc := parseDocument(t, n.body)
		require.Equal(t, "sip:tom.hanks@astra.com", doc.Entity)
		require.Equal(t, "signed out", doc.status(), "BSP-2.4-8")
		require.Equal(t, []string{"closed", "closed", "closed", "closed"}, []string{
			doc.service("global service"), doc.service("audio"), doc.service("video"), doc.service("message")})
		require.Len(t, doc.Devices, 1)
		require.Equal(t, "unknown", doc.line("2719"))
		s.line("2719", "idle")
		doc = d.doc()
		require.Equal(t, "idle", doc.line("2719"))
		require.WithinDuration(t, time.Now(), doc.Devices[0].Timestamp, time.Minute)
		s.line("2719", "unknown")
	}
}

// Without an entry: unknown, closed, no note (BSP-2.1-5), in both dialects.
func TestUnknownPresentity_BSP_2_1_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range []*phone{s.phone("udp", bill), s.softphone("udp", bill)} {
		doc := p.subscribe("sip:nobody@example.com").doc()
		require.Equal(t, "unknown", doc.status())
		require.Empty(t, doc.note())
		require.NotContains(t, doc.raw, "rpid:note")
		require.Empty(t, doc.Devices)
		require.Contains(t, doc.raw, "<rpid:other>unknown</rpid:other>")
		for _, tuple := range doc.Tuples {
			require.Equal(t, "closed", tuple.Basic)
		}
		require.NotEmpty(t, doc.Tuples)
	}
}

// The presentity is the Request-URI where it is a user of a served domain,
// else To (BSP-2.1-3); addresses compare folded (BSP-2.1-1, BSP-2.1-9).
func TestPresentityOfSubscribe_BSP_2_1_3(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.line("2719", "ringing")
	s.line("6725", "busy")
	s.line("200", "idle")
	for _, c := range []struct{ uri, to, dn string }{
		{"sip:tom@example.com", "sip:bill@example.com", "2719"},
		{"sip:127.0.0.1", "sip:bill@example.com", "6725"},
		{"sip:x@127.0.0.1", "sip:bill@example.com", "6725"},
		{"sip:x@elsewhere.net", "sip:bill@example.com", "6725"},
		{"sip:127.0.0.1", "sip:peter.test@aastra.com:5060", "200"},
		{"sip:127.0.0.1", "sip:Peter.TEST@AASTRA.com;user=phone", "200"},
		{"sip:127.0.0.1", "sip:%70eter%2etest@aastra.com", "200"},
		{"sip:127.0.0.1", "tel:200;phone-context=x", "200"},
		{"sip:127.0.0.1", "tel:2-0.0", "200"},
	} {
		p := s.phone("udp", tom)
		m := p.subscribeRequest(c.to, "300")
		m.start = "SUBSCRIBE " + c.uri + " SIP/2.0"
		doc := p.open(m).doc()
		require.Len(t, doc.Devices, 1, "%v\n%s", c, doc.raw)
		require.Equal(t, "tel:"+c.dn, doc.Devices[0].ID, "%v", c)
	}
}

// tel: and sip: of one entry are one presentity; each document names the
// address that its watcher asked for (BSP-2.1-2, BSP-2.1-7).
func TestOneEntryTwoAddresses_BSP_2_1_7(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", bill)
	bySIP, byTel := p.subscribe(tom), p.subscribe("tel:2719")
	require.Equal(t, tom, bySIP.doc().Entity)
	require.Equal(t, "tel:2719", byTel.doc().Entity)
	s.line("2719", "busy")
	for _, d := range []*dialog{bySIP, byTel} {
		require.Equal(t, "In a call", d.until("call", func(d *document) bool { return d.line("2719") == "busy" }).note())
	}
}

// A list: one PIDF NOTIFY per entry, in order, nested ones flattened,
// duplicates dropped; with and without Require and Content-Disposition
// (BSP-2.1-4, BSP-4.2-1, BSP-4.2-2).
func TestList_BSP_4_2_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	nested := `<?xml version="1.0"?><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
	 <list name="a"><entry uri="sip:bill@example.com"><display-name>Bill</display-name></entry>
	  <list><entry uri="sip:joe@example.org"/><entry uri="sip:BILL@example.com:5060"/></list></list>
	 <list><entry uri="tel:2003"/></list></resource-lists>`
	for i, strip := range [][]string{{}, {"Require"}, {"Content-Disposition"}, {"Require", "Content-Disposition"}} {
		p := s.phone([]string{"udp", "tcp"}[i%2], bill)
		m := p.listRequest()
		m.body = nested
		for _, name := range strip {
			m.del(name)
		}
		d := p.open(m)
		got := map[string]string{}
		for range 3 {
			n := d.next()
			doc := parseDocument(t, n.body)
			got[doc.Entity] = uri(n.get("From"))
		}
		require.Len(t, got, 3, "%v", got)
		require.Contains(t, got, bill)
		require.Contains(t, got, joe)
		require.Contains(t, got, "tel:2003")
		require.Equal(t, strings.TrimSuffix(got[joe], ":5060"), joe, "From is the presentity (BSP-4-2)")
		s.line("2001", []string{"busy", "idle", "busy", "idle"}[i])
		doc := d.doc()
		require.Equal(t, joe, doc.Entity, "nothing but the change follows: duplicates were dropped")
	}
}

// Lists that are no lists (BSP-4.2-1, BSP-4-5).
func TestListRefused_BSP_4_2_1(t *testing.T) {
	t.Parallel()
	s := start(t, `{"limits":{"min_expires":1,"max_list":3}}`)
	list := func(inner string) string {
		return `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>` + inner + `</list></resource-lists>`
	}
	for _, c := range []struct {
		name, body string
		code       int
	}{
		{"entry-ref", list(`<entry uri="sip:bill@example.com"/><entry-ref ref="a/b"/>`), 400},
		{"external", list(`<entry uri="sip:bill@example.com"/><external anchor="http://x/"/>`), 400},
		{"too many", listBody(bill, joe, ted, tom), 403},
		{"not well-formed", list(`<entry uri="sip:bill@example.com">`), 400},
		{"unserved scheme", list(`<entry uri="http://example.com"/>`), 200}, // an address without entry (BSP-2.1-5)
		{"no XML", "hello", 400},
		{"other document", statusBody("busy", ""), 400},
		{"dtd", `<!DOCTYPE x [<!ENTITY a "sip:bill@example.com">]>` + list(`<entry uri="&a;"/>`), 400},
		{"three", listBody(bill, joe, ted), 200},
	} {
		p := s.phone("udp", bill)
		m := p.listRequest()
		m.body = c.body
		require.Equal(t, c.code, p.send(m).code(), c.name)
	}
}

// The lifetime granted (BSP-4.1-2, BSP-2.9-1, BSP-4.3-1).
func TestGrantedExpires_BSP_4_1_2(t *testing.T) {
	t.Parallel()
	s := start(t, `{"limits":{}}`, `{"limits":{"min_expires":60}}`)
	for _, p := range []*phone{s.phone("udp", bill), s.softphone("udp", bill)} {
		for asked, granted := range map[string]string{"7200": "300", "120": "120", "60": "60", "": "300", "4294967295": "300"} {
			r := p.do(p.subscribeRequest(tom, asked), 200)
			require.Equal(t, granted, r.get("Expires"), "asked %q", asked)
		}
		r := p.do(p.subscribeRequest(tom, "59"), 423)
		require.Equal(t, "60", r.get("Min-Expires"))
		p.do(p.subscribeRequest(tom, "soon"), 400)

		d := p.subscribe(tom)
		require.Equal(t, "100", d.refresh("100").get("Expires"))
		require.Equal(t, "300", d.refresh("7200").get("Expires"))
	}
	p := s.phone("udp", bill)
	r := p.do(p.publishRequest("86400", "", statusBody("busy", "")), 200)
	require.Equal(t, "3600", r.get("Expires"))
	r = p.do(p.publishRequest("59", r.get("SIP-ETag"), statusBody("busy", "")), 423)
	require.Equal(t, "60", r.get("Min-Expires"))
}

// A NOTIFY on refresh: always in the standard dialect, only to an AMCC in the
// other (dialects, BSP-2.9-2).
func TestRefresh_BSP_2_9_2(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.phone("udp", bill)
	d := client.subscribe(tom)
	d.doc()
	d.refresh("300")
	s.line("2719", "busy")
	require.Equal(t, "busy", d.doc().line("2719"), "the refresh brought no NOTIFY of its own")

	soft := s.softphone("udp", bill)
	d = soft.subscribe(tom)
	d.doc()
	d.refresh("300")
	require.Equal(t, "busy", d.doc().line("2719"))

	amcc := s.phone("udp", bill)
	amcc.contact = strings.Replace(amcc.contact, "<sip:bill@", "<sip:fmc@", 1)
	list, single := amcc.subscribeList(bill, joe), amcc.subscribe(tom)
	list.doc()
	list.doc()
	single.doc()
	// another AMC of the AMCC: same Contact, other From
	third := amcc.request("SUBSCRIBE", ted).set("From", "<"+ted+">;tag="+token()).add("Event", "presence").add("Expires", "300")
	foreign := amcc.open(third)
	foreign.doc()

	single.refresh("300")
	require.Equal(t, tom, single.doc().Entity)
	entities := map[string]bool{list.doc().Entity: true, list.doc().Entity: true}
	require.Equal(t, map[string]bool{bill: true, joe: true}, entities, "all dialogs of this AMC")
	s.line("2719", "idle")
	single.doc()
	s.put("/v1/external/"+ted, `{"status":"busy"}`)
	require.Equal(t, "busy", foreign.doc().status(), "the other AMC got nothing in between")
}

// A list in a refresh replaces the list (BSP-2.9-3); 415 in the standard dialect.
func TestListReplaced_BSP_2_9_3(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	d := p.subscribeList(tom, bill)
	d.doc()
	d.doc()
	m := d.refreshRequest("300").set("Content-Type", "application/resource-lists+xml").add("Content-Disposition", "recipient-list")
	m.body = listBody(tom, joe)
	p.do(m, 200)
	require.Equal(t, joe, d.doc().Entity)
	s.line("6725", "busy") // dropped
	s.line("2719", "busy") // kept
	require.Equal(t, tom, d.doc().Entity, "kept and dropped")
	s.line("2001", "busy")
	require.Equal(t, joe, d.doc().Entity)
}

// The end of one subscription (BSP-2.2-1), known by its dialog no more.
func TestUnsubscribe_BSP_2_2_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range []*phone{s.phone("udp", bill), s.phone("tcp", bill), s.softphone("udp", bill)} {
		d := p.subscribe(tom)
		d.doc()
		r := d.refresh("0")
		require.Equal(t, "0", r.get("Expires"))
		d.ended("timeout")
		d.gone()
	}
}

// A fetch: Expires 0 outside of a dialog (RFC 6665 §4.4.3).
func TestFetch(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.line("2719", "busy")
	for _, p := range []*phone{s.phone("udp", bill), s.softphone("udp", bill)} {
		m := p.subscribeRequest(tom, "0")
		d := p.open(m)
		n := d.next()
		require.Equal(t, "terminated;reason=timeout", strings.ReplaceAll(n.get("Subscription-State"), " ", ""))
		require.Equal(t, "busy", parseDocument(t, n.body).line("2719"))
	}
}

// Refusals of SUBSCRIBE (BSP-4-5, BSP-4.1-3).
func TestSubscribeRefused_BSP_4_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, p := range []*phone{s.phone("udp", bill), s.softphone("udp", bill)} {
		m := p.subscribeRequest(tom, "300").set("Event", "dialog")
		r := p.do(m, 489)
		require.Contains(t, r.get("Allow-Events"), "presence")

		p.do(p.subscribeRequest(tom, "300").del("Event"), 489)

		m = p.subscribeRequest(tom, "300").add("Content-Type", "text/plain")
		m.body = "hello"
		r = p.do(m, 415)
		require.NotEmpty(t, r.get("Accept"))

		m = p.subscribeRequest(tom, "300").add("Require", "recipient-list-subscribe, warp-drive")
		r = p.do(m, 420)
		require.Equal(t, "warp-drive", r.get("Unsupported"))

		m = p.subscribeRequest(tom, "300")
		m.set("To", m.get("To")+";tag=70f4bd96")
		p.do(m, 481)

		p.do(p.subscribeRequest(tom, "300").del("Contact"), 400)
		soft := s.softphone("udp", tom)
		soft.do(soft.subscribeRequest(tom, "300").set("Accept", "text/html"), 406)

		for _, method := range []string{"INVITE", "MESSAGE", "REGISTER", "REFER", "FROBNICATE"} {
			r = p.do(p.request(method, tom), 405)
			for _, allowed := range []string{"SUBSCRIBE", "PUBLISH", "OPTIONS"} {
				require.Contains(t, r.get("Allow"), allowed, method)
			}
		}
		r = p.do(p.request("OPTIONS", tom), 200)
		require.Contains(t, r.get("Allow"), "PUBLISH")
		p.do(p.request("NOTIFY", tom).add("Event", "presence").add("Subscription-State", "active"), 405)
	}
}

// The lists of the standard dialect: RLMI (dialects; RFC 4662).
func TestStandardList(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.softphone("tcp", bill)
	m := p.listRequest(tom, joe, "sip:nobody@example.com").add("Supported", "eventlist").
		add("Accept", "application/pidf+xml").add("Accept", "application/rlmi+xml").add("Accept", "multipart/related")
	d := p.open(m)
	n := d.next()
	require.Contains(t, n.get("Require"), "eventlist")
	require.Contains(t, n.get("Content-Type"), "multipart/related")
	require.Contains(t, n.body, "urn:ietf:params:xml:ns:rlmi")
	require.Contains(t, n.body, `fullState="true"`)
	for _, a := range []string{tom, joe, "sip:nobody@example.com"} {
		require.Contains(t, n.body, `uri="`+a+`"`)
	}
	s.line("2001", "busy")
	n = d.next()
	require.Contains(t, n.body, `uri="`+joe+`"`)
	require.Contains(t, n.body, ">busy<")

	m = d.refreshRequest("300").add("Content-Type", "application/resource-lists+xml").add("Supported", "eventlist")
	m.body = listBody(tom)
	p.do(m, 415)
}

// A list that is long is told whole over UDP, where nothing larger than a datagram
// arrives (RFC 4662; BSX-4).
func TestLongStandardList(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.softphone("udp", bill)
	var uris []string
	for i := range 400 {
		uris = append(uris, fmt.Sprintf("sip:colleague%d@example.com", i))
	}
	d := p.open(p.listRequest(uris...).add("Supported", "eventlist"))
	told := ""
	for version := 0; strings.Count(told, "<presence ") < len(uris); version++ {
		n := d.next()
		require.Contains(t, n.body, fmt.Sprintf(`version="%d" fullState="%t"`, version, version == 0))
		told += n.body
	}
	for _, a := range uris {
		require.Contains(t, told, `entity="`+a+`"`)
	}
}

// Record-Route and Route: NOTIFYs follow the dialog's route set (BSP-4-3).
func TestRouteSet_BSP_4_3(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, proxy := s.phone("udp", bill), s.phone("udp", joe)
	hop := func(p *phone) string { return p.packets.LocalAddr().String() }
	m := p.subscribeRequest(tom, "300").
		add("Record-Route", "<sip:"+hop(proxy)+";lr>").add("Record-Route", "<sip:192.0.2.7:5060;lr>").
		add("Route", "<sip:"+s.udp+";lr>")
	m.set("Contact", "<sip:bill@192.0.2.1:5060>")
	r := p.do(m, 200)
	require.Equal(t, m.all("Record-Route"), r.all("Record-Route"))
	var n *message
	require.True(t, proxy.wait(patience, func() bool {
		if len(proxy.requests) > 0 {
			n = proxy.requests[0]
		}
		return n != nil
	}), "NOTIFY at the first hop")
	require.Equal(t, "NOTIFY sip:bill@192.0.2.1:5060 SIP/2.0", n.start)
	require.Equal(t, []string{"<sip:" + hop(proxy) + ";lr>", "<sip:192.0.2.7:5060;lr>"}, n.all("Route"))
}

// Over UDP a private Contact that is not where the request came from is not
// used (BSX-5), as `nat` says.
func TestNAT_BSX_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, contact := range []string{"10.103.228.151:5060", "192.168.1.7", "172.16.9.9:5070"} {
		p := s.phone("udp", bill)
		m := p.subscribeRequest(tom, "300").set("Contact", "<sip:67251@"+contact+">")
		m.set("Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bK%s;rport", contact, token()))
		d := p.open(m)
		n := d.next()
		require.Equal(t, "NOTIFY sip:67251@"+contact+" SIP/2.0", n.start)
	}
}
