package stacktest

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

func (s *suite) listening() {
	stack := s.stack()
	flows := stack.Listening()
	for _, transport := range s.all {
		at, err := netip.ParseAddrPort(s.addr(stack, transport))
		require.NoError(s, err)
		require.NotZero(s, at.Port(), "the real port is told")
	}
	for _, f := range flows {
		require.Zero(s, f.Conn)
	}
}

// request: a handler gets what was sent, checked and taken apart.
func (s *suite) request() {
	got := make(chan *sipx.Request, 1)
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		got <- r
		answer(200)(ctx, w, r)
	}))
	for _, transport := range s.all {
		p := s.dial(stack, transport)
		p.request(`PUBLISH sip:tom@example.com;x=1
f: "Tom \"T\" Hanks" <sip:tom@example.com:5060>;tag=%s
Record-Route: <sip:proxy.example.com;lr>
o: presence
X-Folded: one
  two
c: text/plain

some body`, transport)
		p.response()
		r := within(s, got, "a request")
		require.Equal(s, "PUBLISH", r.Method)
		require.Equal(s, "sip:tom@example.com;x=1", r.URI.String())
		require.Equal(s, `Tom "T" Hanks`, r.From.Display)
		require.Equal(s, transport, r.From.Tag())
		require.Equal(s, "sip:bob@example.com", r.To.URI.String())
		require.Equal(s, "call-1", r.CallID)
		require.EqualValues(s, 1, r.CSeq)
		require.Equal(s, "some body", string(r.Body))
		require.Equal(s, "presence", r.Header.Get("Event"))
		require.Equal(s, "text/plain", r.Header.Get("Content-Type"))
		require.Equal(s, "<sip:proxy.example.com;lr>", r.Header.Get("Record-Route"))
		require.Equal(s, "one two", strings.Join(strings.Fields(r.Header.Get("X-Folded")), " "))
		for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
			require.Zero(s, r.Header.Count(name), "%s has a field of its own", name)
		}
		require.Equal(s, 1, r.Header.Count("Via"))

		require.Equal(s, transport, r.Flow.Transport)
		require.Equal(s, p.LocalAddr().String(), r.Flow.Remote.String())
		require.Equal(s, transport != "udp", r.Flow.Conn != 0)
		require.True(s, r.Flow.Local.IsValid())
	}
}

// response: what a peer gets has all that RFC 3261 §8.2.6 asks for.
func (s *suite) response() {
	stack := s.serving(sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		res := sipx.NewResponse(202,
			sipx.Field{Name: "SIP-ETag", Value: "18762"},
			sipx.Field{Name: "Record-Route", Value: "<sip:a;lr>"},
			sipx.Field{Name: "Record-Route", Value: "<sip:b;lr>"})
		res.Reason, res.Body = "As You Like", []byte("the body")
		if r.CallID == "tagged" {
			res.ToTag = "chosen"
		}
		_ = w.Respond(res)
	}))
	for _, transport := range s.all {
		p := s.dial(stack, transport)
		message := p.message("SUBSCRIBE sip:bob@example.com")
		p.send(message)
		sent, err := sipx.ParseRequest([]byte(message))
		require.NoError(s, err)
		res := p.response()
		require.Equal(s, 202, res.Status)
		require.Equal(s, "As You Like", res.Reason)
		require.Equal(s, "the body", string(res.Body))
		require.Equal(s, "18762", res.Header.Get("SIP-ETag"))
		require.Equal(s, 2, res.Header.Count("Record-Route"))
		require.Equal(s, 1, res.Header.Count("Via"))
		require.Contains(s, res.Header.Get("Via"), "branch=z9hG4bKpeer")
		require.Regexp(s, `;rport=\d+`, res.Header.Get("Via"), "RFC 3581 §4")
		from, err := sipx.ParseAddress(res.Header.Get("From"))
		require.NoError(s, err)
		require.Equal(s, sent.From, from)
		require.Equal(s, "call-1", res.Header.Get("Call-ID"))
		require.Equal(s, "1 SUBSCRIBE", res.Header.Get("CSeq"))
		require.NotEmpty(s, res.ToTag, "the stack makes up a tag")

		p.request("SUBSCRIBE sip:bob@example.com\nCall-ID: tagged")
		require.Equal(s, "chosen", p.response().ToTag)
		p.request("SUBSCRIBE sip:bob@example.com\nTo: <sip:bob@example.com>;tag=theirs")
		require.Equal(s, "theirs", p.response().ToTag)
	}
}

// sentRequest: what is sent has all that RFC 3261 §8.1.1 asks for.
func (s *suite) sentRequest() {
	for _, transport := range s.all {
		stack := s.echo()
		p := s.dial(stack.Stack, transport)
		flow := stack.flowOf(p)

		req := options("sip:peer@example.com;ob", 314159)
		req.Flow = flow
		req.Route = []string{"<sip:one.example.com;lr>", "<sip:two.example.com;lr>"}
		req.Header.Add("Event", "presence")
		req.Header.Add("Content-Type", "text/plain")
		req.Body = []byte("hello")
		done := make(outcomes, 1)
		stack.Send(req, done)
		got := p.incoming()
		require.Equal(s, "sip:peer@example.com;ob", got.URI.String())
		via, err := got.Header.TopVia()
		require.NoError(s, err)
		require.Equal(s, transport, via.Transport)
		require.True(s, strings.HasPrefix(via.Branch(), "z9hG4bK"), "RFC 3261 §8.1.1.7")
		require.Equal(s, 1, got.Header.Count("Via"))
		require.Equal(s, "70", got.Header.Get("Max-Forwards"))
		var routes []string
		for v := range got.Header.Values("Route") {
			for r := range sipx.SplitList(v) {
				routes = append(routes, r)
			}
		}
		require.Equal(s, req.Route, routes)
		require.Equal(s, "presence", got.Header.Get("Event"))
		require.Equal(s, 1, got.Header.Count("Content-Length"))
		require.Equal(s, "hello", string(got.Body))
		require.Equal(s, req.From, got.From)
		require.Equal(s, req.To, got.To)
		require.Equal(s, "from-server", got.CallID)
		require.EqualValues(s, 314159, got.CSeq)

		p.answer(got, 481)
		o := s.wait(done, patience)
		require.NoError(s, o.err)
		require.Equal(s, 481, o.res.Status)
		require.Equal(s, "peer", o.res.ToTag)
		require.Len(s, req.Header, 2, "the request is not changed")
	}
}

// asPrinted: the odd Via of the interface description, §2.10 and §4.1, is
// answered where the request came from.
func (s *suite) asPrinted() {
	s.need("udp")
	stack := s.serving(answer(200))
	for _, via := range []string{
		"SIP/2.0/UDP 20.20.20.20;branch=z9hG4bK94ac96337c68e6b54;alias;rport=5060",
		"SIP/2.0/UDP 10.103.228.151;branch=z9hG4bKae8cac0a52b206371;alias",
		"SIP/2.0/UDP\n 10.103.228.151;branch=z9hG4bK4083594629d0e7128.3d8571b9502833944.c4e8d546ce288974b;alias",
	} {
		p := s.dial(stack, "udp")
		p.request("SUBSCRIBE sip:10.10.10.10:5060\nVia: %s\nX-BSS-rauth: VUJdf4D4XJgP/K8mntoWjQ\n 7nlme21234dc==", via)
		res := p.response()
		require.Equal(s, 200, res.Status)
		require.Contains(s, res.Header.Get("Via"), ";alias")
		require.Contains(s, res.Header.Get("Via"), ";received=", "RFC 3261 §18.2.1")
	}
}

// largeBodies: a BluStar NOTIFY is larger than what some stacks let out.
func (s *suite) largeBodies() {
	stack := s.serving(sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		res := sipx.NewResponse(200)
		res.Body = r.Body
		_ = w.Respond(res)
	}))
	client := s.stack()
	for _, transport := range s.open() {
		for _, size := range []int{0, 1, 1000, 1100, 1200, 1300, 1400, 1500, 4000, 20000, 50000} {
			req := options("sip:"+s.addr(stack, transport)+";transport="+transport, size)
			req.Body = []byte(strings.Repeat("0123456789", size/10+1)[:size])
			done := make(outcomes, 1)
			client.Send(req, done)
			o := s.wait(done, patience)
			require.NoError(s, o.err, "%d bytes over %s", size, transport)
			require.Equal(s, string(req.Body), string(o.res.Body))
			via, err := o.res.Header.TopVia()
			require.NoError(s, err)
			require.Equal(s, transport, via.Transport, "%d bytes", size)
		}
	}
}

// tooLarge: what does not fit a datagram is an error, and fits a connection.
func (s *suite) tooLarge() {
	server, client := s.serving(answer(200)), s.stack()
	for _, transport := range s.open() {
		want := map[string]error{"udp": sipx.ErrTooLarge}[transport]
		req := options("sip:"+s.addr(server, transport)+";transport="+transport, 1)
		req.Body = []byte(strings.Repeat("x", 70000))
		done := make(outcomes, 1)
		client.Send(req, done)
		require.ErrorIs(s, s.wait(done, patience).err, want, transport)
	}
}

// routeSet: a request goes to the first of its routes, and keeps its
// Request-URI (RFC 3261 §12.2.1.1).
func (s *suite) routeSet() {
	got := make(chan *sipx.Request, 1)
	proxy := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		got <- r
		answer(200)(ctx, w, r)
	}))
	client := s.stack()
	for _, transport := range s.open() {
		req := options("sip:67251@192.0.2.99:5060", 1)
		req.Route = []string{"<sip:" + s.addr(proxy, transport) + ";transport=" + transport + ";lr>", "<sip:192.0.2.98;lr>"}
		done := make(outcomes, 1)
		client.Send(req, done)
		require.NoError(s, s.wait(done, patience).err)
		r := within(s, got, "a request at the first route")
		require.Equal(s, "sip:67251@192.0.2.99:5060", r.URI.String())
		require.Equal(s, transport, r.Flow.Transport)
	}
}

// contact: whoever sends to the Contact of a flow, or of a transport, reaches
// the stack.
func (s *suite) contact() {
	stack := s.echo()
	client := s.stack()
	reach := func(f sipx.Flow) sipx.Flow {
		contact, err := sipx.ParseAddress(stack.Contact(f))
		require.NoError(s, err, "Contact returns a field value")
		done := make(outcomes, 1)
		client.Send(options(contact.URI.String(), 1), done)
		o := s.wait(done, patience)
		require.NoError(s, o.err, "%s", contact.URI)
		require.Equal(s, 200, o.res.Status)
		return within(s, stack.came, "a request")
	}
	for _, transport := range s.all {
		p := s.dial(stack.Stack, transport)
		flow := stack.flowOf(p)
		if slices.Contains(s.open(), transport) {
			require.Equal(s, transport, reach(flow).Transport)
			require.Equal(s, transport, reach(sipx.Flow{Transport: transport}).Transport)
		}
	}
	reach(sipx.Flow{})
}
