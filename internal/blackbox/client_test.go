package blackbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who plays in the tests of the printed client: each user's number, which its
// client has in From, and each user's own address.
const (
	hanksNumber  = "sip:67251@astra.com:5060"
	hanks        = "sip:tom.hanks@astra.com"
	seanNumber   = "sip:67252@astra.com:5060"
	sean         = "sip:sean.connery@astra.com"
	murrayNumber = "sip:67253@astra.com:5060"
	murray       = "sip:bill.murray@astra.com"
)

// mailUsers is a directory with the usual mail column: it knows nobody by the
// number that a client has in From (§4.1). It has as many colleagues as asked
// for besides.
func mailUsers(colleagues int) string {
	var b strings.Builder
	b.WriteString(`{"users":[
 {"id":"tom","account":"DE\\tom","display_name":"Tom Hanks","sip":["tom.hanks@astra.com"],"tel":["2719"],"lines":["2719"],"mail":"tom.hanks@astra.com"},
 {"id":"bill","account":"DE\\bill","display_name":"Bill Murray","sip":["bill.murray@astra.com"],"tel":["2721"],"lines":["2721"],"mail":"bill.murray@astra.com"},
 {"id":"joe","account":"DE\\joe","display_name":"Joe","sip":["joe@astra.com"],"mail":"joe@astra.com"},
 {"id":"sean","account":"DE\\sean","display_name":"Sean Connery","sip":["sean.connery@astra.com"],"tel":["2720"],"lines":["2720"],"mail":"sean.connery@astra.com"},
 {"id":"zoe","account":"zoe","display_name":"Zoë","sip":["zoe@example.com"],"mail":"zoe@example.com"}`)
	for i := range colleagues {
		fmt.Fprintf(&b, `,{"id":"c%d","account":"DE\\c%d","sip":["colleague%d@astra.com"],"mail":"colleague%d@astra.com"}`, i, i, i, i)
	}
	b.WriteString("]}")
	return b.String()
}

// startMail runs a server with such a directory.
func startMail(t *testing.T, changes ...string) *server {
	t.Helper()
	dir, file := configDir(t, config(t, changes...))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.json"), []byte(mailUsers(200)), 0o600))
	return launch(t, "-config", file)
}

// client is a BluStar client that does what the document prints and nothing
// else. Its SUBSCRIBEs are from its number (§4.1, §4.2), its PUBLISHes from its
// own address (§4.3), and its Contact is its number at its host. Several may
// share a phone: the AMCs of an AMCC do (§2.11).
type client struct {
	*phone
	number, address string
	own, list       *dialog
}

// client makes a client of the account, as §4.1 prints it.
func (s *server) client(network, number, address, account string) *client {
	s.t.Helper()
	c := &client{phone: s.phone(network, number), number: number, address: address}
	c.contact = "<sip:67251@" + c.local + ">"
	if network != "udp" {
		c.contact = "<sip:67251@" + c.local + ";transport=" + network + ">"
	}
	c.creds = account + ":" + passwords[account]
	return c
}

// printed makes a request with the header fields that §4.1 and §4.3 have.
func (c *client) printed(method, target, from, to, expires string) *message {
	m := &message{start: method + " " + target + " SIP/2.0"}
	m.add("Via", "SIP/2.0/"+strings.ToUpper(c.network)+" "+c.local+";branch=z9hG4bK"+token()+";alias")
	m.add("Route", "<sip:"+c.server()+";lr>").add("Max-Forwards", "70")
	m.add("From", "<"+from+">;tag="+token()).add("To", "<"+to+">")
	m.add("Call-ID", token()).add("CSeq", "11940 "+method)
	m.add("Contact", c.contact).add("Event", "presence")
	if expires != "" {
		m.add("Expires", expires)
	}
	return m.add("User-Agent", c.ua)
}

// ownRequest is the SUBSCRIBE of §4.1, for the own address.
func (c *client) ownRequest(expires string) *message {
	return c.printed("SUBSCRIBE", "sip:"+c.server(), c.number, c.address+":5060", expires)
}

// listRequest is the SUBSCRIBE of §4.2, whose first entry is the own address.
func (c *client) listRequest(favorites ...string) *message {
	m := c.printed("SUBSCRIBE", "sip:"+c.server(), c.number, "sip:rls@astra.com:5060", "7200")
	m.add("Require", "recipient-list-subscribe").
		add("Content-Type", "application/resource-lists+xml").add("Content-Disposition", "recipient-list")
	m.body = listBody(append([]string{c.address}, favorites...)...)
	return m
}

// publishRequest is the PUBLISH of §4.3.
func (c *client) publishRequest(expires, etag, body string) *message {
	user, _, _ := strings.Cut(c.address, "@")
	m := c.printed("PUBLISH", user+"@"+c.local, c.address+":5060", c.address+":5060", expires)
	m.add("Accept", "application/dialog-info+xml")
	if etag != "" {
		m.add("SIP-If-Match", etag)
	}
	if body != "" {
		m.add("Content-Type", "application/pidf+xml")
		m.body = body
	}
	return m
}

// exchange sends the requests at once, and then at once again those answered
// 401: with credentials under the key of their own answer, and new identifiers,
// as §2.10 prints it. It gives what was sent last, and its answers.
func (c *client) exchange(requests ...*message) (sent, answers []*message) {
	c.t.Helper()
	sent = append(sent, requests...)
	answers = c.together(sent...)
	var repeated []*message
	for i, r := range answers {
		if r.code() == 401 && c.creds != "" {
			sent[i] = c.authenticated(sent[i], r.get("X-BSS-auth"))
			repeated = append(repeated, sent[i])
		}
	}
	for _, r := range c.together(repeated...) {
		for i, m := range sent {
			if m.get("Call-ID") == r.get("Call-ID") {
				answers[i] = r
			}
		}
	}
	return sent, answers
}

// together sends requests at once and gives their final responses.
func (c *client) together(requests ...*message) []*message {
	c.t.Helper()
	c.mu.Lock()
	begin := len(c.answers)
	c.mu.Unlock()
	var all strings.Builder
	for _, m := range requests {
		if c.conn != nil {
			all.WriteString(m.String())
		} else {
			c.write(m.String())
		}
	}
	if c.conn != nil {
		c.write(all.String())
	}
	var answers []*message
	for _, m := range requests {
		answers = append(answers, c.response(m, begin, patience))
	}
	return answers
}

// authenticated is the request as §2.10 repeats it.
func (c *client) authenticated(m *message, key string) *message {
	c.t.Helper()
	require.Regexp(c.t, `^\d{56}$`, key, "X-BSS-auth as printed (BSP-2.10-3)")
	from, _, _ := strings.Cut(m.get("From"), ";tag=")
	m = again(m).set("From", from+";tag="+token()).set("Call-ID", token())
	return m.set("X-BSS-rauth", tuzBase64(key, c.creds))
}

// ask is an exchange of one, which must end with the code.
func (c *client) ask(m *message, code int) *message {
	c.t.Helper()
	sent, answers := c.exchange(m)
	require.Equal(c.t, code, answers[0].code(), "%s\n\n%s", sent[0], answers[0])
	return answers[0]
}

// open opens subscriptions at once.
func (c *client) open(requests ...*message) []*dialog {
	c.t.Helper()
	sent, answers := c.exchange(requests...)
	var dialogs []*dialog
	for i, r := range answers {
		require.Equal(c.t, 200, r.code(), "%s\n\n%s", sent[i], r)
		d := &dialog{p: c.phone, last: sent[i].clone().del("X-BSS-rauth"), to: r.get("To"), granted: r.get("Expires")}
		dialogs = append(dialogs, d)
	}
	return dialogs
}

// signIn subscribes to the own address and to the list at once (§2.1).
func (c *client) signIn(favorites ...string) {
	c.t.Helper()
	dialogs := c.open(c.ownRequest("300"), c.listRequest(favorites...))
	c.own, c.list = dialogs[0], dialogs[1]
}

// publish publishes a status with a note and gives the entity-tag.
func (c *client) publish(etag, status, note string) string {
	c.t.Helper()
	etag = c.ask(c.publishRequest("3600", etag, statusBody(status, note)), 200).get("SIP-ETag")
	require.NotEmpty(c.t, etag)
	return etag
}

// ignored publishes what must be ignored, and gives the answer, and the document
// by which the client is told what is shown instead (BSP-2.4-3).
func (c *client) ignored(m *message) (*message, *document) {
	c.t.Helper()
	c.mu.Lock()
	begin := len(c.requests)
	c.mu.Unlock()
	r := c.ask(m, 200)
	var body string
	require.True(c.t, c.wait(patience, func() bool {
		for _, n := range c.requests[begin:] {
			if uri(n.get("From")) == c.address {
				body = n.body
				return true
			}
		}
		return false
	}), "it is told what is shown")
	return r, parseDocument(c.t, body)
}

// unpublish is the end of a client by PUBLISH (§4.3).
func (c *client) unpublish(etag string) {
	c.t.Helper()
	r := c.ask(c.publishRequest("0", etag, ""), 200)
	require.Equal(c.t, "0", r.get("Expires"))
}

// told reads NOTIFYs until every address had one, and gives their documents.
func (d *dialog) told(addresses ...string) map[string]*document {
	d.p.t.Helper()
	docs := map[string]*document{}
	missing := map[string]bool{}
	for _, a := range addresses {
		missing[a] = true
	}
	deadline := time.Now().Add(patience)
	for len(missing) > 0 {
		n := d.poll(time.Until(deadline))
		if n == nil {
			d.p.t.Fatalf("no NOTIFY for %d of %d addresses: %v", len(missing), len(addresses), missing)
		}
		doc := parseDocument(d.p.t, n.body)
		docs[doc.Entity] = doc
		delete(missing, doc.Entity)
	}
	return docs
}

// stage is everybody who watches a user, by name.
type stage struct {
	s        *server
	entity   string
	line     string // of the user
	watchers map[string]*dialog
	marks    int
}

// watched lets printed clients and one of the standard dialect watch a user,
// over UDP and TCP.
func (s *server) watched(entity, line string) *stage {
	s.t.Helper()
	g := &stage{s: s, line: line, entity: entity, watchers: map[string]*dialog{}}
	for _, network := range []string{"udp", "tcp"} {
		c := s.client(network, "sip:67254@astra.com:5060", "sip:joe@astra.com", `DE\joe`)
		c.signIn("sip:nobody@astra.com", entity)
		g.watchers["list over "+network] = c.list
	}
	soft := s.softphone("tcp", "sip:zoe@example.com")
	soft.creds = "zoe:" + passwords["zoe"]
	g.watchers["softphone"] = soft.subscribe(entity)
	return g
}

// with adds the dialogs of a client to those who watch.
func (g *stage) with(name string, c *client) {
	g.watchers["own of "+name], g.watchers["list of "+name] = c.own, c.list
}

// without takes them off.
func (g *stage) without(name string) {
	delete(g.watchers, "own of "+name)
	delete(g.watchers, "list of "+name)
}

// see wants every watcher to have seen these states, "status/note", since it
// was asked last, and nothing else. A forward of the user's line marks the end
// of what there is to see.
func (g *stage) see(want ...string) {
	g.s.t.Helper()
	g.marks++
	mark := strconv.Itoa(70000 + g.marks)
	g.s.put("/v1/lines/"+g.line, `{"state":"idle","forward":"`+mark+`"}`)
	for name, w := range g.watchers {
		var seen []string
		w.until(fmt.Sprintf("the mark of step %d at %s; seen: %q", g.marks, name, seen), func(d *document) bool {
			if d.Entity != g.entity {
				return false
			}
			if state := d.status() + "/" + d.note(); len(seen) == 0 || seen[len(seen)-1] != state {
				seen = append(seen, state)
			}
			return d.forward(g.line) == mark
		})
		require.Equal(g.s.t, want, seen, "step %d: what is seen by the %s", g.marks, name)
	}
}

// come waits until every watcher has seen the state, for what happens by itself.
func (g *stage) come(state string) {
	g.s.t.Helper()
	for name, w := range g.watchers {
		w.until(state+" at the "+name, func(d *document) bool {
			return d.Entity == g.entity && d.status()+"/"+d.note() == state
		})
	}
	g.see(state)
}

// The states of a user as watchers see them.
const (
	signedOut = "signed out/Signed out"
	isUnknown = "unknown/"
)

// restart ends the server with the signal and starts it again where it was.
// The phones keep their sockets, and what they believe.
func (s *server) restart(sig syscall.Signal) *server {
	s.t.Helper()
	if sig == syscall.SIGKILL {
		s.kill()
	} else {
		s.terminate(sig)
	}
	file := s.cmd.Args[2]
	data, err := os.ReadFile(file)
	require.NoError(s.t, err)
	var c map[string]any
	require.NoError(s.t, json.Unmarshal(data, &c))
	c["listen"], c["http"] = []string{"udp:" + s.udp, "tcp:" + s.tcp}, map[string]string{"listen": s.http}
	writeJSON(s.t, file, c)
	fresh := launch(s.t, "-config", file)
	fresh.phones, s.phones = s.phones, nil
	for _, p := range fresh.phones {
		p.s = fresh
		if p.conn != nil {
			p.dial()
		}
	}
	return fresh
}

// amc makes one of the AMCs of an AMCC.
func (amcc *phone) amc(number, address string) *client {
	amcc.contact = "<sip:fmc@" + amcc.local + ">"
	amcc.creds = "amcc:" + passwords["amcc"]
	return &client{phone: amcc, number: number, address: address}
}

// replaceRequest is a refresh with another list (§4.2).
func (c *client) replaceRequest(favorites ...string) *message {
	m := c.list.refreshRequest("7200").set("Content-Type", "application/resource-lists+xml").
		set("Content-Disposition", "recipient-list").set("Require", "recipient-list-subscribe")
	m.body = listBody(append([]string{c.address}, favorites...)...)
	return m
}

// ends reads NOTIFYs until the final one, which says why, and has a document
// (BSP-2.2-2).
func (d *dialog) ends(reason string) *document {
	d.p.t.Helper()
	d.ended(reason)
	d.p.mu.Lock()
	last := d.p.requests[d.read-1]
	d.p.mu.Unlock()
	return parseDocument(d.p.t, last.body)
}

// leaves is the end of a client that left by itself: it is not called back.
func (d *dialog) leaves() {
	d.p.t.Helper()
	d.ends("timeout")
}

// colleagues are the addresses of those.
func colleagues(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("sip:colleague%d@astra.com", i))
	}
	return list
}
