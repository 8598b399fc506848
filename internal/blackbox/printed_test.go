package blackbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// A publication that expires ends no subscription: the status is unknown until
// the next PUBLISH. A client that only publishes ends with it (BSP-2.3-1).
func TestPublicationExpires_BSP_2_3_1(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	g.see(signedOut)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.signIn(sean)
	g.with("one", c)
	c.ask(c.publishRequest("1", "", statusBody("busy", "short")), 200)
	g.come("busy/short")
	g.come(isUnknown)
	c.own.refresh("300")
	c.list.refresh("300")
	c.publish("", "busy", "long")
	g.come("busy/long")
	c.unpublish("")
	g.without("one")
	g.see(signedOut)

	publisher := s.client("tcp", hanksNumber, hanks, `DE\tom`)
	publisher.ask(publisher.publishRequest("1", "", statusBody("busy", "only")), 200)
	g.come("busy/only")
	g.come(signedOut)
	require.Len(t, s.list("/v1/clients"), 2)
}

// One NOTIFY that gets lost ends no client that answers others meanwhile, and
// what it said comes again (BSP-2.3-1, BSX-3).
func TestOneLostNotify_BSP_2_3_1(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a transaction to time out")
	}
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	g.see(signedOut)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.signIn(sean, murray)
	c.list.told(hanks, sean, murray)
	c.publish("", "busy", "in")
	g.come("busy/in")
	lost := ""
	c.answering(func(n *message) int { // under no lock, but by one goroutine alone
		id := n.get("Call-ID") + n.get("CSeq")
		if lost == "" && strings.Contains(n.get("From"), "sean") {
			lost = id
		}
		if id == lost {
			return 0
		}
		return 200
	})
	s.line("2720", "busy")
	begin := time.Now()
	doc := c.list.told(sean)[sean]
	require.Equal(t, "busy", doc.line("2720"))
	doc = nil
	for i := 0; doc == nil; i++ { // the others' NOTIFYs are answered all the time
		require.Less(t, time.Since(begin), 60*time.Second, "the lost state never comes again")
		s.line("2721", []string{"busy", "idle"}[i%2])
		for n := c.list.poll(200 * time.Millisecond); n != nil; n = c.list.poll(200 * time.Millisecond) {
			if strings.Contains(n.get("From"), "sean") {
				doc = parseDocument(t, n.body)
			}
		}
	}
	require.Equal(t, "busy", doc.line("2720"))
	g.see("busy/in")
	c.own.refresh("300")
	c.list.refresh("300")
	require.Len(t, s.list("/v1/clients"), 3)
}

// Two requests at once get two keys. Right credentials under either are no 401,
// which would open the user's password box (BSP-2.10-3).
func TestTwoKeys_BSP_2_10_3(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	for _, network := range []string{"udp", "tcp"} {
		for _, under := range [][2]int{{0, 1}, {1, 0}, {0, 0}, {1, 1}} {
			c := s.client(network, hanksNumber, hanks, `DE\tom`)
			challenges := c.together(c.ownRequest("300"), c.listRequest(sean))
			var keys []string
			for _, r := range challenges {
				require.Equal(t, 401, r.code())
				require.Regexp(t, `^\d{56}$`, r.get("X-BSS-auth"))
				keys = append(keys, r.get("X-BSS-auth"))
			}
			require.NotEqual(t, keys[0], keys[1])
			answers := c.together(c.authenticated(c.ownRequest("300"), keys[under[0]]), c.authenticated(c.listRequest(sean), keys[under[1]]))
			for _, r := range answers {
				require.Equal(t, 200, r.code(), "%s: under the keys %v", network, under)
			}
		}
	}
}

// Credentials that are not UTF-8 are Windows-1252 (BSP-2.10-4).
func TestWindows1252_BSP_2_10_4(t *testing.T) {
	t.Parallel()
	const password = "Grüße – 5 € Œ"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	dir, file := configDir(t, config(t, required))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "accounts.json"),
		[]byte(`{"accounts":[{"account":"DE\\jörg","password_hash":"`+string(hash)+`"}]}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.json"),
		[]byte(`{"users":[{"id":"j","account":"DE\\jörg","sip":["tom.hanks@astra.com"],"mail":"tom.hanks@astra.com"}]}`), 0o600))
	s := launch(t, "-config", file)
	utf8 := `DE\jörg:` + password
	windows := strings.NewReplacer("ü", "\xfc", "ß", "\xdf", "ö", "\xf6", "–", "\x96", "€", "\x80", "Œ", "\x8c").Replace(utf8)
	for _, creds := range []string{utf8, windows} {
		c := s.client("udp", hanksNumber, hanks, `DE\tom`)
		c.creds = creds
		c.signIn()
		c.publish("", "busy", creds[:2])
		c.unpublish("")
	}
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.creds = strings.Replace(windows, "\x80", "\xa4", 1) // the sign of Latin-9
	_, answers := c.exchange(c.ownRequest("300"))
	require.Equal(t, 401, answers[0].code())
	require.NotContains(t, s.log(), "Grü")
}

// A source may fail several times as often as an account: one user's wrong
// password locks out no colleague behind the same address (BSP-2.10-8).
func TestFailuresOfOneSource_BSP_2_10_8(t *testing.T) {
	t.Parallel()
	s := startMail(t, `{"auth":{"mode":"required","max_failures":3,"failure_window":"10m"}}`)
	wrong := s.client("udp", hanksNumber, hanks, `DE\tom`)
	wrong.creds = `DE\tom:wrong`
	for range 3 {
		_, answers := wrong.exchange(wrong.ownRequest("300"))
		require.Equal(t, 401, answers[0].code())
	}
	_, answers := wrong.exchange(wrong.ownRequest("300"))
	require.Equal(t, 403, answers[0].code())
	for _, account := range []string{`DE\bill`, `DE\joe`} {
		c := s.client("udp", murrayNumber, map[string]string{`DE\bill`: murray, `DE\joe`: "sip:joe@astra.com"}[account], account)
		c.signIn()
	}
}

// Who is in the directory without a client is signed out, one whose client has
// not published is unknown, and who is not in it is unknown for good (BSP-2.4-8,
// BSP-2.1-5).
func TestSignedOutUnknown_BSP_2_4_8(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.signIn(sean, "tel:2721", "sip:nobody@astra.com")
	docs := c.list.told(hanks, sean, "tel:2721", "sip:nobody@astra.com")
	for address, status := range map[string]string{hanks: "unknown", sean: "signed out", "tel:2721": "signed out", "sip:nobody@astra.com": "unknown"} {
		require.Equal(t, status, docs[address].status(), address)
	}
	require.Equal(t, "Signed out", docs[sean].note())
	require.Equal(t, "signed out", docs[sean].own())
	require.Equal(t, "closed", docs[sean].service("global service"))
	require.Equal(t, "unknown", s.status(hanks))
	require.Equal(t, "signed out", s.status(sean))
}

// A client has ended with the last of its own subscriptions; one that expires,
// or whose NOTIFY is answered 481, ends alone while another is live (BSP-2.2-2,
// BSP-2.3-1).
func TestOneOfTwoEnds_BSP_2_3_1(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	g.see(signedOut)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	for name, end := range map[string]func(d *dialog){
		"not refreshed": func(d *dialog) {
			d.refresh("1")
			d.ends("timeout")
		},
		"answered 481": func(d *dialog) {
			id := d.last.get("Call-ID")
			c.answering(func(n *message) int {
				if n.get("Call-ID") == id {
					return 481
				}
				return 200
			})
			s.line("2719", "ringing")
			require.Eventually(t, func() bool { return c.send(d.refreshRequest("300")).code() == 481 }, patience, 10*time.Millisecond)
		},
	} {
		for _, first := range []string{"own", "list"} {
			c.signIn(sean)
			c.publish("", "busy", name)
			g.come("busy/" + name)
			one, other := c.own, c.list
			if first == "list" {
				one, other = other, one
			}
			end(one)
			g.see("busy/" + name)
			one.gone()
			other.refresh("300")
			end(other)
			g.come(signedOut)
			c.answering(nil)
		}
	}
}

// Only the first PUBLISH of a client that starts is ignored. Clients from before
// version 01.06 know no entity-tags: theirs are honored (BSP-2.4-3, BSP-2.4-5).
func TestOnlyTheFirst_BSP_2_4_3(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := startMail(t, required)
			g := s.watched(hanks, "2719")
			g.see(signedOut)
			c := s.client(network, hanksNumber, hanks, `DE\tom`)
			c.signIn(sean)
			g.come(isUnknown)
			etag := c.publish("", "available", "one") // nothing is live yet
			g.see("available/one")
			for _, status := range []string{"busy", "available", "busy"} {
				require.Equal(t, etag, c.publish("", status, status))
				g.see(status + "/" + status)
			}

			// It starts again at the same Contact, before the server knows of its
			// end: its status from before is live.
			c.signIn(sean)
			c.own.doc()
			c.list.told(hanks, sean)
			r, doc := c.ignored(c.publishRequest("3600", "", statusBody("available", "START")))
			require.Equal(t, etag, r.get("SIP-ETag"))
			require.Equal(t, "busy", doc.ownNote())
			g.see("busy/busy")
			require.Equal(t, etag, c.publish("", "available", "now"))
			g.see("available/now")

			// A second client: the first PUBLISH is ignored, its services count.
			second := s.client(network, hanksNumber, hanks, `DE\tom`)
			second.signIn()
			second.own.doc()
			second.list.told(hanks)
			r, doc = second.ignored(second.publishRequest("3600", "", tuplesBody("do not disturb", `<aa:note xml:lang="Eng" />`, "closed", "open", "closed")))
			require.Equal(t, etag, r.get("SIP-ETag"))
			require.Equal(t, "available", doc.own())
			doc = second.own.until("its video", func(d *document) bool { return d.service("video") == "open" })
			require.Equal(t, "available", doc.status())
			require.Equal(t, "now", doc.ownNote())
			g.see("available/now")
			require.Equal(t, etag, second.publish("", "busy", "second"))
			g.see("busy/second")
			require.Equal(t, etag, c.publish("", "available", "first"))
			g.see("available/first")

			// An entity-tag of long ago: with a body as if there were none, as a
			// refresh 412 (BSP-2.4-5).
			require.Equal(t, etag, c.publish("1", "busy", "old tag"))
			g.see("busy/old tag")
			c.ask(c.publishRequest("3600", "1", ""), 412)
			g.see("busy/old tag")
			third := s.client(network, hanksNumber, hanks, `DE\tom`)
			third.signIn()
			require.Equal(t, etag, third.publish("1", "available", "START"))
			g.see("busy/old tag")
		})
	}
}

// A CSeq that is lower than the last of its Call-ID is not answered 200 without
// effect.
func TestLowerCSeqOfPublish_BSP_2_4_2(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.signIn()
	etag := c.publish("", "available", "one")
	m := c.publishRequest("3600", etag, statusBody("busy", "two"))
	require.Equal(t, 200, c.send(m).code())
	g.come("busy/two")
	low := again(m).set("CSeq", "7 PUBLISH")
	low.body = statusBody("available", "three")
	if r := c.send(low); r.code() == 200 {
		g.see("available/three")
	} else {
		g.see("busy/two")
	}
}

// The consolidated values of the BluStar dialect are five; the others are shown
// as busy with a text of their own (BSP-3.2-1, BSP-3.2-2, BSP-3.2-7).
func TestFiveStatuses_BSP_3_2_7(t *testing.T) {
	t.Parallel()
	s := startMail(t)
	watcher, soft := s.phone("udp", "sip:joe@astra.com").subscribe(hanks), s.softphone("udp", "sip:zoe@example.com").subscribe(hanks)
	watcher.doc()
	soft.doc()
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	for _, v := range []struct{ own, note, blustar, standard string }{
		{"available", "Available", "<rpid:other>available</rpid:other>", "available"},
		{"busy", "Busy", "<rpid:busy/>", "busy"},
		{"do not disturb", "Unavailable", "<rpid:other>unavailable</rpid:other>", "unavailable"},
		{"away", "Away", "<rpid:busy/>", "away"},
		{"inactive", "Inactive", "<rpid:busy/>", "away"},
		{"be right back", "Be right back", "<rpid:busy/>", "away"},
		{"other", "Other", "<rpid:busy/>", "other"},
		{"signed out", "Signed out", "<rpid:other>signed out</rpid:other>", "signed out"},
	} {
		c.publish("", v.own, "")
		doc := watcher.until(v.own, func(d *document) bool { return d.own() == v.own })
		require.Contains(t, strings.ReplaceAll(doc.raw, "<rpid:busy></rpid:busy>", "<rpid:busy/>"), v.blustar, v.own)
		require.Equal(t, v.note, doc.note(), v.own)
		doc = soft.until(v.own, func(d *document) bool { return d.own() == v.own })
		require.Equal(t, v.standard, doc.status(), v.own)
		require.Equal(t, v.note, doc.note(), v.own)
		c.publish("", v.own, "my text")
		doc = watcher.until(v.own, func(d *document) bool { return d.own() == v.own && d.ownNote() != "" })
		require.Equal(t, "my text", doc.note(), v.own)
		soft.until(v.own, func(d *document) bool { return d.own() == v.own && d.ownNote() != "" })
	}
}

// All combinations of what the four sources can say: the user guide's order, and
// never a value outside the five in the BluStar dialect (BSP-3.2-3, BSP-3.2-7,
// BSP-2.4-8).
func TestEveryCombination_BSP_3_2_3(t *testing.T) {
	t.Parallel()
	s := startMail(t)
	watcher, soft := s.phone("tcp", "sip:joe@astra.com").subscribe(hanks), s.softphone("tcp", "sip:zoe@example.com").subscribe(hanks)
	order := []struct{ claim, note, blustar, standard string }{
		{"do not disturb", "Unavailable", "unavailable", "unavailable"},
		{"call", "In a call", "busy", "busy"},
		{"meeting", "In a meeting", "busy", "busy"},
		{"busy", "Busy", "busy", "busy"},
		{"away", "Away", "busy", "away"},
		{"inactive", "Inactive", "busy", "away"},
		{"be right back", "Be right back", "busy", "away"},
		{"other", "Other", "busy", "other"},
		{"available", "Available", "available", "available"},
		{"signed out", "Signed out", "signed out", "signed out"},
		{"unknown", "", "unknown", "unknown"},
	}
	owns := []string{"", "available", "busy", "away", "do not disturb", "inactive", "be right back", "other", "unknown", "signed out"}
	lines := []string{"idle", "ringing", "busy", "unknown"}
	calendars := []string{"", "free", "tentative", "busy", "out of office", "unknown"}
	externals := []string{"", "available", "busy", "away", "do not disturb", "signed out", "inactive", "be right back", "unknown", "on-the-phone"}

	c := s.client("tcp", hanksNumber, hanks, `DE\tom`)
	checked := 0
	for _, own := range owns {
		if own != "" {
			c.publish("", own, "")
		}
		for _, calendar := range calendars {
			if calendar == "" {
				s.put("/v1/calendars/tom.hanks@astra.com", "[]")
			} else {
				s.put("/v1/calendars/tom.hanks@astra.com", "["+appointment("1", calendar, stamp(-time.Hour), stamp(time.Hour))+"]")
			}
			for _, external := range externals {
				switch external {
				case "":
					code, _, answer := s.call("DELETE", "/v1/external/"+hanks, "")
					require.Equal(t, 204, code, answer)
				case "on-the-phone":
					s.put("/v1/external/"+hanks, `{"status":"available","telephoneEvent":"on-the-phone"}`)
				default:
					s.put("/v1/external/"+hanks, `{"status":"`+external+`"}`)
				}
				for _, line := range lines {
					s.line("2719", line)
					claims := map[string]bool{own: true, external: true, "unknown": true}
					claims["signed out"] = claims["signed out"] || own == ""
					claims["call"] = line == "busy" || external == "on-the-phone"
					claims["available"] = claims["available"] || external == "on-the-phone"
					claims["meeting"] = calendar == "busy"
					want := order[0]
					for _, want = range order {
						if claims[want.claim] {
							break
						}
					}
					what := fmt.Sprintf("own %q, line %q, calendar %q, external %q", own, line, calendar, external)
					said := func(d *document) bool {
						state, event, shown := "", "", ""
						if items := d.Person.Presence.Calendar; len(items) > 0 {
							state = items[0].State
						}
						if e := d.Person.Presence.External; e != nil {
							event, shown = e.TelephoneEvent, e.Status
						}
						if event != "" {
							shown = event
						}
						return d.line("2719") == line && state == calendar && shown == external && (own == "" || d.own() == own)
					}
					for w, status := range map[*dialog]string{watcher: want.blustar, soft: want.standard} {
						doc := w.until(what, said)
						require.Equal(t, status, doc.status(), what)
						require.Equal(t, want.note, doc.note(), what)
					}
					checked++
				}
			}
		}
	}
	require.Equal(t, 2400, checked)
}

// A client of 2013 has 8 KB of receive buffer and takes 10 ms for each NOTIFY:
// all of its 200 favorites arrive, and it is not ended (BSX-9).
func TestSlowClient_BSX_9(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	favorites := colleagues(200)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	require.NoError(t, c.packets.SetReadBuffer(8<<10))
	c.mu.Lock()
	c.slowness = 10 * time.Millisecond
	c.mu.Unlock()
	begin := time.Now()
	c.signIn(favorites...)
	c.list.lossy = true
	c.list.told(append([]string{hanks}, favorites...)...)
	t.Logf("200 favorites took %v", time.Since(begin))
	require.Equal(t, hanks, c.own.doc().Entity)
	// All of them change at once.
	for i := range favorites {
		s.put(fmt.Sprintf("/v1/external/sip:colleague%d@astra.com", i), `{"status":"busy"}`)
	}
	changed := map[string]bool{}
	for len(changed) < len(favorites) {
		if doc := c.list.doc(); doc.status() == "busy" {
			changed[doc.Entity] = true
		}
	}
	c.own.refresh("300")
	c.list.refresh("300")
}

// Until a dialog's first NOTIFY is answered one is under way; then two to four
// over UDP, whatever the list's length (BSX-9).
func TestWindow_BSX_9(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.own = c.open(c.ownRequest("300"))[0]
	c.own.doc()
	answered := map[string]bool{}
	allowed := 0
	c.silent()
	c.list = c.open(c.listRequest(colleagues(50)...))[0]
	underWay := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := 0
		for _, m := range c.requests {
			if m.get("Call-ID") == c.list.last.get("Call-ID") {
				n++
			}
		}
		return n
	}
	retransmitted := func(times int) { // the last one too, and so all there are
		t.Helper()
		require.True(t, c.wait(patience, func() bool {
			if len(c.requests) == 0 {
				return false
			}
			m := c.requests[len(c.requests)-1]
			return m.get("Call-ID") == c.list.last.get("Call-ID") && c.seen[m.get("Call-ID")+m.tag("From")+m.get("CSeq")] >= times
		}), "a retransmission")
	}
	retransmitted(3)
	require.Equal(t, 1, underWay(), "nobody has answered yet")
	c.answering(func(m *message) int { // the first, and none after it
		id := m.get("Call-ID") + m.get("CSeq")
		if allowed == 0 && m.get("Call-ID") == c.list.last.get("Call-ID") {
			allowed++
			answered[id] = true
		}
		if answered[id] {
			return 200
		}
		return 0
	})
	require.True(t, c.wait(patience, func() bool { return len(c.requests) > 2 }), "more NOTIFYs")
	retransmitted(3)
	require.Contains(t, []int{2, 3, 4}, underWay()-1)
	c.answering(nil)
	c.list.told(colleagues(50)...)
	s.dirty = false
}

// A whole day behind an SBC that strips User-Agent (dialects).
func TestStrippedUserAgent(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	g.see(signedOut)
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	bare := func(m *message) *message { return m.del("User-Agent") }
	dialogs := c.open(bare(c.ownRequest("300")), bare(c.listRequest(sean)))
	c.own, c.list = dialogs[0], dialogs[1]
	c.list.told(hanks, sean)
	require.Equal(t, "open", c.own.doc().service("global service"))
	g.see(isUnknown)
	etag := c.ask(bare(c.publishRequest("3600", "", statusBody("busy", "one"))), 200).get("SIP-ETag")
	g.see("busy/one")
	require.Equal(t, etag, c.ask(bare(c.publishRequest("3600", etag, statusBody("available", "two"))), 200).get("SIP-ETag"))
	g.see("available/two")
	require.Equal(t, etag, c.ask(bare(c.publishRequest("3600", etag, "")), 200).get("SIP-ETag"))
	c.own.refresh("300")
	c.ask(bare(c.publishRequest("0", etag, "")), 200)
	c.own.leaves()
	c.list.leaves()
	g.see(signedOut)
}

// Accept is not looked at in the BluStar dialect (dialects).
func TestAcceptIgnored(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	for _, accept := range []string{"application/dialog-info+xml", "text/html", ""} {
		c := s.client("udp", hanksNumber, hanks, `DE\tom`)
		dialogs := c.open(c.ownRequest("300").add("Accept", accept), c.listRequest(sean).add("Accept", accept))
		require.Equal(t, hanks, dialogs[0].doc().Entity)
		dialogs[1].told(hanks, sean)
	}
}

// aa:blustar has a note and a timestamp always, in both dialects (BSP-3-1).
func TestNoteAndTimestamp_BSP_3_1(t *testing.T) {
	t.Parallel()
	s := startMail(t)
	watchers := map[string]*dialog{
		"BluStar":  s.phone("udp", "sip:joe@astra.com").subscribe(hanks),
		"Standard": s.softphone("udp", "sip:zoe@example.com").subscribe(hanks),
	}
	look := func(step, status string) {
		t.Helper()
		for name, w := range watchers {
			doc := w.until(step, func(d *document) bool { return d.status() == status })
			own := doc.Person.Presence.BluStar
			require.NotNil(t, own, "%s, %s\n%s", step, name, doc.raw)
			require.NotNil(t, own.Note, "%s, %s\n%s", step, name, doc.raw)
			require.False(t, own.Timestamp.IsZero(), "%s, %s\n%s", step, name, doc.raw)
		}
	}
	look("nobody there", "signed out")
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	c.signIn()
	look("not published yet", "unknown")
	c.publish("", "available", "")
	look("an empty note", "available")
	c.ask(c.publishRequest("3600", "", strings.Replace(tuplesBody("busy", "", "open", "closed", "open"),
		"<aa:timestamp>2012-12-19T16:49:08Z</aa:timestamp>", "", 1)), 200)
	look("neither", "busy")
	c.publish("", "do not disturb", "HELLO")
	look("a note", "unavailable")
	c.unpublish("")
	look("gone", "signed out")
}

// aa:presence carries the appointments that run now, and no others (BSP-3.2-5).
func TestRunningAppointments_BSP_3_2_5(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	g.see(signedOut)
	s.put("/v1/calendars/tom.hanks@astra.com", "["+
		appointment("over", "busy", stamp(-2*time.Hour), stamp(-time.Hour))+","+
		appointment("one", "tentative", stamp(-time.Hour), stamp(time.Hour))+","+
		appointment("two", "busy", stamp(-time.Minute), stamp(time.Hour))+","+
		appointment("next", "busy", stamp(time.Hour), stamp(2*time.Hour))+"]")
	for name, w := range g.watchers {
		doc := w.until("the appointments", func(d *document) bool { return len(d.Person.Presence.Calendar) > 0 })
		var ids []string
		for _, item := range doc.Person.Presence.Calendar {
			ids = append(ids, item.ID)
		}
		require.ElementsMatch(t, []string{"one", "two"}, ids, name)
	}
	s.put("/v1/calendars/tom.hanks@astra.com", "["+appointment("next", "busy", stamp(time.Hour), stamp(2*time.Hour))+"]")
	for name, w := range g.watchers {
		doc := w.until("what is left", func(d *document) bool { return d.Entity == hanks && d.status() == "signed out" })
		require.Empty(t, doc.Person.Presence.Calendar, name)
	}
}

// Publishing "signed out" closes the services of the client and ends none of its
// subscriptions; the user is shown so where no other client is live (BSP-4.3-3,
// BSP-4.3-5).
func TestPublishSignedOut_BSP_4_3_3(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	one, two := s.client("udp", hanksNumber, hanks, `DE\tom`), s.client("tcp", hanksNumber, hanks, `DE\tom`)
	services := func(want string) {
		t.Helper()
		s.line("2719", "ringing") // a new document
		for name, w := range g.watchers {
			doc := w.until(want, func(d *document) bool { return d.Entity == hanks && d.line("2719") == "ringing" })
			var got []string
			for _, id := range []string{"global service", "audio", "video", "message"} {
				got = append(got, doc.service(id))
			}
			if name != "softphone" {
				require.Equal(t, want, strings.Join(got, " "), name)
			}
		}
	}
	one.signIn()
	etag := one.publish("", "busy", "")
	g.come("busy/Busy")
	services("open open closed open")
	one.publish(etag, "signed out", "")
	g.see(signedOut)
	services("closed closed closed closed")
	one.own.refresh("300")
	one.list.refresh("300")
	one.publish(etag, "busy", "")
	g.see("busy/Busy")
	services("open open closed open")

	two.signIn()
	two.ask(two.publishRequest("3600", etag, tuplesBody("busy", `<aa:note xml:lang="Eng" />`, "closed", "open", "closed")), 200)
	g.see("busy/Busy")
	services("open open open open")
	one.publish(etag, "signed out", "")
	g.see("busy/Busy")
	services("open closed open closed")
	two.publish(etag, "signed out", "")
	g.see(signedOut)
	services("closed closed closed closed")
}

// A note has at most 1024 bytes; a longer one is 413, which names the bound, and
// changes nothing (BSP-4.3-8).
func TestNoteBound_BSP_4_3_8(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	g := s.watched(hanks, "2719")
	c := s.client("tcp", hanksNumber, hanks, `DE\tom`)
	c.signIn()
	longest := strings.Repeat("ü", 512)
	etag := c.publish("", "busy", longest)
	g.come("busy/" + longest)
	for _, long := range []string{longest + "x", strings.Repeat("x", 1025), strings.Repeat("→", 342)} {
		r := c.ask(c.publishRequest("3600", etag, statusBody("available", long)), 413)
		require.Contains(t, r.String(), "1024")
		g.see("busy/" + longest)
	}
}

// SIP-ETag has the form that is printed: 18762 (BSP-2.10-3).
func TestEntityTagIsANumber_BSP_2_10_3(t *testing.T) {
	t.Parallel()
	s := startMail(t, required)
	tags := map[string]bool{}
	for network, c := range map[string]*client{
		"udp": s.client("udp", hanksNumber, hanks, `DE\tom`),
		"tcp": s.client("tcp", murrayNumber, murray, `DE\bill`),
	} {
		for range 10 {
			etag := c.publish("", "busy", "")
			require.Regexp(t, `^[1-9]\d{0,8}$`, etag)
			require.False(t, tags[etag], "%s: each publication has one of its own", network)
			tags[etag] = true
			c.unpublish(etag)
		}
	}
}

// The settings beside these rulings (BSP-3.2-5, BSP-3.2-7, BSP-4.3-8).
func TestSettings_BSP_3_2_7(t *testing.T) {
	t.Parallel()
	s := startMail(t, `{"all_statuses":true,"next_appointment":true,"limits":{"min_expires":1,"max_note":5}}`)
	watcher := s.phone("udp", "sip:joe@astra.com").subscribe(hanks)
	s.put("/v1/calendars/tom.hanks@astra.com", "["+appointment("next", "busy", stamp(time.Hour), stamp(2*time.Hour))+"]")
	watcher.until("the next appointment", func(d *document) bool {
		return len(d.Person.Presence.Calendar) == 1 && d.Person.Presence.Calendar[0].ID == "next"
	})
	c := s.client("udp", hanksNumber, hanks, `DE\tom`)
	for _, v := range [][2]string{{"away", "away"}, {"inactive", "away"}, {"be right back", "away"}, {"other", "other"}} {
		c.publish("", v[0], "12345")
		require.Equal(t, v[1], watcher.until(v[0], func(d *document) bool { return d.own() == v[0] }).status())
	}
	r := c.ask(c.publishRequest("3600", "", statusBody("busy", "123456")), 413)
	require.Contains(t, r.String(), "5 bytes")
}
