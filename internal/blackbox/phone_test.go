package blackbox_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const blustarUA = "Aastra BluStar Client/3.0.1.0"

// phone is a client: one socket, one Contact. It answers every NOTIFY with the
// code that answer gives, 200 at first; 0 is no answer.
type phone struct {
	t       *testing.T
	s       *server
	network string
	aor     string
	local   string // its own host:port
	contact string
	ua      string
	creds   string // "account:password" to answer a 401 with
	key     string // the X-BSS-auth last received
	conn    net.Conn
	packets *net.UDPConn

	mu       sync.Mutex
	changed  chan struct{}
	requests []*message // without retransmissions
	seen     map[string]int
	answers  []*message
	answer   func(*message) int
	slowness time.Duration // what the client takes for each NOTIFY
	closed   bool
	gone     bool // the server closed the connection
	writing  sync.Mutex
}

// phone makes a BluStar client of the user on "udp", "tcp" or "tls".
func (s *server) phone(network, aor string) *phone {
	s.t.Helper()
	p := &phone{t: s.t, s: s, network: network, aor: aor, ua: blustarUA,
		changed: make(chan struct{}), seen: map[string]int{}}
	if network == "udp" {
		var err error
		p.packets, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(s.t, err)
		_ = p.packets.SetReadBuffer(1 << 20)
		p.local = p.packets.LocalAddr().String()
		go p.receive(p.datagrams)
	} else {
		p.dial()
		p.local = p.conn.LocalAddr().String()
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(aor, "sip:"), "@")
	p.contact = "<sip:" + user + "@" + p.local + ";transport=" + network + ">"
	s.phones = append(s.phones, p)
	return p
}

// dial connects the phone, for the first time or again.
func (p *phone) dial() {
	p.t.Helper()
	p.writing.Lock()
	defer p.writing.Unlock()
	var err error
	if p.network == "tls" {
		p.conn, err = tls.Dial("tcp", p.s.tls, &tls.Config{InsecureSkipVerify: true})
	} else {
		p.conn, err = net.Dial("tcp", p.s.tcp)
	}
	require.NoError(p.t, err)
	in := bufio.NewReader(p.conn)
	go p.receive(func() (*message, func(string), error) {
		m, err := readMessage(in)
		return m, p.write, err
	})
}

// softphone is a client of the standard dialect.
func (s *server) softphone(network, aor string) *phone {
	p := s.phone(network, aor)
	p.ua = "softphone/1.0"
	return p
}

func (p *phone) datagrams() (*message, func(string), error) {
	buf := make([]byte, 65536)
	n, from, err := p.packets.ReadFromUDPAddrPort(buf)
	if err != nil {
		return nil, nil, err
	}
	m, err := readMessage(bufio.NewReader(bytes.NewReader(buf[:n])))
	if err != nil {
		p.t.Errorf("the server sent a broken datagram: %v\n%q", err, buf[:n])
		m = nil
	}
	return m, func(s string) { _, _ = p.packets.WriteToUDPAddrPort([]byte(s), from) }, nil
}

// receive sorts what arrives and answers requests, until the socket is closed.
func (p *phone) receive(next func() (*message, func(string), error)) {
	for {
		m, reply, err := next()
		if err != nil {
			p.mu.Lock()
			p.gone = true
			p.announce()
			p.mu.Unlock()
			return
		}
		if m == nil {
			continue
		}
		p.mu.Lock()
		if m.code() != 0 {
			p.answers = append(p.answers, m)
		} else {
			id := m.get("Call-ID") + m.tag("From") + m.get("CSeq")
			if p.seen[id]++; p.seen[id] == 1 {
				p.requests = append(p.requests, m)
			}
		}
		p.announce()
		answer, slowness := p.answer, p.slowness
		p.mu.Unlock()
		if m.code() != 0 {
			continue
		}
		time.Sleep(slowness) // it works on it, and reads nothing meanwhile
		code := 200
		if answer != nil {
			code = answer(m)
		}
		if code != 0 {
			reply(respond(m, code).String())
		}
	}
}

func (p *phone) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func respond(m *message, code int) *message {
	r := &message{start: fmt.Sprintf("SIP/2.0 %d Answer", code)}
	for _, via := range m.all("Via") {
		r.add("Via", via)
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		r.add(name, m.get(name))
	}
	return r
}

// answering sets what the phone answers to NOTIFYs from now on.
func (p *phone) answering(f func(*message) int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *phone) silent() {
	p.s.dirty = true
	p.answering(func(*message) int { return 0 })
}

func (p *phone) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	if p.packets != nil {
		_ = p.packets.Close()
	}
}

// write sends text as it is.
func (p *phone) write(text string) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.conn != nil {
		_, _ = p.conn.Write([]byte(text))
		return
	}
	to, err := net.ResolveUDPAddr("udp", p.s.udp)
	if err == nil {
		_, err = p.packets.WriteToUDP([]byte(text), to)
	}
	if err != nil {
		p.t.Errorf("sending: %v", err)
	}
}

// wait looks with found, under the lock, each time something has arrived.
func (p *phone) wait(d time.Duration, found func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		p.mu.Lock()
		ok, changed := found(), p.changed
		p.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// request makes a request outside of a dialog to the server itself.
func (p *phone) request(method, to string) *message {
	m := &message{start: method + " sip:" + p.server() + " SIP/2.0"}
	m.add("Via", "SIP/2.0/"+strings.ToUpper(p.network)+" "+p.local+";branch=z9hG4bK"+token()+";rport")
	m.add("Max-Forwards", "70")
	m.add("From", "<"+p.aor+">;tag="+token())
	m.add("To", "<"+to+">")
	m.add("Call-ID", token())
	m.add("CSeq", "1 "+method)
	m.add("Contact", p.contact)
	m.add("User-Agent", p.ua)
	return m
}

func (p *phone) server() string {
	switch p.network {
	case "tcp":
		return p.s.tcp
	case "tls":
		return p.s.tls
	}
	return p.s.udp
}

// send sends a request and gives its final response.
func (p *phone) send(m *message) *message {
	p.t.Helper()
	p.mu.Lock()
	begin := len(p.answers)
	p.mu.Unlock()
	p.write(m.String())
	return p.response(m, begin, patience)
}

func (p *phone) response(m *message, begin int, d time.Duration) *message {
	p.t.Helper()
	var r *message
	if !p.wait(d, func() bool {
		for _, a := range p.answers[begin:] {
			if a.code() >= 200 && a.get("Call-ID") == m.get("Call-ID") && a.get("CSeq") == m.get("CSeq") {
				r = a
				return true
			}
		}
		return false
	}) {
		p.t.Fatalf("no answer to\n%s", m)
	}
	return r
}

// do sends a request, answers a 401 where the phone has credentials, and
// wants the code.
func (p *phone) do(m *message, code int) *message {
	p.t.Helper()
	r := p.send(m)
	if r.code() == 401 && p.creds != "" && code != 401 {
		m = again(m)
		if key := r.get("X-BSS-auth"); r.get("WWW-Authenticate") == "" { // only a softphone gets both
			p.key = key
			m.set("X-BSS-rauth", tuzBase64(key, p.creds))
		} else {
			m.set("Authorization", digestAnswer(p.t, r.get("WWW-Authenticate"), m, p.creds))
		}
		r = p.send(m)
	}
	require.Equal(p.t, code, r.code(), "%s\n\n%s", m, r)
	return r
}

// again is the request as a client repeats it: next CSeq, new branch.
func again(m *message) *message {
	m = m.clone()
	number, method, _ := strings.Cut(m.get("CSeq"), " ")
	n, _ := strconv.Atoi(number)
	m.set("CSeq", strconv.Itoa(n+1)+" "+method)
	via, _, _ := strings.Cut(m.get("Via"), ";branch=")
	m.set("Via", via+";branch=z9hG4bK"+token()+";rport")
	return m
}

// dialog is one subscription of a phone.
type dialog struct {
	p       *phone
	last    *message // the last request within it
	to      string   // To with tag
	granted string
	read    int  // requests of the phone already looked at
	cseq    int  // of the last NOTIFY
	lossy   bool // its client loses datagrams: what is sent again comes after what was sent later
}

// subscribeRequest is a first SUBSCRIBE as §4.1 prints it.
func (p *phone) subscribeRequest(to string, expires string) *message {
	m := p.request("SUBSCRIBE", to).add("Event", "presence")
	if expires != "" {
		m.add("Expires", expires)
	}
	return m
}

// listRequest is a SUBSCRIBE with a list as §4.2 prints it.
func (p *phone) listRequest(uris ...string) *message {
	m := p.subscribeRequest("sip:rls@example.com", "300").add("Require", "recipient-list-subscribe").
		add("Content-Type", "application/resource-lists+xml").add("Content-Disposition", "recipient-list")
	m.body = listBody(uris...)
	return m
}

// subscribe subscribes to one address.
func (p *phone) subscribe(to string) *dialog {
	p.t.Helper()
	return p.open(p.subscribeRequest(to, "300"))
}

// subscribeList subscribes to several.
func (p *phone) subscribeList(uris ...string) *dialog {
	p.t.Helper()
	return p.open(p.listRequest(uris...))
}

// open sends a first SUBSCRIBE that must be accepted.
func (p *phone) open(m *message) *dialog {
	p.t.Helper()
	r := p.do(m, 200)
	require.NotEmpty(p.t, r.tag("To"), "To tag of\n%s", r)
	d := &dialog{p: p, last: m.clone(), to: r.get("To"), granted: r.get("Expires")}
	d.last.set("CSeq", r.get("CSeq"))
	return d
}

// refreshRequest is a SUBSCRIBE within the dialog.
func (d *dialog) refreshRequest(expires string) *message {
	m := again(d.last)
	m.set("To", d.to).set("Expires", expires)
	m.del("Content-Type").del("Content-Disposition").del("Require").del("X-BSS-rauth").del("Authorization")
	m.body = ""
	d.last = m.clone()
	return m
}

func (d *dialog) refresh(expires string) *message {
	d.p.t.Helper()
	r := d.p.do(d.refreshRequest(expires), 200)
	d.last.set("CSeq", r.get("CSeq")) // of the repetition, where it was asked for credentials
	return r
}

// poll is the next NOTIFY of the dialog, nil where none comes in time.
func (d *dialog) poll(wait time.Duration) *message {
	d.p.t.Helper()
	var n *message
	d.p.wait(wait, func() bool {
		for d.read < len(d.p.requests) {
			m := d.p.requests[d.read]
			d.read++
			if m.get("Call-ID") == d.last.get("Call-ID") && m.tag("To") == d.last.tag("From") {
				n = m
				return true
			}
		}
		return false
	})
	if n != nil {
		require.Equal(d.p.t, "NOTIFY", n.method(), n.String())
		number, _, _ := strings.Cut(n.get("CSeq"), " ")
		cseq, err := strconv.Atoi(number)
		require.NoError(d.p.t, err)
		if !d.lossy {
			require.Greater(d.p.t, cseq, d.cseq, "CSeq of NOTIFY must rise (BSX-3)")
		}
		d.cseq = cseq
		require.Equal(d.p.t, param(d.to, "tag"), n.tag("From"), "From tag of NOTIFY")
	}
	return n
}

// next is the next NOTIFY.
func (d *dialog) next() *message {
	d.p.t.Helper()
	n := d.poll(patience)
	if n == nil {
		d.p.t.Fatalf("no NOTIFY for %s", d.to)
	}
	return n
}

// doc is the document of the next NOTIFY.
func (d *dialog) doc() *document {
	d.p.t.Helper()
	n := d.next()
	require.Equal(d.p.t, "application/pidf+xml", n.get("Content-Type"), n.String())
	return parseDocument(d.p.t, n.body)
}

// until reads NOTIFYs until one has the document wanted.
func (d *dialog) until(what string, ok func(*document) bool) *document {
	d.p.t.Helper()
	deadline := time.Now().Add(patience)
	last := "none"
	for {
		n := d.poll(time.Until(deadline))
		if n == nil {
			d.p.t.Fatalf("no NOTIFY with %s; the last was\n%s", what, last)
		}
		last = n.String()
		if n.body == "" {
			continue
		}
		if doc := parseDocument(d.p.t, n.body); ok(doc) {
			return doc
		}
	}
}

// ended reads NOTIFYs until the final one, which must say why.
func (d *dialog) ended(reason string) {
	d.p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		n := d.poll(time.Until(deadline))
		if n == nil {
			d.p.t.Fatalf("no final NOTIFY for %s", d.to)
		}
		if state := n.get("Subscription-State"); strings.HasPrefix(state, "terminated") {
			require.Equal(d.p.t, "terminated;reason="+reason, strings.ReplaceAll(state, " ", ""))
			return
		}
	}
}

// gone wants the server to know the dialog no more.
func (d *dialog) gone() {
	d.p.t.Helper()
	d.p.do(d.refreshRequest("300"), 481)
}

// publishRequest is a PUBLISH as §4.3 prints it.
func (p *phone) publishRequest(expires, etag, body string) *message {
	m := p.request("PUBLISH", p.aor).add("Event", "presence")
	if expires != "" {
		m.add("Expires", expires)
	}
	if etag != "" {
		m.add("SIP-If-Match", etag)
	}
	if body != "" {
		m.add("Content-Type", "application/pidf+xml")
		m.body = body
	}
	return m
}

// publish publishes and gives the entity-tag.
func (p *phone) publish(etag, body string) string {
	p.t.Helper()
	r := p.do(p.publishRequest("3600", etag, body), 200)
	require.NotEmpty(p.t, r.get("SIP-ETag"))
	return r.get("SIP-ETag")
}
