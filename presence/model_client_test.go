package presence_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// weather is what the network does to packets. A packet's fate follows from the
// seed and the packet alone, so that it does not depend on the order in which
// goroutines run.
type weather struct {
	seed uint64

	mu     sync.Mutex
	loss   int                  // of 100 datagrams
	copies map[string]int       // of each packet that were seen
	due    map[string]time.Time // requests that arrive together

	forgotten map[string]bool // dialogs, by Call-ID, whose NOTIFYs nobody answers
}

func (n *weather) fate(p sipxtest.Packet) sipxtest.Fate {
	key := packetKey(p)
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.due[key]; ok && strings.HasPrefix(key, "192.0.2.1:5060 ") {
		return sipxtest.Fate{Delay: max(0, time.Until(at))}
	}
	if method, rest, _ := strings.Cut(string(p.Data), " "); method == "NOTIFY" && n.forgotten[callIDIn(rest)] {
		return sipxtest.Fate{Drop: true}
	}
	n.copies[key]++
	h := fnv.New64a()
	fmt.Fprint(h, n.seed, key, n.copies[key])
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	f := sipxtest.Fate{Delay: time.Microsecond + rand2(r, 20*time.Millisecond)}
	if p.Transport == "udp" {
		if r.IntN(10) == 0 {
			f.Delay += rand2(r, 800*time.Millisecond)
		}
		f.Drop = r.IntN(100) < n.loss
		if r.IntN(10) == 0 {
			f.Copies = 1
		}
	}
	return f
}

func callIDIn(message string) string {
	_, rest, _ := strings.Cut(message, "\r\nCall-ID: ")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id
}

func rand2(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most)))
}

func packetKey(p sipxtest.Packet) string {
	key := p.To.String() + " "
	for i, line := range strings.Split(string(p.Data), "\r\n") {
		switch {
		case line == "":
			return key
		case i == 0, strings.HasPrefix(line, "Call-ID:"), strings.HasPrefix(line, "CSeq:"):
			key += line + " "
		}
	}
	return key
}

// peer is a simulated client. Its fields are guarded by model.mu.
type peer struct {
	m        *model
	name     string // of its user
	contact  string
	stack    *sipxtest.Stack
	host     string
	standard bool
	tcp      bool
	answer   peerAnswer
	dialogs  []*peerDialog
	etag     string
	callID   string // of its PUBLISHes
	seq      uint32
}

// peerAnswer is how a client answers NOTIFYs.
type peerAnswer struct {
	status int
	after  time.Duration
	retry  string // Retry-After
}

type peerDialog struct {
	peer  *peer
	id    string // Call-ID
	uri   string
	list  bool
	toTag string
	seq   uint32
	dead  bool
	held  map[heldKey]heldDoc
}

// heldKey is the server's tag and an entity: a SUBSCRIBE that comes again to a server
// that was restarted since opens a second dialog, and both may live.
type heldKey struct{ tag, entity string }

type heldDoc struct {
	cseq uint32
	view string
}

// ServeSIP answers a NOTIFY.
func (m *model) ServeSIP(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	m.mu.Lock()
	d := m.dialogs[req.CallID]
	res, answer := sipx.NewResponse(481), peerAnswer{}
	if d != nil && !d.dead {
		answer = d.peer.answer
		if res = sipx.NewResponse(answer.status); answer.retry != "" {
			res.Header.Add("Retry-After", answer.retry)
		}
		if answer.status == 200 {
			d.take(req)
		}
	}
	m.mu.Unlock()
	time.Sleep(answer.after) // of the bubble: a slow watcher
	_ = w.Respond(res)
}

// take keeps what a NOTIFY shows, unless a newer one came before it.
func (d *peerDialog) take(req *sipx.Request) {
	docs, _ := documents(req)
	if strings.HasPrefix(req.Header.Get("Subscription-State"), "terminated") {
		d.dead = true
		return
	}
	for _, doc := range docs {
		if key := (heldKey{req.From.Tag(), doc.Entity}); d.held[key].cseq < req.CSeq {
			d.held[key] = heldDoc{req.CSeq, seen(doc)}
		}
	}
}

// send sends a request; done is called with the response, or nil for none, with
// model.mu held.
func (p *peer) send(method, to, callID string, cseq uint32, body string, fields []string, done func(*sipx.Response)) {
	agent, from := "Aastra BluStar Client/3.0.1.0", p.name
	if p.standard {
		agent = "Phone/1.0"
		if method == "SUBSCRIBE" {
			from = "phones" // of whom the directory knows nothing
		}
	}
	transport := ""
	if p.tcp {
		transport = ";transport=tcp"
	}
	lines := append([]string{
		method + " sip:192.0.2.1:5060" + transport + " SIP/2.0", "Via: SIP/2.0/UDP unused", "To: " + to, "Call-ID: " + callID,
		"From: <sip:" + from + "@example.com>;tag=f" + callID, fmt.Sprintf("CSeq: %d %s", cseq, method),
		"Contact: <" + p.contact + ">", "Event: presence", "User-Agent: " + agent,
	}, fields...)
	req := sipxtest.NewRequest(strings.Join(lines, "\n") + "\n\n" + body)
	req.Header = req.Header[1:]
	p.m.tracef("%s → %s %s %s %d %v %s", p.host, method, to, callID, cseq, fields, brief(body))
	p.stack.Send(req, sipx.ResponseHandlerFunc(func(_ *sipx.Request, res *sipx.Response, err error) {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		done(res)
	}))
}

// brief writes what matters of a body.
func brief(body string) string {
	if _, list, ok := strings.Cut(body, "<list>"); ok {
		return list
	}
	if _, person, ok := strings.Cut(body, "</tuple><dm:person"); ok {
		return person
	}
	return body
}

func (p *peer) subscribe(uris []string, list bool, expires int) *peerDialog {
	m := p.m
	m.serial++
	d := &peerDialog{peer: p, id: fmt.Sprintf("s%d", m.serial), uri: uris[0], list: list, seq: 1, held: map[heldKey]heldDoc{}}
	m.mu.Lock()
	m.dialogs[d.id] = d
	p.dialogs = append(p.dialogs, d)
	m.mu.Unlock()
	body := ""
	fields := []string{fmt.Sprintf("Expires: %d", expires)}
	if list {
		d.uri = "sip:rls@example.com"
		body = resourceLists(uris...)
		fields = append(fields, "Content-Type: application/resource-lists+xml", "Require: recipient-list-subscribe", "Supported: eventlist")
	}
	p.send("SUBSCRIBE", "<"+d.uri+">", d.id, d.seq, body, fields, func(res *sipx.Response) {
		if res == nil || res.Status != 200 {
			d.dead = true
			return
		}
		d.toTag = res.ToTag
	})
	return d
}

// again sends a SUBSCRIBE in the dialog, with a new list where uris are given.
func (d *peerDialog) again(expires int, uris ...string) {
	d.seq++
	m := d.peer.m
	m.mu.Lock()
	to := "<" + d.uri + ">;tag=" + d.toTag
	m.mu.Unlock()
	body, fields := "", []string{fmt.Sprintf("Expires: %d", expires)}
	if len(uris) > 0 {
		body = resourceLists(uris...)
		fields = append(fields, "Content-Type: application/resource-lists+xml")
	}
	d.peer.send("SUBSCRIBE", to, d.id, d.seq, body, fields, func(res *sipx.Response) {
		d.dead = d.dead || res == nil || res.Status == 481
	})
}

// publish sends a PUBLISH with this entity-tag.
func (p *peer) publish(etag, body string, expires int) (id string, cseq uint32) {
	p.seq++
	cseq = p.seq
	fields := []string{fmt.Sprintf("Expires: %d", expires)}
	if etag != "" {
		fields = append(fields, "SIP-If-Match: "+etag)
	}
	if body != "" {
		fields = append(fields, "Content-Type: application/pidf+xml")
	}
	p.send("PUBLISH", "<sip:"+p.name+"@example.com>", p.callID, cseq, body, fields, func(res *sipx.Response) {
		switch {
		case res != nil && res.Status == 200 && expires > 0:
			p.etag = res.Header.Get("SIP-ETag")
		case res != nil && (res.Status == 200 || res.Status == 412):
			p.etag = ""
		}
	})
	return p.callID, cseq
}

// live returns the dialogs that the client believes in.
func (p *peer) live() (list []*peerDialog) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	for _, d := range p.dialogs {
		if !d.dead && d.toTag != "" {
			list = append(list, d)
		}
	}
	return list
}

// current returns the entity-tag that the client knows.
func (p *peer) current() string {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.etag
}
