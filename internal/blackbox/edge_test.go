package blackbox_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that stops answering ends when its NOTIFY has timed out (Timer F,
// 32 s), and its user is signed out (BSP-2.3-1, BSP-2.3-2).
func TestDeadClientIsSignedOut_BSP_2_3_1(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a transaction to time out")
	}
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", joe).subscribe(tom)
	p := s.phone("udp", tom)
	own := p.subscribe(tom)
	own.doc()
	p.subscribe(bill).doc()
	p.publish("", statusBody("busy", ""))
	for _, d := range []*dialog{own, watcher} {
		d.until("busy", func(d *document) bool { return d.own() == "busy" })
	}
	require.Eventually(t, func() bool {
		for _, d := range s.list("/v1/subscriptions") {
			if d.(map[string]any)["under_way"] != float64(0) {
				return false
			}
		}
		return true
	}, patience, 10*time.Millisecond, "all is answered")
	p.answering(func(*message) int { return 0 })
	s.line("6725", "busy")
	begin := time.Now()
	var doc *document
	for doc == nil || doc.own() != "signed out" {
		// Twice, where an answer to what came before arrives after the NOTIFY left.
		n := watcher.poll(80 * time.Second)
		require.NotNil(t, n, "tom is never signed out")
		doc = parseDocument(t, n.body)
	}
	require.Greater(t, time.Since(begin), 25*time.Second)
	require.Eventually(t, func() bool { return len(s.list("/v1/subscriptions")) == 1 }, patience, 10*time.Millisecond)
	require.Empty(t, s.list("/v1/publications"))
}

// A list ties its client to its user by its first entry alone (BSP-4.1-1), and
// ends it; the address may be any of the user's entry.
func TestOwnAddressInList_BSP_4_1_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, c := range []struct {
		from string
		list []string
		own  bool
	}{
		{tom, []string{tom, bill}, true},
		{tom, []string{"tel:2719", bill}, true},
		{tom, []string{bill, tom}, false},
	} {
		p := s.phone("udp", c.from)
		other := p.subscribe(joe)
		list := p.subscribeList(c.list...)
		if c.own {
			m := p.publishRequest("3600", "", statusBody("busy", "")).set("To", "<"+tom+">")
			p.do(m, 200)
			require.Equal(t, "busy", s.status(tom))
		}
		list.refresh("0")
		list.ended("timeout")
		if c.own {
			other.ended("timeout")
			require.Equal(t, "signed out", s.status(tom), "%v", c)
		} else {
			other.refresh("300")
		}
	}
}

// The connection of an AMCC is that of all its AMCs (BSP-2.3-1, BSP-2.11-2).
func TestConnectionOfAMCC_BSP_2_11_2(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", ted).subscribeList(tom, joe)
	amcc := s.phone("tcp", tom)
	amcc.contact = strings.Replace(amcc.contact, "<sip:tom@", "<sip:fmc@", 1)
	for _, aor := range []string{tom, joe} {
		amcc.aor = aor
		amcc.subscribe(aor).doc()
		amcc.publish("", statusBody("busy", ""))
	}
	both := func(status string) {
		shown := map[string]bool{}
		for len(shown) < 2 {
			if doc := watcher.doc(); doc.status() == status {
				shown[doc.Entity] = true
			}
		}
	}
	both("busy")
	amcc.close()
	both("signed out")
	require.Empty(t, s.list("/v1/clients"))
}

// Sessions and keys end in time (BSP-2.10-8, BSP-2.10-3); credentials that come
// within a session are checked all the same.
func TestSessionEnds_BSP_2_10_8(t *testing.T) {
	t.Parallel()
	p := start(t, `{"auth":{"mode":"required","challenge_lifetime":"1s"}}`).phone("udp", tom)
	good := `DE\tom:` + passwords[`DE\tom`]
	key := p.do(p.subscribeRequest(tom, "300"), 401).get("X-BSS-auth")
	<-time.After(1100 * time.Millisecond) // the key's lifetime is over, by the clock alone
	p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(key, good)), 401)

	const session = 2 * time.Second
	p = start(t, `{"auth":{"mode":"required","session":"2s"}}`).phone("udp", tom)
	var d *dialog
	for code := 0; code != 200; { // again, where the machine was so slow that it had ended
		begin := time.Now()
		p.creds = good
		d = p.subscribe(tom)
		p.creds = ""
		if code = p.send(p.subscribeRequest(tom, "300")).code(); time.Since(begin) < session {
			require.Equal(t, 200, code)
		}
	}
	r := p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(p.key, `DE\tom:other`)), 401)
	require.Len(t, r.get("X-BSS-auth"), 56)
	deadline := time.Now().Add(patience)
	for p.send(d.refreshRequest("300")).code() != 401 {
		require.True(t, time.Now().Before(deadline), "the session never ends")
	}
	p.creds = good
	d.refresh("300")
}

// A retransmission of a request that got a 401 gets the same one: another would
// replace the key that the client is about to use (RFC 3261 §17.2.2).
func TestRetransmitted401(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	p := s.phone("udp", tom)
	m := p.subscribeRequest(tom, "300")
	first := p.do(m, 401)
	p.mu.Lock()
	begin := len(p.answers)
	p.mu.Unlock()
	p.write(m.String())
	require.Equal(t, first.String(), p.response(m, begin, patience).String())
	p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(first.get("X-BSS-auth"), `DE\tom:`+passwords[`DE\tom`])), 200)
}

// The setting `dialect` decides where it is not auto.
func TestDialectSetting(t *testing.T) {
	t.Parallel()
	blustar, standard := start(t, `{"dialect":"blustar"}`), start(t, `{"dialect":"standard"}`)
	soft := blustar.softphone("udp", joe)
	etag := soft.publish("", statusBody("busy", ""))
	require.Equal(t, etag, soft.publish(etag, statusBody("available", "")))
	client := standard.phone("udp", joe)
	etag = client.publish("", statusBody("busy", ""))
	require.NotEqual(t, etag, client.publish(etag, statusBody("available", "")))
	require.Equal(t, "available", standard.status(joe))
}

// The dialect is chosen by the request, and kept by the dialog (dialects).
func TestDialectOfRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	isBluStar := func(n *message) bool { return strings.Contains(n.body, `id="global service"`) }
	for name, c := range map[string]struct {
		change  func(m *message)
		blustar bool
	}{
		"nothing":      {func(m *message) {}, false},
		"User-Agent":   {func(m *message) { m.set("User-Agent", "Mitel BluStar 8000i/5") }, true},
		"X-BSS header": {func(m *message) { m.add("X-BSS-rauth", "AAAA") }, true},
		"fmc":          {func(m *message) { m.set("Contact", strings.Replace(m.get("Contact"), "sip:bill@", "sip:fmc@", 1)) }, true},
	} {
		p := s.softphone("udp", bill)
		m := p.subscribeRequest(tom, "300")
		c.change(m)
		d := p.open(m)
		require.Equal(t, c.blustar, isBluStar(d.next()), name)
		// A refresh does not change it.
		d.p.do(d.refreshRequest("300").set("User-Agent", "x BluStar").set("Contact", m.get("Contact")), 200)
		s.line("2719", "busy")
		require.Equal(t, c.blustar, isBluStar(d.next()), name)
		s.line("2719", "idle")
	}
	p := s.softphone("udp", bill)
	d := p.subscribeList(tom, joe) // a list without Supported: eventlist
	require.True(t, isBluStar(d.next()))
	q := s.softphone("udp", tom)
	etag := q.publish("", statusBody("busy", "")) // an aa: body
	require.Equal(t, etag, q.publish(etag, statusBody("available", "")))
}

// Parameters of Event and Content-Type (RFC 6665 §8.2.1, RFC 3261 §20.15).
func TestParameters(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", bill)
	d := p.open(p.subscribeRequest(tom, "300").set("Event", "presence;id=7"))
	require.Equal(t, "presence;id=7", strings.ReplaceAll(d.next().get("Event"), " ", ""))
	q := s.phone("udp", tom)
	m := q.publishRequest("3600", "", statusBody("busy", "ü")).set("Content-Type", `Application/PIDF+XML ; charset="UTF-8"`)
	q.do(m, 200)
	require.Equal(t, "ü", d.doc().ownNote())
	m = p.listRequest(joe).set("Content-Type", "application/resource-lists+xml;charset=utf-8").set("Content-Disposition", "Recipient-List; handling=optional")
	require.Equal(t, joe, p.open(m).doc().Entity)
}

// BluStar's state and a standard publication of one user compose (BSX-6).
func TestDialectsCompose_BSX_6(t *testing.T) {
	t.Parallel()
	s := start(t)
	pidf := func(activity string) string {
		return `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:tom@example.com"><tuple id="a"><status><basic>open</basic></status></tuple><dm:person id="p"><rpid:activities>` + activity + `</rpid:activities></dm:person></presence>`
	}
	client, soft := s.phone("udp", tom), s.softphone("udp", tom)
	etag := client.publish("", statusBody("available", ""))
	tag := soft.publish("", pidf("<rpid:on-the-phone/>"))
	require.Equal(t, "In a call", s.object("/v1/presence/" + tom)["note"])
	client.publish(etag, statusBody("do not disturb", ""))
	require.Equal(t, "unavailable", s.status(tom))
	soft.do(soft.publishRequest("0", tag, ""), 200)
	client.publish(etag, statusBody("available", ""))
	require.Equal(t, "available", s.status(tom))
	// The BluStar client's end leaves what the other says.
	soft.publish("", pidf("<rpid:away/>"))
	client.do(client.publishRequest("0", "", ""), 200)
	require.Equal(t, "away", s.status(tom))
}

// A standard publication expires by itself; a user of whom nothing is left is
// signed out.
func TestStandardPublicationExpires(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.softphone("tcp", bill).subscribe(joe)
	watcher.doc()
	p := s.softphone("udp", joe)
	p.do(p.publishRequest("1", "", `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:joe@example.org"><tuple id="a"><status><basic>open</basic></status></tuple></presence>`), 200)
	require.Equal(t, "available", watcher.doc().status())
	require.Equal(t, "signed out", watcher.until("gone", func(d *document) bool { return d.status() != "available" }).status())
	require.Empty(t, s.list("/v1/publications"))
}

// The server starts while its directory is down and says so; subscriptions are
// accepted and unknown, publications and checks are 503, not refused
// (BSP-2.1-8, server.md).
func TestDirectoryDown_BSP_2_1_8(t *testing.T) {
	t.Parallel()
	s := start(t, `{"directory":{"ldap":{"url":"ldaps://127.0.0.1:1","base_dn":"dc=example,dc=com"}}}`)
	code, _, _ := s.call("GET", "/readyz", "")
	require.Equal(t, 503, code)
	code, _, _ = s.call("GET", "/healthz", "")
	require.Equal(t, 200, code)
	p := s.phone("udp", tom)
	d := p.subscribe(tom)
	require.Equal(t, "unknown", d.doc().status())
	r := p.do(p.publishRequest("3600", "", statusBody("busy", "")), 503)
	require.NotEmpty(t, r.get("Retry-After"))
	d.refresh("300")
}

// A client that signs out and in again without waiting is in: what it sends on
// one connection is applied in order, whichever way it signed out (BSP-2.2-2, BSX-3).
func TestOutAndInAgain_BSP_2_2_2(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("tcp", tom)
	for i := range 30 {
		own := p.subscribe(tom)
		etag := p.publish("", statusBody("busy", "before"))
		out := own.refreshRequest("0")
		if i%2 == 0 {
			out = p.publishRequest("0", etag, "")
		}
		in := p.subscribeRequest(tom, "300")
		publish := p.publishRequest("3600", "", statusBody("available", "after"))
		p.mu.Lock()
		begin := len(p.answers)
		p.mu.Unlock()
		p.write(out.String() + in.String() + publish.String())
		require.Equal(t, 200, p.response(publish, begin, patience).code())
		r := p.response(in, begin, patience)
		require.Equal(t, 200, r.code())
		fresh := &dialog{p: p, last: in.clone(), to: r.get("To")}
		own.ended("timeout")
		fresh.refresh("300")
		require.Len(t, s.list("/v1/clients"), 1)
		require.Len(t, s.list("/v1/publications"), 1, "round %d", i)
		fresh.refresh("0")
		fresh.ended("timeout")
		require.Empty(t, s.list("/v1/clients"))
	}
}

// Times are written in UTC with seconds, whatever a client wrote (BSP-3-4).
func TestTimestamps_BSP_3_4(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	p := s.phone("udp", tom)
	for _, stamp := range []string{" 2013-07-11T10:10:00Z ", "2013-07-11T12:10:00.123+02:00"} {
		p.publish("", strings.Replace(statusBody("busy", ""), "2012-12-19T16:49:08Z", stamp, 1))
		doc := watcher.doc()
		for _, found := range regexp.MustCompile(`<\w+:timestamp>([^<]*)<`).FindAllStringSubmatch(doc.raw, -1) {
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, found[1])
		}
		p.do(p.publishRequest("0", "", ""), 200)
		watcher.doc()
	}
}
