package presence_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("PRESENCE_TEST_SERVE"); file != "" {
		serveStored(file, os.Getenv("PRESENCE_TEST_LISTEN"), os.Getenv("PRESENCE_TEST_ALWAYS") == "true")
		return
	}
	goleak.VerifyTestMain(m)
}

// world is a server with everything around it in memory: users tom, ann and bob
// with a line and a mailbox each, and a network that records NOTIFYs.
type world struct {
	*testing.T
	server *presence.Server
	net    *peers
	n      int
}

var users = []directory.Entry{
	{ID: "tom", Account: `DE\tom`, DisplayName: "Tom Hanks", SIP: []string{"tom@example.com", "67251@example.com"}, Tel: []string{"2719"}, Lines: []string{"2719"}, Mail: "Tom@example.com"},
	{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}, Tel: []string{"200"}, Lines: []string{"200", "201"}, Mail: "ann@example.com"},
	{ID: "bob", Account: `DE\bob`, SIP: []string{"bob@example.com"}},
}

func newWorld(t *testing.T, configure ...func(*presence.Config)) *world {
	dir, err := directory.NewMemory(users)
	require.NoError(t, err)
	w := &world{T: t, net: &peers{}}
	cfg := presence.Config{Sender: w.net, Directory: dir, Domains: []string{"example.com"}}
	for _, f := range configure {
		f(&cfg)
	}
	w.server, err = presence.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = w.server.Shutdown(ctx)
	})
	return w
}

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// send gives the server a request and returns its response.
func (w *world) send(req *sipx.Request) *sipx.Response {
	w.Helper()
	if !req.Flow.Remote.IsValid() {
		req.Flow = udp("192.0.2.7:5060")
	}
	rec := &sipxtest.Recorder{}
	w.server.ServeSIP(w.Context(), rec, req)
	require.Equal(w, 1, rec.Calls(), "each request is answered once")
	return rec.Response()
}

func udp(remote string) sipx.Flow {
	return sipx.Flow{Transport: "udp", Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort(remote)}
}

func tcp(conn uint64) sipx.Flow {
	f := udp("192.0.2.7:40000")
	f.Transport, f.Conn = "tcp", conn
	return f
}

// endpoint is a client as the server sees it.
type endpoint struct {
	w       *world
	from    string // URI
	contact string // URI
	agent   string // User-Agent
	flow    sipx.Flow
	header  []string // more fields for each request
}

// client is a BluStar client of a user at a host.
func (w *world) client(user, host string) *endpoint {
	return &endpoint{w: w, from: "sip:" + user + "@example.com", contact: "sip:" + user + "@" + host, agent: "Aastra BluStar Client/3.0.1.0"}
}

// standard is a client of the RFCs.
func (w *world) standard(user, host string) *endpoint {
	e := w.client(user, host)
	e.agent = "Phone/1.0"
	return e
}

// sub is a subscription as its watcher knows it.
type sub struct {
	e      *endpoint
	uri    string
	callID string
	toTag  string
	cseq   int
}

func (e *endpoint) request(method, uri, to, callID string, cseq int, body string, fields ...string) *sipx.Request {
	e.w.n++
	lines := []string{
		method + " " + uri + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%d", e.w.n),
		"Max-Forwards: 70",
		"From: <" + e.from + ">;tag=f" + callID,
		"To: " + to,
		"Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method),
		"User-Agent: " + e.agent,
	}
	if e.contact != "" {
		lines = append(lines, "Contact: <"+e.contact+">")
	}
	lines = append(append(lines, fields...), e.header...)
	req := sipxtest.NewRequest(strings.Join(lines, "\n") + "\n\n" + body)
	req.Flow = e.flow
	return req
}

// subscribe opens a subscription to uri; fields replace Expires: 300.
func (e *endpoint) subscribe(uri string, fields ...string) (*sub, *sipx.Response) {
	return e.open(uri, "", fields...)
}

// list opens a list subscription.
func (e *endpoint) list(uris ...string) (*sub, *sipx.Response) {
	return e.open("sip:rls@example.com", resourceLists(uris...),
		"Expires: 300", "Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml")
}

func resourceLists(uris ...string) string {
	var b strings.Builder
	b.WriteString(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>`)
	for _, uri := range uris {
		b.WriteString(`<entry uri="` + uri + `"/>`)
	}
	b.WriteString(`</list></resource-lists>`)
	return b.String()
}

func (e *endpoint) open(uri, body string, fields ...string) (*sub, *sipx.Response) {
	e.w.Helper()
	if len(fields) == 0 {
		fields = []string{"Expires: 300"}
	}
	e.w.n++
	s := &sub{e: e, uri: uri, callID: fmt.Sprintf("call%d", e.w.n), cseq: 1}
	res := e.w.send(e.request("SUBSCRIBE", "sip:192.0.2.1:5060", "<"+uri+">", s.callID, s.cseq, body, append(fields, "Event: presence")...))
	s.toTag = res.ToTag
	return s, res
}

// again sends a SUBSCRIBE in the dialog.
func (s *sub) again(body string, fields ...string) *sipx.Response {
	s.e.w.Helper()
	settle()
	s.cseq++
	return s.e.w.send(s.e.request("SUBSCRIBE", "sip:192.0.2.1:5060", "<"+s.uri+">;tag="+s.toTag, s.callID, s.cseq, body,
		append(fields, "Event: presence")...))
}

func (s *sub) refresh() *sipx.Response { s.e.w.Helper(); return s.again("", "Expires: 300") }
func (s *sub) end() *sipx.Response     { s.e.w.Helper(); return s.again("", "Expires: 0") }

// publish sends a PUBLISH with a body.
func (e *endpoint) publish(etag, body string, fields ...string) *sipx.Response {
	e.w.Helper()
	e.w.n++
	if etag != "" {
		fields = append(fields, "SIP-If-Match: "+etag)
	}
	if len(fields) == 0 || !strings.HasPrefix(fields[0], "Expires") {
		fields = append(fields, "Expires: 3600")
	}
	if body != "" {
		fields = append(fields, "Content-Type: application/pidf+xml")
	}
	return e.w.send(e.request("PUBLISH", "sip:192.0.2.1:5060", "<"+e.from+">", fmt.Sprintf("pub%d", e.w.n), e.w.n, body,
		append(fields, "Event: presence")...))
}

// status publishes a BluStar status.
func (e *endpoint) status(etag, status, note string) *sipx.Response {
	e.w.Helper()
	return e.publish(etag, bluStarBody(status, note))
}

func bluStarBody(status, note string) string {
	return `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
		` xmlns:aa="http://www.aastra.com/presence/blustar/2011" entity="sip:bill@example.com">` +
		`<tuple id="audio"><status><basic>open</basic></status></tuple><tuple id="video"><status><basic>closed</basic></status></tuple>` +
		`<tuple id="message"><status><basic>open</basic></status></tuple>` +
		`<dm:person id="p"><aa:presence><aa:blustar><aa:status>` + status + `</aa:status><aa:note xml:lang="Eng">` + note +
		`</aa:note></aa:blustar></aa:presence></dm:person></presence>`
}

// peers is a sipx.Sender that records what is sent and answers it.
type peers struct {
	mu     sync.Mutex
	sent   []*notify
	answer func(*sipx.Request) (*sipx.Response, error) // default: 200; nil, nil holds the answer back
}

// notify is a NOTIFY that was sent.
type notify struct {
	*sipx.Request
	done sipx.ResponseHandler
	at   time.Time
}

func (p *peers) Contact(f sipx.Flow) string { return "<sip:" + f.Local.String() + ">" }

func (p *peers) Send(req *sipx.Request, done sipx.ResponseHandler) {
	req = copyOf(req)
	p.mu.Lock()
	p.sent = append(p.sent, &notify{req, done, time.Now()})
	answer := p.answer
	p.mu.Unlock()
	res, err := sipx.NewResponse(200), error(nil)
	if answer != nil {
		res, err = answer(req)
	}
	if res != nil || err != nil {
		done.HandleResponse(req, res, err)
	}
}

// copyOf copies a request that is looked at after its outcome: the sender of the original
// may use that again.
func copyOf(req *sipx.Request) *sipx.Request {
	c := *req
	c.Header = slices.Clone(req.Header)
	c.Body = bytes.Clone(req.Body)
	return &c
}

func (p *peers) answering(f func(*sipx.Request) (*sipx.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// settle waits until the server has done all that it has to do at this moment. Ends
// of dialogs are carried out by goroutines of their own. It is for tests in a bubble,
// the clock of which begins in the year 2000; others see to it themselves.
func settle() {
	if time.Now().Year() < 2020 {
		synctest.Wait()
	}
}

// take returns the NOTIFYs since the last call.
func (p *peers) take() []*notify {
	settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := p.sent
	p.sent = nil
	return sent
}

// of picks those of a dialog.
func (s *sub) of(sent []*notify) []*notify {
	var list []*notify
	for _, n := range sent {
		if n.CallID == s.callID {
			list = append(list, n)
		}
	}
	return list
}

// one is the single NOTIFY of the dialog since the last take.
func (s *sub) one() *notify {
	s.e.w.Helper()
	list := s.of(s.e.w.net.take())
	require.Len(s.e.w, list, 1, "NOTIFYs in the dialog of %s", s.uri)
	return list[0]
}

func (n *notify) state() string { return n.Header.Get("Subscription-State") }

// shown is what a document tells.
type shown struct {
	entity, activity, note, blustar, services string
}

func (n *notify) doc(t require.TestingT) *pidf.Presence {
	doc, err := aa.Decode(n.Body)
	require.NoError(t, err, "%s", n.Body)
	require.Empty(t, doc.Warnings)
	return doc
}

func (n *notify) shown(t require.TestingT) shown { return shownOf(n.doc(t)) }

func shownOf(doc *pidf.Presence) shown {
	sh := shown{entity: doc.Entity}
	for _, tuple := range doc.Tuples {
		if tuple.Basic == pidf.Open {
			sh.services += tuple.ID[:1]
		}
	}
	if len(doc.Persons) == 0 {
		return sh
	}
	person := doc.Persons[0]
	for _, a := range person.Activities.Values {
		sh.activity += a.Name
		if a.Text != "" {
			sh.activity += ":" + a.Text
		}
	}
	for _, note := range person.Activities.Notes {
		sh.note += note.Text
	}
	sh.blustar = string(aa.PresenceOf(&person).BluStar.Status)
	return sh
}

func etag(res *sipx.Response) string { return res.Header.Get("SIP-ETag") }

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
