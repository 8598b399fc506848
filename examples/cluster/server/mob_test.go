//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// mob are clients of a cluster, with what they know. They share one socket, which is read
// in the order in which things were sent.
type mob struct {
	testing.TB
	conn    *net.UDPConn
	users   []*mobUser
	began   time.Time
	reading sync.WaitGroup
	notes   chan *sipx.Request // NOTIFYs, as they come; nil: nobody asks
	what    atomic.Value       // string: is being done to the cluster

	mu      sync.Mutex
	nodes   []string // that requests are sent to
	answers map[string]chan *sipx.Response
	dialogs map[string]*heard // by Call-ID
	seen    bool              // all have seen all: from then on nobody is without a status
}

// heard is what a dialog has told.
type heard struct {
	tag     string // the server's
	seen    map[uint32][32]byte
	last    uint32
	speaker netip.AddrPort
	of      *mobUser
	body    string
}

// mobUser is a client with a subscription to its own address, one to the next user, and a
// publication.
type mobUser struct {
	i          int
	own, watch *mobDialog
	etag       string
	seq        uint32
	note       string // as acknowledged
	random     *rand.Rand
}

type mobDialog struct {
	callID, tag string
	of          *mobUser
	seq         uint32
}

func newMob(t testing.TB, users int, nodes []*node, notes chan *sipx.Request) *mob {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	_ = conn.SetReadBuffer(4 << 20)
	m := &mob{TB: t, notes: notes, conn: conn, began: time.Now(), answers: make(map[string]chan *sipx.Response), dialogs: make(map[string]*heard)}
	for _, n := range nodes {
		m.nodes = append(m.nodes, n.address)
	}
	for i := range users {
		m.users = append(m.users, &mobUser{i: i, random: rand.New(rand.NewPCG(uint64(i), 7))})
	}
	for _, u := range m.users {
		u.own = &mobDialog{callID: fmt.Sprint("own", u.i), of: u}
		u.watch = &mobDialog{callID: fmt.Sprint("watch", u.i), of: m.users[(u.i+1)%users]}
		for _, d := range []*mobDialog{u.own, u.watch} {
			m.dialogs[d.callID] = &heard{seen: make(map[uint32][32]byte), of: d.of}
		}
	}
	m.reading.Go(m.read)
	t.Cleanup(func() { _ = conn.Close(); m.reading.Wait() })
	return m
}

func (m *mob) failf(format string, args ...any) {
	m.Errorf("while %s: "+format, append([]any{m.what.Load()}, args...)...)
}

func (m *mob) read() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := m.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		data := bytes.Clone(buf[:n])
		if bytes.HasPrefix(data, []byte("SIP/2.0")) {
			if res, err := sipx.ParseResponse(data); err == nil {
				m.mu.Lock()
				answer := m.answers[requestKey(res.Header.Get("Call-ID"), res.Header.Get("CSeq"))]
				m.mu.Unlock()
				select {
				case answer <- res: // of nil, never
				default:
				}
			}
			continue
		}
		req, err := sipx.ParseRequest(data)
		if err != nil {
			m.failf("%v", err)
			continue
		}
		m.notify(from, req)
		if m.notes != nil {
			m.notes <- req
		}
		_, _ = m.conn.WriteToUDPAddrPort(sipx.NewResponse(200).AppendTo(nil, req), from)
	}
}

func requestKey(callID, cseq string) string { return callID + " " + cseq }

// notify takes a NOTIFY, as it comes in.
func (m *mob) notify(from netip.AddrPort, req *sipx.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.dialogs[req.CallID]
	if d == nil || d.tag != "" && d.tag != req.From.Tag() {
		return // of a SUBSCRIBE whose answer was lost
	}
	state := req.Header.Get("Subscription-State")
	sum := sha256.Sum256(append([]byte(state[:6]), req.Body...))
	before, seen := d.seen[req.CSeq]
	switch {
	case seen && before != sum:
		m.failf("%s: CSeq %d is used twice", req.CallID, req.CSeq)
	case from != d.speaker && d.speaker.IsValid() && req.CSeq <= d.last:
		m.failf("%s: %v sends CSeq %d after %v has sent %d", req.CallID, from, req.CSeq, d.speaker, d.last)
	}
	if d.speaker = from; seen {
		return
	}
	d.seen[req.CSeq] = sum
	if strings.HasPrefix(state, "terminated") {
		m.failf("%s is told %q", req.CallID, state)
	}
	if len(req.Body) > 0 && m.seen && !bytes.Contains(req.Body, fmt.Appendf(nil, "of u%d<", d.of.i)) {
		m.failf("%s: u%d was signed out or has lost its status: %s", req.CallID, d.of.i, req.Body)
	}
	if req.CSeq > d.last && len(req.Body) > 0 {
		d.body = string(req.Body)
	}
	d.last = max(d.last, req.CSeq)
}

// attempt sends a request to a node, and waits 3.5 s for its answer; nil: there was none.
func (m *mob) attempt(node, method, callID string, seq uint32, head, body string) *sipx.Response {
	cseq := fmt.Sprintf("%d %s", seq, method)
	answer := make(chan *sipx.Response, 1)
	key := requestKey(callID, cseq)
	m.mu.Lock()
	m.answers[key] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.answers, key)
		m.mu.Unlock()
	}()
	text := fmt.Sprintf("%s sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%d.%s\r\nMax-Forwards: 70\r\nCall-ID: %s\r\nCSeq: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		method, node, m.conn.LocalAddr(), seq, callID, callID, cseq, strings.ReplaceAll(head, "\n", "\r\n"), len(body), body)
	to, err := netip.ParseAddrPort(node)
	require.NoError(m, err)
	for wait := 500 * time.Millisecond; wait <= 2*time.Second; wait *= 2 {
		_, _ = m.conn.WriteToUDPAddrPort([]byte(text), to)
		select {
		case res := <-answer:
			return res
		case <-time.After(wait):
		}
	}
	return nil
}

// do sends a request to one node after the other, until one answers it. It
// reports whether it was sent once alone.
func (m *mob) do(u *mobUser, method, callID string, seq *uint32, to, head, body string) (res *sipx.Response, once bool) {
	contact := strings.Replace(m.conn.LocalAddr().String(), "127", fmt.Sprintf("sip:u%d@127", u.i), 1)
	for began, tries := time.Now(), 0; ; tries++ {
		m.mu.Lock()
		node := m.nodes[u.random.IntN(len(m.nodes))]
		m.mu.Unlock()
		*seq++
		all := fmt.Sprintf("From: <sip:u%d@example.com>;tag=f%d\nTo: %s\nContact: <%s>\nEvent: presence\nUser-Agent: Aastra BluStar Client/3.0\n%s",
			u.i, u.i, to, contact, head)
		res = m.attempt(node, method, callID, *seq, all, body)
		switch {
		case res != nil && res.Status != 503 && res.Status != 408:
			return res, tries == 0
		case time.Since(began) > patience:
			m.failf("nobody answers a %s of u%d; at last %v", method, u.i, res)
			return nil, false
		case res != nil:
			time.Sleep(200 * time.Millisecond) // the Retry-After, shorter
		}
	}
}

func (m *mob) subscribe(u *mobUser, d *mobDialog) {
	to := fmt.Sprintf("<sip:u%d@example.com>", d.of.i)
	if d.tag != "" {
		to += ";tag=" + d.tag
	}
	res, _ := m.do(u, "SUBSCRIBE", d.callID, &d.seq, to, "Expires: 300\n", "")
	switch {
	case res == nil:
	case res.Status == 200 && d.tag == "":
		d.tag = res.ToTag
		m.mu.Lock()
		m.dialogs[d.callID].tag = d.tag
		m.mu.Unlock()
	case res.Status != 200:
		m.failf("a refresh of %s is answered %d %s", d.callID, res.Status, res.Reason)
	}
}

// publish publishes a note; without one, it refreshes.
func (m *mob) publish(u *mobUser, note string) {
	head, body := "Expires: 3600\n", ""
	if u.etag != "" {
		head += "SIP-If-Match: " + u.etag + "\n"
	}
	if note != "" {
		head += "Content-Type: application/pidf+xml\n"
		body = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
			` xmlns:aa="http://www.aastra.com/presence/blustar/2011" entity="sip:x@example.com">` +
			`<tuple id="audio"><status><basic>open</basic></status></tuple>` +
			`<dm:person id="p"><aa:presence><aa:blustar><aa:status>busy</aa:status><aa:note xml:lang="Eng">` + note +
			`</aa:note></aa:blustar></aa:presence></dm:person></presence>`
	}
	res, once := m.do(u, "PUBLISH", fmt.Sprint("p", u.i), &u.seq, fmt.Sprintf("<sip:u%d@example.com>", u.i), head, body)
	if res == nil {
		return
	}
	tag := res.Header.Get("SIP-ETag")
	switch {
	case res.Status != 200:
		m.failf("a PUBLISH of u%d is answered %d %s: what was acknowledged is lost", u.i, res.Status, res.Reason)
		return
	case once && u.etag != "" && tag != u.etag:
		m.failf("the entity-tag of u%d has changed", u.i)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.etag = tag; note != "" {
		u.note = note
	}
}

// wrong says who of the watchers does not see what was acknowledged.
func (m *mob) wrong() (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		for _, d := range []*mobDialog{u.own, u.watch} {
			if want := ">" + d.of.note + "<"; !strings.Contains(m.dialogs[d.callID].body, want) {
				list = append(list, fmt.Sprintf("%s of u%d does not see %q of u%d", d.callID, u.i, d.of.note, d.of.i))
			}
		}
	}
	return list
}

// settled waits until all see what was acknowledged last.
func (m *mob) settled() {
	m.Helper()
	deadline := time.Now().Add(patience)
	for len(m.wrong()) > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if list := m.wrong(); len(list) > 0 {
		m.failf("in the end %s", strings.Join(list, "; "))
	}
	m.mu.Lock()
	m.seen = true
	m.mu.Unlock()
}

// load has all users do something all the time, until the function that it returns is
// called, which waits until what they were told last is seen by all.
func (m *mob) load() (settle func()) {
	stop := make(chan struct{})
	var working sync.WaitGroup
	for _, u := range m.users {
		working.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				switch u.random.IntN(4) {
				case 0:
					m.subscribe(u, u.own)
				case 1:
					m.subscribe(u, u.watch)
				case 2:
					m.publish(u, fmt.Sprintf("note %d %d of u%d", u.seq, n, u.i))
				case 3:
					m.publish(u, "")
				}
				time.Sleep(time.Duration(u.random.IntN(40)) * time.Millisecond) // load is not a wait
			}
		})
	}
	return func() {
		m.Helper()
		close(stop)
		working.Wait()
		m.settled()
		for _, u := range m.users {
			m.publish(u, fmt.Sprintf("last %d of u%d", u.seq, u.i))
		}
		m.settled()
	}
}

// doing says what is done to the cluster.
func (m *mob) doing(what string) {
	m.what.Store(what)
	m.Logf("after %v %s", time.Since(m.began).Round(100*time.Millisecond), what)
}
