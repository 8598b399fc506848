package blackbox_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The statuses, as a watcher sees them (BSP-2.4-1, BSP-2.4-2, BSP-4.3-2,
// BSP-3.2-1, BSP-3.2-2, BSP-3.2-7, BSP-3-1).
func TestPublishStatuses_BSP_4_3_2(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("tcp", bill).subscribe(tom)
	watcher.doc()
	p := s.phone("udp", tom)
	r := p.do(p.publishRequest("3600", "", statusBody("available", "")), 200)
	etag := r.get("SIP-ETag")
	require.NotEmpty(t, etag)
	require.Equal(t, "3600", r.get("Expires"))
	require.Contains(t, r.get("Contact"), s.udp)
	doc := watcher.doc()
	require.Equal(t, "available", doc.status())
	require.Equal(t, "Available", doc.note())
	require.Equal(t, "open", doc.service("global service"))
	require.Equal(t, "open", doc.service("audio"))
	require.Equal(t, "closed", doc.service("video"))
	require.Equal(t, "open", doc.service("message"))
	require.Contains(t, doc.raw, "<rpid:other>available</rpid:other>")
	require.False(t, doc.Person.Presence.BluStar.Timestamp.IsZero())
	for _, c := range []struct{ own, status, note string }{
		{"busy", "busy", "Busy"},
		{"do not disturb", "unavailable", "Unavailable"},
		{"signed out", "signed out", "Signed out"},
		{"away", "busy", "Away"}, // BSP-3.2-7
		{"inactive", "busy", "Inactive"},
		{"be right back", "busy", "Be right back"},
		{"other", "busy", "Other"},
		{"available", "available", "Available"},
	} {
		require.Equal(t, etag, p.publish(etag, statusBody(c.own, "")), "the entity-tag stays (§2.4)")
		doc := watcher.doc()
		require.Equal(t, c.own, doc.own())
		require.Equal(t, c.status, doc.status(), c.own)
		require.Equal(t, c.note, doc.note(), c.own)
		require.Empty(t, doc.ownNote())
	}
	p.do(p.publishRequest("3600", etag, statusBody("asleep", "")), 400)
	require.Equal(t, "available", s.status(tom), "a refused body changes nothing")
}

// Notes: set, kept, deleted; any text arrives as text (BSP-4.3-3, BSP-3.2-2).
func TestPublishNotes_BSP_4_3_3(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	p := s.phone("udp", tom)
	etag := p.publish("", statusBody("busy", "HELLO"))
	for _, note := range []string{"HELLO", "Grüße → 東京", `<b>&amp; "quoted" ]]></b>`, "two\nlines"} {
		p.publish(etag, statusBody("busy", note))
		doc := watcher.until(note, func(d *document) bool { return d.ownNote() == note })
		require.Equal(t, note, doc.note())
		require.Equal(t, "busy", doc.status())
	}
	// Without a note element the note stays; an empty one deletes it.
	p.publish(etag, tuplesBody("available", "", "open", "closed", "open"))
	doc := watcher.doc()
	require.Equal(t, "available", doc.own())
	require.Equal(t, "two\nlines", doc.ownNote())
	p.publish(etag, statusBody("available", ""))
	doc = watcher.doc()
	require.Empty(t, doc.ownNote())
	require.Equal(t, "Available", doc.note())
	// "signed out" by PUBLISH is not the end of the client.
	p.publish(etag, statusBody("signed out", ""))
	require.Equal(t, "signed out", watcher.doc().status())
	require.Equal(t, etag, p.publish(etag, statusBody("busy", "")))
	require.Equal(t, "busy", watcher.doc().status())
}

// Header fields that must be there (BSP-4.3-4), and other refusals (BSP-4-5,
// BSP-2.4-5, BSP-2.8-1).
func TestPublishRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	body := statusBody("busy", "")
	r := p.do(p.publishRequest("", "", body), 400)
	require.Contains(t, r.String(), "Expires")
	r = p.do(p.publishRequest("3600", "", body).del("Contact"), 400)
	require.Contains(t, r.String(), "Contact")
	p.do(p.publishRequest("3600", "", ""), 400)
	p.do(p.publishRequest("3600", "nosuch", ""), 412)
	r = p.do(p.publishRequest("3600", "", body).set("Event", "message-summary"), 489)
	require.Contains(t, r.get("Allow-Events"), "presence")
	p.do(p.publishRequest("3600", "", body).del("Event"), 489)
	r = p.do(p.publishRequest("3600", "", body).set("Content-Type", "text/plain"), 415)
	require.Contains(t, r.get("Accept"), "application/pidf+xml")
	p.do(p.publishRequest("3600", "", body).add("Require", "x-none"), 420)
	for _, bad := range []string{"<", `<presence xmlns="jabber:client"/>`, strings.Replace(body, "</presence>", "", 1), "hello",
		`<!DOCTYPE p [<!ENTITY a "busy">]>` + body} {
		p.do(p.publishRequest("3600", "", bad), 400)
	}
	require.Equal(t, "signed out", s.status(tom))

	soft := s.softphone("udp", joe)
	pidf := `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:joe@example.org"><tuple id="a"><status><basic>open</basic></status></tuple></presence>`
	r = soft.do(soft.publishRequest("", "", pidf).del("Contact"), 200)
	require.NotEmpty(t, r.get("Expires"), "optional in the standard dialect")
	soft.do(soft.publishRequest("3600", "nosuch", pidf), 412)
}

// A refresh has no body: the same entity-tag, no NOTIFY (BSP-2.8-1).
func TestPublishRefresh_BSP_2_8_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	p := s.phone("udp", tom)
	etag := p.publish("", statusBody("busy", ""))
	watcher.doc()
	r := p.do(p.publishRequest("1800", etag, ""), 200)
	require.Equal(t, etag, r.get("SIP-ETag"))
	require.Equal(t, "1800", r.get("Expires"))
	r = p.do(p.publishRequest("1800", "", ""), 200)
	require.Equal(t, etag, r.get("SIP-ETag"))
	s.line("2719", "busy")
	require.Equal(t, "busy", watcher.doc().line("2719"), "no NOTIFY for the refresh")
}

// Several clients share one publication; one that starts must not overwrite
// (BSP-2.4-3, BSP-2.4-4).
func TestFirstPublishIgnored_BSP_2_4_3(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	one, two := s.phone("udp", tom), s.phone("tcp", tom)
	etag := one.publish("", tuplesBody("busy", `<aa:note xml:lang="Eng">HELLO</aa:note>`, "open", "closed", "closed"))
	require.Equal(t, "busy", watcher.doc().status())
	require.Equal(t, etag, two.publish("", tuplesBody("available", `<aa:note xml:lang="Eng">START</aa:note>`, "closed", "open", "closed")))
	doc := watcher.doc()
	require.Equal(t, "busy", doc.own())
	require.Equal(t, "HELLO", doc.ownNote())
	require.Equal(t, "open", doc.service("audio"), "open in any client (BSP-4.3-5)")
	require.Equal(t, "open", doc.service("video"), "its tuples count")
	require.Equal(t, "closed", doc.service("message"))
	// Its own from before: it starts, and publishes without If-Match.
	one.subscribe(tom).doc()
	require.Equal(t, etag, one.publish("", tuplesBody("available", `<aa:note xml:lang="Eng"/>`, "open", "closed", "closed")))
	require.Equal(t, "busy", s.status(tom))
	require.Equal(t, etag, two.publish(etag, statusBody("do not disturb", "")), "whichever client sends it")
	require.Equal(t, "unavailable", watcher.until("dnd", func(d *document) bool { return d.own() == "do not disturb" }).status())
}

// A client without tuples has audio and message, no video (BSP-4.3-5).
func TestNoTuples_BSP_4_3_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	p := s.phone("udp", tom)
	p.publish("", tuplesBody("busy", "", "", "", ""))
	doc := watcher.doc()
	require.Equal(t, []string{"open", "open", "closed", "open"}, []string{
		doc.service("global service"), doc.service("audio"), doc.service("video"), doc.service("message")})
}

// The presentity of a PUBLISH is To, whatever its Request-URI, body and From
// say (BSP-2.4-6); any spelling of the aa: namespace counts (BSP-3-2).
func TestPresentityOfPublish_BSP_2_4_6(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, namespace := range []string{"http://www.aastra.com/presence/blustar/2011", "http://www.astra.com/presence/blustar/2011",
		"http://www.aastracom/presence/blustar/2011"} {
		p := s.phone("udp", "sip:tom.hanks@astra.com:5060")
		m := p.publishRequest("3600", "", strings.ReplaceAll(statusBody("busy", ""), "http://www.aastra.com/presence/blustar/2011", namespace))
		m.start = "PUBLISH sip:bill@example.com SIP/2.0"
		r := p.do(m, 200)
		require.Equal(t, "busy", s.status(tom), namespace)
		require.Equal(t, "signed out", s.status(bill))
		p.do(p.publishRequest("0", r.get("SIP-ETag"), ""), 200)
		require.Equal(t, "signed out", s.status("tel:2719"))
	}
}

// Lync forwarding: accepted and shown; cancelled by Expires 0 or by To = From
// (BSP-4.3-6).
func TestForwarding_BSP_4_3_6(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	p := s.phone("udp", tom)
	etag := p.publish("", statusBody("available", ""))
	watcher.doc()
	forward := func(to, expires, etag string, code int) *message {
		m := p.publishRequest(expires, etag, "").set("Event", "lyncforwarding").set("To", "<"+to+">").
			add("Content-Type", "application/pidf+xml")
		return p.do(m, code)
	}
	shown := func(d *document) string {
		if d.Person.Presence.External == nil {
			return ""
		}
		return d.Person.Presence.External.FwdDestination
	}
	r := forward("sip:sean.connery@astra.com", "3600", etag, 200)
	require.Equal(t, etag, r.get("SIP-ETag"))
	require.NotEmpty(t, r.get("Expires"))
	doc := watcher.doc()
	require.Equal(t, "sip:sean.connery@astra.com", shown(doc))
	require.Equal(t, "available", doc.status())
	forward("sip:sean.connery@astra.com", "0", etag, 200)
	require.Empty(t, shown(watcher.doc()))
	require.Equal(t, "available", s.status(tom), "Expires 0 of a forwarding is not the end of the client")
	forward("sip:joe@example.org", "3600", etag, 200)
	require.Equal(t, joe, shown(watcher.doc()))
	forward(tom, "3600", etag, 200)
	require.Empty(t, shown(watcher.doc()))
	forward(joe, "3600", "18762x", 412)
}

// Rapid PUBLISHes end in the newest state for every watcher (BSP-4-4, BSX-3).
func TestNewestStateWins_BSP_4_4(t *testing.T) {
	t.Parallel()
	s := start(t)
	var watchers []*dialog
	for _, network := range []string{"udp", "tcp", "udp"} {
		watchers = append(watchers, s.phone(network, bill).subscribe(tom))
	}
	p := s.phone("tcp", tom)
	etag := p.publish("", statusBody("busy", "begin"))
	// Pipelined on one connection: they are to be applied in order.
	var all strings.Builder
	var last *message
	const count = 60
	for i := range count {
		note := "n" + string(rune('A'+i%26)) + token()
		if i == count-1 {
			note = "the last"
		}
		last = p.publishRequest("3600", etag, statusBody([]string{"busy", "available"}[i%2], note))
		all.WriteString(last.String())
	}
	p.mu.Lock()
	begin := len(p.answers)
	p.mu.Unlock()
	p.write(all.String())
	require.Equal(t, 200, p.response(last, begin, patience).code())
	require.Equal(t, "the last", s.object("/v1/presence/" + tom)["note"])
	for _, w := range watchers {
		w.until("the last", func(d *document) bool { return d.ownNote() == "the last" })
	}
	s.line("2719", "busy")
	for _, w := range watchers {
		doc := w.doc() // and nothing older after it
		require.Equal(t, "busy", doc.line("2719"))
		require.Equal(t, "the last", doc.ownNote())
	}
}

// The standard dialect: one publication per entity-tag, a new tag for each
// change, composed; what they publish counts as BSX-6 says.
func TestStandardPublish_BSX_6(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := func(basic, activities, note string) string {
		if note != "" {
			note = "<note>" + note + "</note>"
		}
		person := ""
		if activities != "" {
			person = `<dm:person id="p"><rpid:activities>` + activities + `</rpid:activities></dm:person>`
		}
		return `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:joe@example.org">` +
			`<tuple id="t"><status><basic>` + basic + `</basic></status>` + note + `</tuple>` + person + `</presence>`
	}
	watcher := s.phone("udp", bill).subscribe(joe)
	watcher.doc()
	p := s.softphone("udp", joe)
	etag := p.publish("", body("open", "", ""))
	for _, c := range []struct{ basic, activities, note, status, shown string }{
		{"open", "<rpid:on-the-phone/>", "", "busy", "In a call"},
		{"open", "<rpid:meeting/>", "", "busy", "In a meeting"},
		{"open", "<rpid:appointment/>", "", "busy", "In a meeting"},
		{"open", "<rpid:presentation/>", "", "busy", "In a meeting"},
		{"open", "<rpid:busy/>", "", "busy", "Busy"},
		{"open", "<rpid:away/>", "", "away", "Away"},
		{"open", "<rpid:vacation/>", "", "away", "Away"},
		{"open", "<rpid:holiday/>", "", "away", "Away"},
		{"open", "<rpid:travel/>", "", "away", "Away"},
		{"open", "<rpid:sleeping/>", "", "away", "Away"},
		{"open", "<rpid:other>unavailable</rpid:other>", "", "unavailable", "Unavailable"},
		{"open", "<rpid:other>available</rpid:other>", "", "available", "Available"},
		{"open", "<rpid:other>signed out</rpid:other>", "", "signed out", "Signed out"},
		{"open", "<rpid:breakfast/>", "", "away", "Away"},
		{"open", "", "my note", "available", "my note"},
		{"closed", "", "", "signed out", "Signed out"},
		{"open", "", "", "available", "Available"},
	} {
		fresh := p.publish(etag, body(c.basic, c.activities, c.note))
		require.NotEqual(t, etag, fresh, "RFC 3903 §6")
		p.do(p.publishRequest("3600", etag, ""), 412)
		etag = fresh
		v := s.object("/v1/presence/" + joe)
		require.Equal(t, c.status, v["status"], "%+v", c)
		require.Equal(t, c.shown, v["note"], "%+v", c)
	}
	fresh := p.publish(etag, "")
	require.NotEqual(t, etag, fresh, "a refresh too (RFC 3903 §4.1)")

	// A second publication composes: by the rule table, not the newest.
	q := s.softphone("tcp", joe)
	second := q.publish("", body("open", "<rpid:busy/>", ""))
	require.NotEqual(t, fresh, second)
	require.Equal(t, "busy", s.status(joe))
	p.publish(fresh, body("open", "", ""))
	require.Equal(t, "busy", s.status(joe))
	q.do(q.publishRequest("0", second, ""), 200)
	require.Equal(t, "available", s.status(joe))
	watcher.until("available again", func(d *document) bool { return d.status() == "available" })
}
