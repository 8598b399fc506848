package blackbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	hash, _, code := command(t, password+"\n", "hash-password")
	require.Equal(t, 0, code)
	dir, file := configDir(t, config(t, required))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "accounts.json"),
		[]byte(`{"accounts":[{"account":"DE\\jörg","password_hash":"`+strings.TrimSpace(hash)+`"}]}`), 0o600))
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
			c.answering(func(n *message) int {
				if n.get("Call-ID") == d.last.get("Call-ID") {
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
