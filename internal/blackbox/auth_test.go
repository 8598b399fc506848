package blackbox_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const required = `{"auth":{"mode":"required"}}`

// The exchange of §2.10, over SUBSCRIBE and PUBLISH (BSP-2.10-1, BSP-2.10-3,
// BSP-2.10-4, BSP-2.10-6), in a password with a colon, a backslash and
// characters beyond ASCII.
func TestRequired_BSP_2_10_1(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	keys := map[string]bool{}
	for i, user := range []string{"tom", "bill"} {
		p := s.phone([]string{"udp", "tcp"}[i], "sip:"+user+"@example.com")
		for _, m := range []*message{p.subscribeRequest(p.aor, "300"), p.publishRequest("3600", "", statusBody("busy", ""))} {
			r := p.do(m, 401)
			key := r.get("X-BSS-auth")
			require.Regexp(t, `^[0-9]{56}$`, key)
			require.False(t, keys[key], "a new key every time")
			keys[key] = true
			require.Empty(t, r.get("WWW-Authenticate"), "no Digest for a BluStar client")
			require.Empty(t, r.get("SIP-ETag"))
		}
		require.Equal(t, "signed out", s.status(p.aor))
		p.creds = `DE\` + user + ":" + passwords[`DE\`+user]
		d := p.subscribe(p.aor)
		d.doc()
		// The session is open: no credentials needed now (BSP-2.10-8).
		etag := p.publish("", statusBody("busy", ""))
		require.Equal(t, "busy", d.doc().own())
		r := p.send(p.publishRequest("3600", etag, statusBody("available", "")))
		require.Equal(t, 200, r.code())
		d.refresh("300")
		// With the credentials again, under the same key: still good.
		m := p.subscribeRequest(bill, "300").add("X-BSS-rauth", tuzBase64(p.key, p.creds))
		p.do(m, 200)
		// And folded, as §2.10 prints it.
		value := tuzBase64(p.key, p.creds)
		m = p.subscribeRequest(joe, "300").add("X-BSS-rauth", value[:20]+"\r\n "+value[20:40]+"  "+value[40:])
		p.do(m, 200)
	}
	// The session is of this client: another one of the user has none.
	other := s.phone("udp", tom)
	other.do(other.subscribeRequest(tom, "300"), 401)
}

// Spellings of the account (BSP-2.4-7, BSP-2.10-4).
func TestAccountSpelling(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	for account, code := range map[string]int{`de\TOM`: 200, `DE\tom`: 200, `tom`: 401, `XX\tom`: 401, ``: 401} {
		p := s.phone("udp", tom)
		p.creds = account + ":" + passwords[`DE\tom`]
		r := p.send(p.subscribeRequest(tom, "300"))
		m := again(p.subscribeRequest(tom, "300")).set("X-BSS-rauth", tuzBase64(r.get("X-BSS-auth"), p.creds))
		require.Equal(t, code, p.send(m).code(), account)
	}
}

// Wrong credentials get a new key; after max_failures the account is refused
// without asking (BSP-2.10-6, BSP-2.10-8).
func TestThrottle_BSP_2_10_8(t *testing.T) {
	t.Parallel()
	s := start(t, `{"auth":{"mode":"required","max_failures":3,"failure_window":"10m"}}`)
	p := s.phone("udp", tom)
	key := p.do(p.subscribeRequest(tom, "300"), 401).get("X-BSS-auth")
	for i := range 3 {
		r := p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(key, `DE\tom:wrong`)), 401)
		require.Len(t, r.get("X-BSS-auth"), 56)
		require.NotEqual(t, key, r.get("X-BSS-auth"), i)
		key = r.get("X-BSS-auth")
	}
	p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(key, `DE\tom:`+passwords[`DE\tom`])), 403)
	// From any client of that account too.
	q := s.phone("tcp", tom)
	r := q.send(q.subscribeRequest(tom, "300"))
	if r.code() == 401 {
		q.do(q.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(r.get("X-BSS-auth"), `DE\tom:`+passwords[`DE\tom`])), 403)
	}
}

// A BluStar client that its User-Agent does not show gets X-BSS-auth beside Digest,
// and is let in by it (BSP-2.10-2).
func TestUnmarkedClient_BSP_2_10_2(t *testing.T) {
	t.Parallel()
	s, marked := start(t, required), start(t, required, `{"auth":{"user_agents":["BSCpc"]}}`)
	for ua, digest := range map[string][2]bool{
		"":                         {true, true},
		"BSCpc/2.0":                {true, false},
		"Aastra 8000i/1.0":         {false, true},
		"Aastra BluStar Client/3":  {false, true},
		"Linphone Desktop/5 bscPC": {true, false},
	} {
		for i, s := range []*server{s, marked} {
			p := s.softphone("udp", tom)
			p.ua = ua
			r := p.do(p.subscribeRequest(tom, "300"), 401)
			require.Equal(t, digest[i], len(r.all("WWW-Authenticate")) > 0, "%q %d", ua, i)
			p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(r.get("X-BSS-auth"), `DE\tom:`+passwords[`DE\tom`])), 200)
		}
	}
}

// A key that has gone or belongs to another, and what is no tuz at all, is 401
// with a new key and never counts as a failure (BSP-2.10-10, BSP-2.10-3).
func TestStaleKey_BSP_2_10_10(t *testing.T) {
	t.Parallel()
	s := start(t, `{"auth":{"mode":"required","max_failures":2}}`)
	p, q := s.phone("udp", tom), s.phone("udp", bill)
	good := `DE\tom:` + passwords[`DE\tom`]
	before := start(t, `{"auth":{"mode":"required"}}`).phone("udp", tom) // of the server before a restart
	stale := before.do(before.subscribeRequest(tom, "300"), 401).get("X-BSS-auth")
	others := q.do(q.subscribeRequest(bill, "300"), 401).get("X-BSS-auth")
	short := tuzEncrypt(stale, nil)
	for i, value := range []string{tuzBase64(stale, good), tuzBase64(others, good), tuzBase64(strings.Repeat("x", 56), good),
		"", "=", "AAAA", "%%%", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("z", 60))),
		base64.StdEncoding.EncodeToString(short[:17]), base64.StdEncoding.EncodeToString(short), strings.Repeat("QUJD", 3000)} {
		r := p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", value), 401)
		require.Len(t, r.get("X-BSS-auth"), 56, "%d", i)
	}
	for _, plain := range []string{"", ":", "no colon", `DE\tom`, `DE\tom:`, `:x`, "\xff\xfe:\x00"} {
		r := p.do(p.subscribeRequest(tom, "300"), 401)
		p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(r.get("X-BSS-auth"), plain)), 401)
	}
	p.creds = good
	p.subscribe(tom).doc()
}

// Mode optional: the User-Agent says who must (BSP-2.10-2); off: nobody.
func TestOptional_BSP_2_10_2(t *testing.T) {
	t.Parallel()
	optional, off := start(t, `{"auth":{"mode":"optional"}}`), start(t)
	for ua, code := range map[string]int{
		"Aastra BluStar Client/3.0.0.0":  200,
		"Aastra BluStar Client/3.0.1.0":  401,
		"Aastra BluStar Client/3.0.1":    401,
		"Aastra BluStar Client/3.0.10.0": 401,
		"Aastra BluStar Client/3.1":      401,
		"Aastra BluStar Client/10.0.0.0": 401,
		"Aastra BluStar Client/2.9.9.9":  200,
		"Aastra BluStar Client":          200,
		"Aastra BluStar PC Client/3.1.0": 401,
		"Aastra BluStar iOS/3.2":         401,
		"Aastra 8000i/1.0":               200,
	} {
		p := optional.phone("udp", tom)
		p.ua = ua
		p.do(p.subscribeRequest(tom, "300"), code)
		p.do(p.publishRequest("3600", "", statusBody("busy", "")), code)
		q := off.phone("udp", tom)
		q.ua = ua
		q.subscribe(tom).doc()
	}
	p := optional.phone("udp", tom)
	p.creds = `DE\tom:` + passwords[`DE\tom`]
	p.subscribe(tom).doc()
	old := optional.phone("udp", tom)
	old.ua = "Aastra BluStar Client/3.0.0.0"
	old.publish("", statusBody("busy", ""))
}

// Who may publish for whom (BSP-2.4-7, BSP-2.11-1): oneself, and an AMCC for
// its users; the AMCC's account is good for nothing else.
func TestWhoPublishes_BSP_2_4_7(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	p := s.phone("udp", tom)
	p.creds = `DE\tom:` + passwords[`DE\tom`]
	p.publish("", statusBody("busy", ""))
	m := p.publishRequest("3600", "", statusBody("busy", "")).set("To", "<"+bill+">")
	p.do(m, 403)
	m = p.publishRequest("3600", "", statusBody("busy", "")).set("From", "<"+bill+">;tag=x").set("To", "<"+bill+">")
	p.do(m, 403)
	require.Equal(t, "signed out", s.status(bill))
	// By any address of one's own entry.
	p.publish("", statusBody("busy", ""))
	p.aor = "sip:tom.hanks@astra.com"
	p.publish("", statusBody("busy", ""))

	amcc := s.phone("udp", tom)
	amcc.contact = strings.Replace(amcc.contact, "<sip:tom@", "<sip:fmc@", 1)
	amcc.creds = "amcc:" + passwords["amcc"]
	for _, aor := range []string{joe, bill} {
		amcc.aor = aor
		d := amcc.subscribe(aor)
		d.doc()
		amcc.publish("", statusBody("available", ""))
		require.Equal(t, "available", s.status(aor))
	}
	// A client that is no AMCC does not get in with that account, nor does an
	// AMCC with a user's.
	q := s.phone("udp", joe)
	r := q.do(q.publishRequest("3600", "", statusBody("busy", "")), 401)
	m = q.publishRequest("3600", "", statusBody("busy", "")).add("X-BSS-rauth", tuzBase64(r.get("X-BSS-auth"), "amcc:"+passwords["amcc"]))
	require.Contains(t, []int{401, 403}, q.send(m).code())
	r = amcc.do(amcc.publishRequest("3600", "", statusBody("busy", "")).set("From", "<"+ted+">;tag=y").set("To", "<"+ted+">"), 401)
	m = amcc.publishRequest("3600", "", statusBody("busy", "")).set("From", "<"+ted+">;tag=z").set("To", "<"+ted+">").
		add("X-BSS-rauth", tuzBase64(r.get("X-BSS-auth"), `DE\tom:`+passwords[`DE\tom`]))
	require.Contains(t, []int{401, 403}, amcc.send(m).code())
}

// An account without a domain, and a user without an account (BSP-2.4-7).
func TestAccountWithoutDomain_BSP_2_4_7(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	p := s.phone("udp", "sip:zoe@example.com")
	p.creds = "zoe:" + passwords["zoe"]
	p.publish("", statusBody("busy", ""))
	require.Equal(t, "busy", s.status("sip:zoe@example.com"))
}

// Basic in its non-standard form: off by default, over TLS where allowed,
// anywhere where the host says so (BSP-4.3-7).
func TestBasic_BSP_4_3_7(t *testing.T) {
	t.Parallel()
	tls := `{"listen":["udp:127.0.0.1:0","tcp:127.0.0.1:0","tls:127.0.0.1:0"],"tls":{"cert":"server.pem","key":"server.key"}}`
	value := `Basic realm="",uri="sip: 10.103.228.151:5060",username="DE\tom:` + passwords[`DE\tom`] + `"`
	for _, c := range []struct {
		allow    string
		tcp, tls int
	}{{"false", 401, 401}, {"true", 401, 200}, {`"insecure"`, 200, 200}} {
		s := start(t, tls, `{"auth":{"mode":"required","allow_basic":`+c.allow+`}}`)
		for network, code := range map[string]int{"tcp": c.tcp, "tls": c.tls} {
			p := s.phone(network, tom)
			p.do(p.publishRequest("3600", "", statusBody("busy", "")).add("Authorization", value), code)
		}
		p := s.phone("tls", tom)
		p.do(p.publishRequest("3600", "", statusBody("busy", "")).add("Authorization",
			strings.Replace(value, passwords[`DE\tom`], "wrong", 1)), 401)
	}
}

// require_tls takes credentials over TLS alone; where it is off a warning that
// names TLS is logged once (BSP-2.10-11).
func TestRequireTLS_BSP_2_10_11(t *testing.T) {
	t.Parallel()
	tls := `{"listen":["udp:127.0.0.1:0","tls:127.0.0.1:0"],"tls":{"cert":"server.pem","key":"server.key"}}`
	s := start(t, tls, `{"auth":{"mode":"required","require_tls":true}}`)
	p := s.phone("tls", tom)
	p.creds = `DE\tom:` + passwords[`DE\tom`]
	p.subscribe(tom).doc()
	q := s.phone("udp", tom)
	r := q.send(q.subscribeRequest(tom, "300"))
	require.Contains(t, []int{401, 403}, r.code())
	if key := r.get("X-BSS-auth"); key != "" {
		r = q.send(q.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(key, p.creds)))
		require.Contains(t, []int{401, 403}, r.code())
	}
	require.NotContains(t, s.log(), "without TLS")

	open := start(t, tls, required)
	for range 2 {
		q = open.phone("udp", tom)
		q.creds = p.creds
		q.subscribe(tom).doc()
	}
	warnings := 0
	for line := range strings.SplitSeq(open.log(), "\n") {
		if strings.Contains(line, "WARN") && strings.Contains(line, "TLS") {
			warnings++
		}
	}
	require.Equal(t, 1, warnings, open.log())
}

// The standard dialect authenticates by Digest, for accounts that have a
// digest_ha1; others get what a wrong password gets (dialects, BSX-10).
func TestDigest(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	pidf := `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:joe@example.org"><tuple id="a"><status><basic>open</basic></status></tuple></presence>`
	for i, c := range []struct{ aor, account string }{{"sip:zoe@example.com", "zoe"}, {tom, `DE\tom`}} {
		p := s.softphone([]string{"udp", "tcp"}[i], c.aor)
		r := p.do(p.subscribeRequest(p.aor, "300"), 401)
		require.NotEmpty(t, r.all("WWW-Authenticate"))
		for n := range r.all("WWW-Authenticate") {
			challenge := func() string { // each with a nonce of its own
				return p.do(p.subscribeRequest(p.aor, "300"), 401).all("WWW-Authenticate")[n]
			}
			require.Contains(t, challenge(), `realm="example.com"`)
			m := p.subscribeRequest(p.aor, "300")
			m.set("Authorization", digestAnswer(t, challenge(), m, c.account+":"+passwords[c.account]))
			p.do(m, 200)
			bad := p.subscribeRequest(p.aor, "300")
			bad.set("Authorization", digestAnswer(t, challenge(), bad, c.account+":wrong"))
			p.do(bad, 401)
		}
		p.creds = c.account + ":" + passwords[c.account]
		p.publish("", pidf)
		require.Equal(t, "available", s.status(c.aor))
		require.Equal(t, 403, func() int {
			m := p.publishRequest("3600", "", pidf).set("To", "<"+ted+">")
			r := p.send(m)
			if r.code() == 401 {
				m = again(m)
				m.set("Authorization", digestAnswer(t, r.get("WWW-Authenticate"), m, p.creds))
				r = p.send(m)
			}
			return r.code()
		}(), "not for another (BSP-2.4-7)")
	}
	p := s.softphone("udp", joe)
	p.creds = `DE\joe:` + passwords[`DE\joe`]
	m := p.subscribeRequest(joe, "300")
	m.set("Authorization", digestAnswer(t, p.do(p.subscribeRequest(joe, "300"), 401).get("WWW-Authenticate"), m, p.creds))
	p.do(m, 401)
}

// The cipher that hosts may use for their own clients (server.md).
func TestAESGCM(t *testing.T) {
	t.Parallel()
	s := start(t, `{"auth":{"mode":"required","cipher":"aes-gcm","max_failures":2}}`)
	p := s.phone("udp", tom)
	good := `DE\tom:` + passwords[`DE\tom`]
	for range 4 {
		key := p.do(p.subscribeRequest(tom, "300"), 401).get("X-BSS-auth")
		p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", aesBase64(strings.Repeat("k", 56), good)), 401)
		p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", tuzBase64(key, good)), 401)
	}
	key := p.do(p.subscribeRequest(tom, "300"), 401).get("X-BSS-auth")
	p.do(p.subscribeRequest(tom, "300").add("X-BSS-rauth", aesBase64(key, good)), 200)
}

// Challenges are bounded: a storm of clients that never answer neither crashes
// nor locks out the ones that do (BSP-2.10-3, BSX-4).
func TestChallengeStorm_BSX_4(t *testing.T) {
	t.Parallel()
	s := start(t, required)
	storm := s.phone("tcp", tom)
	var last *message
	var all strings.Builder
	for i := range 2000 {
		last = storm.subscribeRequest(tom, "300").set("Contact", fmt.Sprintf("<sip:tom@192.0.2.1:%d>", 1024+i))
		all.WriteString(last.String())
	}
	storm.write(all.String())
	storm.response(last, 0, patience)
	p := s.phone("udp", tom)
	p.creds = `DE\tom:` + passwords[`DE\tom`]
	p.subscribe(tom).doc()
}
