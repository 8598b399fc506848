package client_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

const (
	serverAddr = "192.0.2.1:5060"
	clientAddr = "192.0.2.7:5060"
	tom        = "sip:tom@example.com"
	ann        = "sip:ann@example.com"
)

// A server is a presence server that plays a script: by default it accepts
// everything and keeps no state but its dialogs.
type server struct {
	t       *testing.T
	network *sipxtest.Network
	stack   *sipxtest.Stack

	mu       sync.Mutex
	requests []*sipx.Request
	script   func(*sipx.Request) *sipx.Response // nil or a nil response: the default
	silent   bool                               // accepts SUBSCRIBEs without a NOTIFY
	dialogs  map[string]*dialog                 // by Call-ID
	answers  []int                              // to its NOTIFYs
	early    bool                               // NOTIFY goes before the 200
	playing  sync.Mutex                         // held while the script plays
}

type dialog struct {
	req *sipx.Request // the last SUBSCRIBE
	tag string
	seq uint32
}

func (s *server) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, req)
	script := s.script
	s.mu.Unlock()
	if script != nil {
		s.playing.Lock()
		res := script(req)
		s.playing.Unlock()
		if res != nil {
			_ = w.Respond(res)
			return
		}
	}
	if req.Method == "PUBLISH" {
		_ = w.Respond(sipx.NewResponse(200,
			sipx.Field{Name: "SIP-ETag", Value: "18762"},
			sipx.Field{Name: "Expires", Value: req.Header.Get("Expires")}))
		return
	}
	s.subscribe(w, req)
}

func (s *server) subscribe(w sipx.ResponseWriter, req *sipx.Request) {
	s.mu.Lock()
	d := s.dialogs[req.CallID]
	if d == nil {
		if req.To.Tag() != "" {
			s.mu.Unlock()
			_ = w.Respond(sipx.NewResponse(481))
			return
		}
		d = &dialog{tag: "s" + strconv.Itoa(len(s.requests))}
		s.dialogs[req.CallID] = d
	}
	fresh := d.req == nil
	d.req = req
	silent, early := s.silent, s.early
	s.mu.Unlock()

	asked, _ := sipx.Seconds(req.Header.Get("Expires"))
	res := sipx.NewResponse(200,
		sipx.Field{Name: "Expires", Value: strconv.Itoa(min(asked, 300))},
		sipx.Field{Name: "Contact", Value: "<sip:" + serverAddr + ">"})
	res.ToTag = d.tag
	if !early {
		_ = w.Respond(res)
	}
	switch {
	case asked == 0 && !silent:
		s.end(req.CallID, "timeout")
	case !silent && (fresh || req.Body != nil):
		for _, entity := range s.entities(req) {
			s.notify(req.CallID, "active;expires="+strconv.Itoa(min(asked, 300)), busy(entity, "In a call"))
		}
	}
	if early {
		synctest.Wait()
		_ = w.Respond(res)
	}
}

func (s *server) entities(req *sipx.Request) []string {
	if req.Body == nil {
		return []string{req.To.URI.String()}
	}
	lists, err := resourcelists.Decode(pidf.Decoder{}, req.Body)
	require.NoError(s.t, err)
	var uris []string
	for e := range lists.All() {
		uris = append(uris, e.URI)
	}
	return uris
}

// notify sends a NOTIFY in the dialog; the answer is noted.
func (s *server) notify(callID, state, body string) { s.notifyAs(callID, 0, state, body) }

// notifyAs sends it with a CSeq of its own, where that is not 0.
func (s *server) notifyAs(callID string, seq uint32, state, body string) {
	s.mu.Lock()
	d := s.dialogs[callID]
	d.seq++
	if seq == 0 {
		seq = d.seq
	}
	contact, err := sipx.ParseAddress(d.req.Header.Get("Contact"))
	req := &sipx.Request{
		Method: "NOTIFY", URI: contact.URI,
		From: d.req.To.WithTag(d.tag), To: d.req.From, CallID: callID, CSeq: seq,
		Flow: d.req.Flow,
		Header: sipx.Header{
			{Name: "Event", Value: "presence"},
			{Name: "Subscription-State", Value: state},
			{Name: "Contact", Value: "<sip:" + serverAddr + ";transport=udp>,<sip:" + serverAddr + ">"},
		},
	}
	if body != "" {
		req.Header.Add("Content-Type", "application/pidf+xml")
		req.Body = []byte(body)
	}
	s.mu.Unlock()
	require.NoError(s.t, err)
	s.stack.Send(req, sipx.ResponseHandlerFunc(func(_ *sipx.Request, res *sipx.Response, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			s.answers = append(s.answers, res.Status)
		}
	}))
}

// end ends a dialog as the server does.
func (s *server) end(callID, reason string) {
	s.notify(callID, "terminated;reason="+reason, "")
	s.mu.Lock()
	delete(s.dialogs, callID)
	s.mu.Unlock()
}

func (s *server) play(script func(*sipx.Request) *sipx.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// seen returns the requests of a method so far, "" for all, and forgets them all.
func (s *server) seen(method string) []*sipx.Request {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*sipx.Request
	for _, r := range s.requests {
		if method == "" || r.Method == method {
			list = append(list, r)
		}
	}
	s.requests = nil
	return list
}

// told returns the answers to NOTIFYs so far and forgets them.
func (s *server) told() []int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.answers
	s.answers = nil
	return list
}

// open returns the Call-IDs of the dialogs that are open, the own first.
func (s *server) open() (own, list string) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, d := range s.dialogs {
		if strings.Contains(d.req.To.String(), "tom") {
			own = id
		} else {
			list = id
		}
	}
	return own, list
}

// busy is a document as §4.4 prints it.
func busy(entity, note string) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="utf-8"?>
<presence entity="%[1]s" xmlns:aa="http://www.aastra.com/presence/blustar/2011" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"
 xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns="urn:ietf:params:xml:ns:pidf">
 <tuple id="global service"><status><basic>open</basic></status></tuple>
 <tuple id="video"><status><basic>closed</basic></status></tuple>
 <dm:device id="tel:2719"><aa:line><aa:DN>2719</aa:DN><aa:state>busy</aa:state><aa:forward type="immediate">6894</aa:forward></aa:line></dm:device>
 <dm:person id="%[1]s"><rpid:activities><rpid:note xml:lang="Eng">%[2]s</rpid:note><rpid:busy/></rpid:activities></dm:person>
</presence>`, entity, note)
}

// inbox collects notifications.
type inbox struct {
	mu   sync.Mutex
	list []client.Notification
}

func (b *inbox) put(n client.Notification) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, n)
}

// take returns what has come, and empties the inbox.
func (b *inbox) take() []client.Notification {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.list
	b.list = nil
	return list
}

// lines returns what has come as text.
func (b *inbox) lines() []string {
	var lines []string
	for _, n := range b.take() {
		lines = append(lines, n.Summary().String())
	}
	return lines
}

// config is that of a client in these tests.
func config(stack *sipxtest.Stack) client.Config {
	return client.Config{
		Sender:  stack,
		Server:  sipx.URI{Scheme: "sip", Host: "192.0.2.1", Port: 5060},
		Address: tom,
	}
}

// run runs f in a bubble with a server and a client, whose goroutines it checks
// afterwards: synctest fails where one is left.
func run(t *testing.T, change func(*client.Config), f func(t *testing.T, s *server, c *client.Client, in *inbox)) {
	synctest.Test(t, func(t *testing.T) {
		s, stack := start(t, sipxtest.Config{})
		in := new(inbox)
		cfg := config(stack)
		cfg.Notify = in.put
		if change != nil {
			change(&cfg)
		}
		c, err := client.New(cfg)
		require.NoError(t, err)
		go func() { _ = stack.Serve(t.Context(), c) }()
		defer shutdown(t, s, stack)
		defer c.Abandon()
		f(t, s, c, in)
	})
}

func start(t *testing.T, cfg sipxtest.Config) (*server, *sipxtest.Stack) {
	network := sipxtest.NewNetwork(cfg)
	s := &server{t: t, network: network, stack: network.NewStack(serverAddr), dialogs: make(map[string]*dialog)}
	go func() { _ = s.stack.Serve(t.Context(), s) }()
	return s, network.NewStack(clientAddr)
}

func shutdown(t *testing.T, s *server, stack *sipxtest.Stack) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, stack.Shutdown(ctx))
	require.NoError(t, s.stack.Shutdown(ctx))
}

func credentials(t *testing.T) auth.Credentials {
	c, err := auth.NewCredentials(`DE\tom`, []byte(`p:a\ss`))
	require.NoError(t, err)
	return c
}

// status answers everything of a method with a status and fields.
func status(method string, status int, fields ...sipx.Field) func(*sipx.Request) *sipx.Response {
	return func(req *sipx.Request) *sipx.Response {
		if req.Method != method {
			return nil
		}
		return sipx.NewResponse(status, fields...)
	}
}

func field(name, value string) sipx.Field { return sipx.Field{Name: name, Value: value} }

// away has the server reached by nobody for a while, and then until somebody has
// subscribed again.
func (s *server) away(d time.Duration) {
	s.network.Blackhole("192.0.2.1", true)
	time.Sleep(d)
	s.seen("")
	s.network.Blackhole("192.0.2.1", false)
	for range 600 {
		time.Sleep(time.Second)
		s.mu.Lock()
		back := len(s.dialogs) > 0
		s.mu.Unlock()
		if back {
			return
		}
	}
}
