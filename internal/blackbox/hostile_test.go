package blackbox_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serves wants the server to work as ever.
func (s *server) serves() {
	s.t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		p := s.phone(network, tom)
		d := p.subscribe(tom)
		d.doc()
		d.refresh("0")
		d.ended("timeout")
	}
}

// Datagrams that are no SIP, or less than a request, harm nobody (BSP-4-5).
func TestGarbageDatagrams_BSP_4_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	noise := make([]byte, 1400)
	_, _ = rand.Read(noise)
	good := p.subscribeRequest(tom, "300").String()
	for _, text := range []string{"", "\r\n\r\n", "\x00", string(noise), "GET / HTTP/1.1\r\n\r\n", "SUBSCRIBE", "SUBSCRIBE sip:x SIP/2.0",
		"SUBSCRIBE sip:x SIP/2.0\r\n", "SUBSCRIBE sip:x SIP/2.0\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n", "SIP/2.0 99999999999999 OK\r\nVia: x\r\n\r\n",
		"SUBSCRIBE sip:x SIP/9.9\r\n" + good[strings.Index(good, "\r\n"):], good[:len(good)/2], strings.Repeat("A", 60000),
		strings.Repeat("Via: SIP/2.0/UDP x;branch=z9hG4bKx\r\n", 1500), "SUBSCRIBE " + strings.Repeat("sip:", 9000) + " SIP/2.0\r\n\r\n",
		"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nFrom: x\r\nTo: y\r\nCall-ID: z\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n"} {
		p.write(text)
	}
	s.serves()
	require.Empty(t, s.list("/v1/clients"))
}

// Requests that are not what they should be: 4xx, no state (BSP-4-5).
func TestBadHeaders_BSP_4_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, network := range []string{"udp", "tcp"} {
		for name, change := range map[string]func(m *message) *message{
			"CSeq of another method":  func(m *message) *message { return m.set("CSeq", "1 PUBLISH") },
			"huge CSeq":               func(m *message) *message { return m.set("CSeq", "99999999999 SUBSCRIBE") },
			"CSeq of 2^31 and more":   func(m *message) *message { return m.set("CSeq", "4294967296 SUBSCRIBE") },
			"CSeq of words":           func(m *message) *message { return m.set("CSeq", "one SUBSCRIBE") },
			"From without an address": func(m *message) *message { return m.set("From", "<>;tag=x") },
			"From not closed":         func(m *message) *message { return m.set("From", "<sip:tom@example.com;tag=x") },
			"two From":                func(m *message) *message { return m.add("From", "<sip:bill@example.com>;tag=y") },
			"two Call-ID":             func(m *message) *message { return m.add("Call-ID", "another") },
			"two CSeq":                func(m *message) *message { return m.add("CSeq", "2 SUBSCRIBE") },
			"two Expires":             func(m *message) *message { return m.add("Expires", "0") },
			"negative Expires":        func(m *message) *message { return m.set("Expires", "-1") },
			"Contact of a star":       func(m *message) *message { return m.set("Contact", "*") },
			"Contact of garbage":      func(m *message) *message { return m.set("Contact", "<<<>>>") },
			"two Contacts":            func(m *message) *message { return m.add("Contact", "<sip:other@127.0.0.1:9>") },
			"no From tag":             func(m *message) *message { return m.set("From", "<sip:tom@example.com>") },
			"Max-Forwards of words":   func(m *message) *message { return m.set("Max-Forwards", "many") },
		} {
			p := s.phone(network, tom)
			m := change(p.subscribeRequest(tom, "300"))
			p.write(m.String())
			if !p.wait(2*time.Second, func() bool { return len(p.answers) > 0 }) {
				// No answer is one where the request has no usable identity.
				continue
			}
			code := p.answers[0].code()
			if name == "no From tag" || name == "two Contacts" || name == "Max-Forwards of words" || name == "two Expires" {
				require.Less(t, code, 500, name) // RFC 2543 clients send none; lenience is fine
				continue
			}
			require.GreaterOrEqual(t, code, 400, "%s %s\n%s", network, name, m)
			require.Less(t, code, 500, "%s %s", network, name)
		}
	}
	p := s.phone("udp", tom)
	p.do(p.subscribeRequest(tom, "300").set("Max-Forwards", "0"), 200) // it is for this server itself
	for _, name := range []string{"To", "From", "CSeq", "Call-ID", "Via"} {
		p = s.phone("udp", tom)
		p.write(p.subscribeRequest(tom, "300").del(name).String())
	}
	s.serves()
}

// The ways to write the same request: compact names, folded lines, LF alone,
// odd case and space (RFC 3261 §7.3).
func TestSpellings(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, network := range []string{"udp", "tcp"} {
		for name, spell := range map[string]func(string) string{
			"compact": strings.NewReplacer("\r\nVia:", "\r\nv:", "\r\nFrom:", "\r\nf:", "\r\nTo:", "\r\nt:", "\r\nCall-ID:", "\r\ni:",
				"\r\nContact:", "\r\nm:", "\r\nEvent:", "\r\no:", "\r\nContent-Length:", "\r\nl:", "\r\nContent-Type:", "\r\nc:").Replace,
			"folded":   strings.NewReplacer("From: ", "From:\r\n\t ", "Event: ", "Event:\r\n  ", ";tag=", "\r\n ;tag=").Replace,
			"case":     strings.NewReplacer("From:", "FROM  :", "Call-ID:", "CALL-id:", "Event: presence", "eVENT:presence", "Content-Type:", "content-type:").Replace,
			"LF alone": func(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") },
			"blank lines before": func(text string) string {
				return "\r\n\r\n" + text
			},
		} {
			p := s.phone(network, bill)
			m := p.listRequest(bill, joe)
			p.write(spell(m.String()))
			require.True(t, p.wait(patience, func() bool { return len(p.answers) > 0 }), "%s %s", network, name)
			require.Equal(t, 200, p.answers[0].code(), "%s %s", network, name)
			d := &dialog{p: p, last: m, to: p.answers[0].get("To")}
			d.doc()
			d.doc()
		}
	}
}

// Content-Length that lies: too long on UDP is 400 or nothing, too short cuts;
// on TCP absurd ones cost the connection alone (BSP-4-5, RFC 3261 §18.3).
func TestContentLengthLies(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, network := range []string{"udp", "tcp"} {
		for _, length := range []string{"99999", "999999999999999999999", "-1", "0x10", "1 2", "10000000000"} {
			p := s.phone(network, bill)
			p.write(p.listRequest(bill).set("Content-Length", length).String())
		}
	}
	p := s.phone("udp", bill)
	m := p.listRequest(bill)
	m.set("Content-Length", fmt.Sprint(len(m.body)))
	m.body += "trailing junk"
	p.do(m, 200)
	p = s.phone("udp", bill)
	p.do(p.listRequest(bill).set("Content-Length", "30"), 400)
	s.serves()
}

// A stream in pieces, several requests in one, and keep-alives between them
// (RFC 5626 §4.4.1): each is answered, in order.
func TestStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("tcp", bill)
	m := p.listRequest(bill, joe)
	text := m.String()
	for len(text) > 0 {
		n := min(7, len(text))
		p.write(text[:n])
		text = text[n:]
	}
	require.Equal(t, 200, p.response(m, 0, patience).code())
	var all strings.Builder
	var requests []*message
	for range 50 {
		m := p.request("OPTIONS", tom)
		requests = append(requests, m)
		all.WriteString("\r\n\r\n" + m.String())
	}
	p.write(all.String())
	for _, m := range requests {
		require.Equal(t, 200, p.response(m, 0, patience).code())
	}
}

// Bodies too large, too deep, or with entities (BSP-3-5, BSP-4-5).
func TestHostileBodies_BSP_3_5(t *testing.T) {
	t.Parallel()
	s := start(t)
	deep := `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com">` + strings.Repeat("<a>", 5000) + strings.Repeat("</a>", 5000) + `</presence>`
	bomb := `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com"><note>&c;</note></presence>`
	external := `<?xml version="1.0"?><!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com"><note>&x;</note></presence>`
	for _, network := range []string{"udp", "tcp"} {
		p := s.phone(network, tom)
		for name, c := range map[string]struct {
			body string
			code int
		}{
			"deep":       {deep, 400},
			"bomb":       {bomb, 400},
			"external":   {external, 400},
			"many":       {`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="x">` + strings.Repeat(`<a/>`, 15000) + `</presence>`, 200},
			"attributes": {`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="x" ` + manyAttributes(3000) + `/>`, 400},
			"not UTF-8":  {statusBody("busy", "") + "\xff\xfe", 400},
			"NUL":        {strings.Replace(statusBody("busy", "x"), ">x<", ">\x00<", 1), 400},
			"good":       {statusBody("busy", strings.Repeat("ü", 200)), 200},
		} {
			if len(c.body) > 60000 && network == "udp" {
				continue
			}
			r := p.send(p.publishRequest("3600", "", c.body))
			require.Equal(t, c.code, r.code(), name)
		}
	}
	p := s.phone("tcp", tom)
	p.do(p.publishRequest("3600", "", strings.Replace(statusBody("busy", "x"), ">x<", ">"+strings.Repeat("x", 66000)+"<", 1)), 413)
	s.serves()
	require.NotContains(t, s.log(), "root:")
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `a%d="x" `, i)
	}
	return b.String()
}

// What a client writes into From or a note stays where it belongs: nothing of
// it becomes a header field or an element of a NOTIFY.
func TestInjection(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill)
	for _, to := range []string{"sip:tom@example.com%0d%0aX-Evil:%201", "sip:a%3Cb%3E&quot;@example.com", `sip:"><evil/>@example.com`,
		"sip:tom@example.com?X-Evil=1", "sip:tom@example.com;x=\"<evil>\""} {
		m := watcher.subscribeRequest(to, "300")
		r := watcher.send(m)
		require.Less(t, r.code(), 500)
		if r.code() != 200 {
			continue
		}
		d := &dialog{p: watcher, last: m, to: r.get("To")}
		n := d.next()
		require.Empty(t, n.get("X-Evil"))
		doc := parseDocument(t, n.body)
		require.NotContains(t, doc.raw, "<evil")
	}
	d := watcher.subscribe(tom)
	d.doc()
	p := s.phone("udp", tom)
	p.aor = `sip:tom@example.com`
	m := p.publishRequest("3600", "", statusBody("busy", "x\r\nX-Evil: 1\r\n\r\n</aa:note><evil/>"))
	m.set("From", `"x\"<sip:evil@x>" <sip:tom@example.com>;tag=`+token())
	p.do(m, 200)
	n := d.next()
	require.Empty(t, n.get("X-Evil"))
	doc := parseDocument(t, n.body)
	require.Contains(t, doc.ownNote(), "</aa:note><evil/>")
	require.NotContains(t, doc.raw, "<evil")

	for _, from := range []string{`<sip:` + strings.Repeat("x", 8000) + `@example.com>;tag=1`, "<sip:\xff\xfe@example.com>;tag=2", `"` + strings.Repeat(`\"`, 3000) + `" <sip:tom@example.com>;tag=3`} {
		q := s.phone("udp", tom)
		m := q.subscribeRequest(tom, "300").set("From", from)
		q.write(m.String())
		q.wait(2*time.Second, func() bool { return len(q.answers) > 0 && (q.answers[0].code() != 200 || len(q.requests) > 0) })
		for _, a := range q.answers {
			require.Less(t, a.code(), 500)
		}
	}
	s.serves()
}

// Connections that send slowly or nothing neither stop others nor last for
// ever; a flood of them is survived (BSX-4).
func TestConnections_BSX_4(t *testing.T) {
	t.Parallel()
	s := start(t)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range 200 {
		c, err := net.Dial("tcp", s.tcp)
		if err != nil {
			break
		}
		open = append(open, c)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "SUBSCRIBE sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x")
		}
	}
	require.Len(t, open, 200)
	s.serves()
	// A stream that is no SIP is closed.
	c, err := net.Dial("tcp", s.tcp)
	require.NoError(t, err)
	open = append(open, c)
	_, _ = io.WriteString(c, strings.Repeat("no SIP at all\r\n", 10000))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err = io.Copy(io.Discard, c)
	var timeout net.Error
	if err != nil {
		require.False(t, asTimeout(err, &timeout), "the server keeps a connection that speaks no SIP")
	}
	s.serves()
}

func asTimeout(err error, target *net.Error) bool {
	ne, ok := err.(net.Error)
	*target = ne
	return ok && ne.Timeout()
}

// A storm of SUBSCRIBEs: all are answered, the bound is a 503 with
// Retry-After, and all is gone when they have ended (BSX-4).
func TestSubscribeStorm_BSX_4(t *testing.T) {
	t.Parallel()
	s := start(t, `{"limits":{"min_expires":1,"max_subscriptions":40}}`)
	p := s.phone("tcp", bill)
	var all strings.Builder
	var requests []*message
	for range 60 {
		m := p.subscribeRequest(tom, "300")
		requests = append(requests, m)
		all.WriteString(m.String())
	}
	p.write(all.String())
	codes := map[int]int{}
	for _, m := range requests {
		r := p.response(m, 0, patience)
		codes[r.code()]++
		if r.code() == 503 {
			require.NotEmpty(t, r.get("Retry-After"))
		}
	}
	require.Equal(t, map[int]int{200: 40, 503: 20}, codes)
	require.Len(t, s.list("/v1/subscriptions"), 40)
	p.close()
	require.Eventually(t, func() bool { return len(s.list("/v1/subscriptions")) == 0 }, patience, 10*time.Millisecond)
	s.serves()
}

// Unknown transports of the Contact, and Contacts of others: no request of one
// client makes the server talk to itself or crash.
func TestContacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, contact := range []string{"<sip:" + s.udp + ">", "<sip:tom@" + s.udp + ">", "<sip:tom@[::1]:5060>", "<sip:tom@nosuch.invalid>",
		"<sip:tom@127.0.0.1:1;transport=sctp>", "<sips:tom@127.0.0.1:1>", "<tel:2719>", "<sip:tom@127.0.0.1:0>", "<sip:tom@127.0.0.1:99999>", "<sip:tom@255.255.255.255>"} {
		p := s.phone("udp", tom)
		m := p.subscribeRequest(tom, "300").set("Contact", contact)
		p.write(m.String())
		require.True(t, p.wait(patience, func() bool { return len(p.answers) > 0 }), contact)
		require.Less(t, p.answers[0].code(), 500, contact)
	}
	s.dirty = true // they never answer
	s.line("2719", "busy")
	s.serves()
}

// The stream ends where its framing is lost, and what came before is answered.
func TestHalfMessage(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := net.Dial("tcp", s.tcp)
	require.NoError(t, err)
	defer c.Close()
	p := s.phone("tcp", bill)
	m := p.request("OPTIONS", bill)
	_, err = io.WriteString(c, m.String()+m.String()[:60])
	require.NoError(t, err)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	r, err := readMessage(bufio.NewReader(c))
	require.NoError(t, err)
	require.Equal(t, 200, r.code())
	require.NoError(t, c.Close())
	s.serves()
}
