package blackbox_test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The requests as the interface description prints them, print breaks mended
// and Content-Length left to the test (§2.10, §4.1, §4.2, §4.3).
const printed210 = `SUBSCRIBE sip:10.10.10.10:5060 SIP/2.0
Via: SIP/2.0/UDP 20.20.20.20;branch=z9hG4bK94ac96337c68e6b54;alias;rport=5060
Route: <sip:10.10.10.10:5060;lr;transport=UDP>
Max-Forwards: 70
From: <sip:67251@aastra.com:5060>;tag=1ec207a9de
To: <sip:bill@aastra.com:5060>
Call-ID: 9112b4907352d044
CSeq: 11940 SUBSCRIBE
Contact: <sip:bill@20.20.20.20:5060;transport=UDP>
Event: presence
Expires: 300
Require: recipient-list-subscribe
User-Agent: Aastra BluStar Client/3.0.1.0
Content-Type: application/resource-lists+xml

<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<list>
  <entry uri="sip:bill@aastra.com" />
  <entry uri="sip:joe@example.org" />
  <entry uri="sip:ted@example.net" />
</list>
</resource-lists>
`

const printed41 = `SUBSCRIBE sip:10.103.230.130:5060 SIP/2.0
Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bKae8cac0a52b206371;alias
Max-Forwards: 70
Route: <sip:2.2.2.2:5060;lr>
From: <sip:67251@astra.com:5060>;tag=lec207a9de
To: <sip:tom.hanks@astra.com:5060>;tag=70f4bd96
Call-ID: 4b696543bb91478d
CSeq: 18468 SUBSCRIBE
Contact: <sip:67251@10.103.228.151:5060>
Event: presence
Expires: 300
User-Agent: Aastra BluStar Client/3.0.0.0

`

const printed42 = `SUBSCRIBE sip:10.103.230.130:5060 SIP/2.0
Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bKae8cac0a52b206372;alias
Max-Forwards: 70
Route: <sip:2.2.2.2:5060;lr>
From: <sip:67251@astra.com:5060>;tag=1ec207a9de
To: <sip:rls@astra.com:5060>;tag=70f4bd96
Call-ID: 4b696543bb91478e
CSeq: 18468 SUBSCRIBE
Contact: <sip:67251@10.103.228.151:5060>
Event: presence
Expires: 7200
Require: recipient-list-subscribe
Content-Type: application/resource-lists+xml
Content-Disposition: recipient-list

<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <list>
    <entry uri="sip:bill@example.com" />
    <entry uri="sip:joe@example.org" />
    <entry uri="sip:ted@example.net" />
  </list>
</resource-lists>
`

const printed43 = `PUBLISH sip:tom.hanks@10.103.228.151:5060 SIP/2.0
Authorization: Basic realm="",uri="sip: 10.103.228.151:5060",username="de\ptest:h51%3k5$k3h"
Accept: application/dialog-info+xml
Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bK4083594629d0e7128.3d8571b9502833944.c4e8d546ce288974b;alias
Route: <sip:10.103.230.130:5060;lr>
Max-Forwards: 70
Route: <sip:2.2.2.2:5060;lr>
From: <sip:tom.hanks@astra.com:5060>;tag=93521f1ee5
To: <sip:tom.hanks@astra.com:5060>
Call-ID: 2a0864bd7d9593d3
CSeq: 15729 PUBLISH
Contact: <sip:67251@10.103.228.151:5060>
Event: presence
Expires: 3600
SIP-If-Match: 18762
User-Agent: Aastra BluStar Client/3.0.0.0
Content-Type: application/pidf+xml

<?xml version="1.0" encoding="utf-8"?>
<presence xmlns:aa="http://www.aastracom/presence/blustar/2011"
xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
entity="sip:bill@example.com" xmlns="urn:ietf:params:xml:ns:pidf">
  <tuple id="audio">
    <status>
      <basic>open</basic>
    </status>
  </tuple>
  <tuple id="video">
    <status>
      <basic>closed</basic>
    </status>
  </tuple>
  <tuple id="message">
    <status>
      <basic>open</basic>
    </status>
  </tuple>
  <dm:person id="sip:bill@example.com">
    <aa:presence>
      <aa:blustar>
        <aa:status>busy</aa:status>
        <aa:note xml:lang="Eng">HELLO</aa:note>
      <!--
        NOTICE: when there is no note (or a previous note is to be deleted) it MUST to look like:
        <aa:note xml:lang="Eng" />
      -->
        <aa:timestamp>2012-12-19T16:49:08Z</aa:timestamp>
      </aa:blustar>
    </aa:presence>
  </dm:person>
</presence>
`

const printedForwarding = `PUBLISH sip:tom.hanks@10.103.228.151:5060 SIP/2.0
Authorization: Basic realm="",uri="sip: 10.103.228.151:5060",username="de\ptest:h51%3k5\$k3h"
Accept: application/dialog-info+xml
Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bK4083594629d0e7128.3d8571b9502833944.c4e8d546ce288974c;alias
Route: <sip:10.103.230.130:5060;lr>
Max-Forwards: 70
Route: <sip:2.2.2.2:5060;lr>
From: <sip:tom.hanks@astra.com>
To: <sip:sean.connery@astra.com>
Call-ID: 2a0864bd7d9593d4
CSeq: 15729 PUBLISH
Contact: <sip:67251@10.103.228.151:5060>
Event: lyncforwarding
Expires: 3600
SIP-If-Match: 18762
User-Agent: Aastra BluStar Client/3.0.0.0
Content-Type: application/pidf+xml

`

// printed reads one of them.
func printed(t *testing.T, text string) *message {
	t.Helper()
	head, body, ok := strings.Cut(text, "\n\n")
	require.True(t, ok)
	raw := strings.ReplaceAll(head, "\n", "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
	m, err := readMessage(bufio.NewReader(bytes.NewReader([]byte(raw))))
	require.NoError(t, err)
	m.del("Content-Length")
	m.body = body
	return m
}

// Every request of the document is accepted and answered as printed; its Via
// and Contact are somebody's behind a NAT, so that the answers and the NOTIFYs
// come back to the socket (BSP-4-1, BSP-3-1, BSX-5, BSP-4.1-3).
func TestPrintedRequests_BSP_4_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.line("2719", "idle")
	// The To tags as printed are of no dialog of this server (BSP-4.1-3).
	for _, text := range []string{printed41, printed42} {
		s.phone("udp", tom).do(printed(t, text), 481)
	}

	p := s.phone("udp", tom)
	m := printed(t, printed41)
	m.set("To", "<sip:tom.hanks@astra.com:5060>").set("Via", m.get("Via")+"x").set("Call-ID", token())
	d := p.open(m)
	n := d.next()
	require.Equal(t, "NOTIFY sip:67251@10.103.228.151:5060 SIP/2.0", n.start)
	require.Equal(t, "300", d.granted)
	require.Contains(t, n.get("To"), "sip:67251@astra.com")
	require.Equal(t, "lec207a9de", n.tag("To"))
	require.Equal(t, "idle", parseDocument(t, n.body).line("2719"))
	require.NotContains(t, n.get("Via"), ",")

	p = s.phone("udp", tom)
	m = printed(t, printed42)
	m.set("To", "<sip:rls@astra.com:5060>").set("Via", m.get("Via")+"x").set("Call-ID", token())
	list := p.open(m)
	require.Equal(t, "300", list.granted, "7200 is answered with 300 (BSP-4.1-2)")
	seen := map[string]bool{}
	for range 3 {
		seen[list.doc().Entity] = true
	}
	require.Equal(t, map[string]bool{bill: true, joe: true, ted: true}, seen)

	p = s.phone("udp", tom)
	m = printed(t, printed43)
	r := p.do(m, 200) // an entity-tag of another server counts as none (BSP-2.4-5)
	require.Equal(t, "3600", r.get("Expires"))
	doc := d.doc()
	require.Equal(t, "busy", doc.status())
	require.Equal(t, "HELLO", doc.note())
	require.Equal(t, "HELLO", doc.ownNote())
	require.Equal(t, "idle", doc.line("2719"))
	require.Equal(t, "closed", doc.service("video"))

	p.do(printed(t, printedForwarding), 412)
	m = printed(t, printedForwarding).set("SIP-If-Match", r.get("SIP-ETag"))
	p.do(again(m), 200)
	require.Equal(t, "sip:sean.connery@astra.com", d.doc().Person.Presence.External.FwdDestination)
}

// The exchange of §2.10, as printed but for the key (BSP-2.10-1, BSP-4-1).
func TestPrintedAuthentication_BSP_2_10_1(t *testing.T) {
	t.Parallel()
	s := start(t, `{"auth":{"mode":"optional"},"nat":"always"}`) // its Contact is a public address
	p := s.phone("udp", bill)
	m := printed(t, printed210)
	r := p.do(m, 401)
	require.Equal(t, "Unauthorized", r.start[12:])
	require.Len(t, r.get("X-BSS-auth"), 56)
	value := tuzBase64(r.get("X-BSS-auth"), `DE\bill:`+passwords[`DE\bill`])
	m = printed(t, printed210).set("From", "<sip:67251@aastra.com:5060>;tag=4e53d86f7e").set("Call-ID", "aa6e9dcc8708b62f").
		set("CSeq", "29899 SUBSCRIBE").set("Via", "SIP/2.0/UDP 20.20.20.20;branch=z9hG4bKed70a7e1b9874b30d;alias;rport=5060").
		add("X-BSS-rauth", value[:70]+"\r\n "+value[70:])
	d := p.open(m)
	require.Equal(t, "300", d.granted)
	for range 3 {
		d.doc()
	}
	require.Len(t, s.list("/v1/clients"), 1)
}
