package gosipstack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/ghettovoice/gosip"
	"github.com/ghettovoice/gosip/log"
	"github.com/ghettovoice/gosip/sip"
	"github.com/ghettovoice/gosip/sip/parser"
	"github.com/ghettovoice/gosip/transaction"
	"github.com/ghettovoice/gosip/transport"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// queue is how many messages wait for a gosip.Server.
const queue = 1024

// NewServer makes a gosip.Server on the sockets of s, as its [stack.Tap]. It gets
// the requests that ours does not claim for the handler of s, and the responses to
// its own requests. Without ours, the handler gets SUBSCRIBE, PUBLISH and NOTIFY.
// Requests are checked before ours sees them; ours must not block.
//
// Its Listen fails: the stack listens. Shut it down before the stack. A nil logger
// logs nothing; beware that gosip logs whole messages at its debug level. A stack
// can have one such server; the latest one gets the messages.
func NewServer(s *stack.Stack, cfg gosip.ServerConfig, ours func(*sipx.Request) bool, logger log.Logger) gosip.Server {
	if logger == nil {
		logger = silence{}
	}
	if ours == nil {
		ours = func(r *sipx.Request) bool {
			return r.Method == "SUBSCRIBE" || r.Method == "PUBLISH" || r.Method == "NOTIFY"
		}
	}
	l := &layer{stack: s, ours: ours, parser: parser.NewPacketParser(silence{}), early: make(map[string][]sip.Message),
		messages: make(chan sip.Message, queue), done: make(chan struct{})}
	server := gosip.NewServer(cfg, func(_ net.IP, _ *net.Resolver, mapper sip.MessageMapper, _ log.Logger) transport.Layer {
		l.mapper = mapper
		return l
	}, func(tpl sip.Transport, logger log.Logger) transaction.Layer {
		return transactions{transaction.NewLayer(tpl, logger), l}
	}, logger)
	s.Tap(l.take)
	return server
}

// transactions is gosip's transaction layer, but for a weakness: gosip sends a
// request before it knows its transaction, and loses a response that comes
// between.
type transactions struct {
	transaction.Layer
	layer *layer
}

// Request implements transaction.Layer. Responses are held back until the
// transaction is known.
func (t transactions) Request(req sip.Request) (sip.ClientTransaction, error) {
	hop, ok := req.ViaHop()
	if !ok {
		hop = &sip.ViaHop{ProtocolName: "SIP", ProtocolVersion: "2.0"}
		req.PrependHeader(sip.ViaHeader{hop})
	}
	if hop.Params == nil {
		hop.Params = sip.NewParams()
	}
	if !hop.Params.Has("branch") {
		hop.Params.Add("branch", sip.String{Str: sip.GenerateBranch()})
	}
	branch := branchOf(req)
	t.layer.hold(branch)
	defer t.layer.release(branch)
	return t.Layer.Request(req)
}

func branchOf(msg sip.Message) string {
	if hop, ok := msg.ViaHop(); ok && hop.Params != nil {
		if branch, ok := hop.Params.Get("branch"); ok && branch != nil {
			return branch.String()
		}
	}
	return ""
}

// layer is the transport.Layer of a gosip.Server.
type layer struct {
	stack  *stack.Stack
	ours   func(*sipx.Request) bool
	mapper sip.MessageMapper

	mu       sync.Mutex // guards the parser too, which keeps state
	parser   *parser.PacketParser
	early    map[string][]sip.Message // responses held back, by branch
	closed   bool
	messages chan sip.Message
	done     chan struct{}
}

// take is the [stack.Tap].
func (l *layer) take(t stack.Tapped) bool {
	f, req := t.Flow, t.Request
	if req != nil && l.ours(req) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	msg, err := l.parse(t.Data)
	if err != nil {
		return false // gosip does not take it; the handler will refuse it
	}
	msg.SetTransport(strings.ToUpper(f.Transport))
	msg.SetSource(f.Remote.String())
	msg.SetDestination(f.Local.String())
	if hop, ok := msg.ViaHop(); ok && req != nil {
		// As RFC 3261 §18.2.1 and RFC 3581 §4 ask a server to.
		if hop.Params == nil {
			hop.Params = sip.NewParams()
		}
		if source := f.Remote.Addr().String(); source != hop.Host {
			hop.Params.Add("received", sip.String{Str: source})
		}
		if hop.Params.Has("rport") {
			hop.Params.Add("rport", sip.String{Str: strconv.Itoa(int(f.Remote.Port()))})
		}
	}
	if l.mapper != nil {
		msg = l.mapper(msg)
	}
	if held, ok := l.early[branchOf(msg)]; ok && req == nil {
		if len(held) < 10 {
			l.early[branchOf(msg)] = append(held, msg)
		}
		return true
	}
	l.pass(msg)
	return true
}

// pass hands a message to gosip.
func (l *layer) pass(msg sip.Message) {
	select {
	case l.messages <- msg:
	default: // over udp it comes again
	}
}

// hold begins to hold back the responses to a request.
func (l *layer) hold(branch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.early[branch] = nil
}

// release passes on the responses that were held back.
func (l *layer) release(branch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, msg := range l.early[branch] {
		l.pass(msg)
	}
	delete(l.early, branch)
}

// parse parses a message. A panic in the parser is an error.
func (l *layer) parse(data []byte) (msg sip.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("gosipstack: gosip's parser: %v", p)
		}
	}()
	return l.parser.ParseMessage(data)
}

// Send implements transport.Layer.
func (l *layer) Send(msg sip.Message) error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return sipx.ErrStackClosed
	}
	transport := strings.ToLower(msg.Transport())
	addr, err := net.ResolveTCPAddr("tcp", msg.Destination())
	if err != nil {
		return fmt.Errorf("gosipstack: %w", err)
	}
	to := netip.AddrPortFrom(addr.AddrPort().Addr().Unmap(), addr.AddrPort().Port())
	if req, ok := msg.(sip.Request); ok {
		l.sentBy(req, transport, to)
	}
	return l.stack.Write(sipx.Flow{Transport: transport, Remote: to}, []byte(msg.String()))
}

// sentBy fills the Via of a request in (RFC 3261 §18.1.1).
func (l *layer) sentBy(req sip.Request, transport string, to netip.AddrPort) {
	hop, ok := req.ViaHop()
	if !ok {
		return
	}
	contact, err := sipx.ParseAddress(l.stack.Contact(sipx.Flow{Transport: transport, Remote: to}))
	if err != nil {
		return
	}
	port := sip.Port(contact.URI.Port)
	hop = hop.Clone()
	hop.Transport, hop.Host, hop.Port = strings.ToUpper(transport), contact.URI.Host, &port
	req.SetViaHop(hop)
}

// Listen implements transport.Layer.
func (l *layer) Listen(string, string, ...transport.ListenOption) error {
	return errors.New("gosipstack: the stack listens, see stack.Config")
}

// Cancel implements transport.Layer.
func (l *layer) Cancel() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.done)
	}
}

// Done implements transport.Layer.
func (l *layer) Done() <-chan struct{} { return l.done }

// Messages implements transport.Layer.
func (l *layer) Messages() <-chan sip.Message { return l.messages }

// Errors implements transport.Layer: there are none that nobody else reports.
func (l *layer) Errors() <-chan error { return nil }

// IsReliable implements transport.Layer.
func (l *layer) IsReliable(network string) bool { return !strings.EqualFold(network, "udp") }

// IsStreamed implements transport.Layer.
func (l *layer) IsStreamed(network string) bool { return l.IsReliable(network) }

// String implements transport.Layer.
func (l *layer) String() string { return "gosipstack" }
