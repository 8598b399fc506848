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
