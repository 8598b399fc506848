package sipx

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
)

// Flow is the way to a peer: a connection, or a pair of datagram addresses
// (RFC 5626 §3.2). Flows are comparable with ==.
type Flow struct {
	Transport     string         // "udp", "tcp", "tls", "ws" or "wss"
	Local, Remote netip.AddrPort // Local is the address that the peer used, as far as the stack knows it
	Conn          uint64         // tells connections of one stack apart, never reused; 0 for datagrams
}

// Secure reports whether the flow is encrypted.
func (f Flow) Secure() bool { return f.Transport == "tls" || f.Transport == "wss" }

// Reliable reports whether the flow is a connection.
func (f Flow) Reliable() bool { return f.Transport != "udp" && f.Transport != "" }

// Source stands for the peer where shares and rates are counted: its address, and
// of an IPv6 address the first 64 bits, because a host has all the rest.
func (f Flow) Source() netip.Addr { return SourceOf(f.Remote.Addr()) }

// SourceOf is the [Flow.Source] of an address.
func SourceOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // fails for no IPv6 address
	return p.Addr()
}

// String writes the transport and the peer's address, or the local one where there
// is no peer, as of what [Stack] Listening returns: "udp:127.0.0.1:5060".
func (f Flow) String() string {
	addr := f.Remote
	if !addr.IsValid() {
		addr = f.Local
	}
	s := f.Transport + ":" + addr.String()
	if f.Conn != 0 {
		s += "#" + strconv.FormatUint(f.Conn, 10)
	}
	return s
}

// Handler answers requests.
type Handler interface {
	// ServeSIP answers req through w, once, before or after it returns. A
	// stack calls it from many goroutines, but for requests that came over one
	// flow from one From address, and so for those of one dialog, one call
	// after another in the order of their arrival. It absorbs retransmissions,
	// never calls it for INVITE, which it answers 405 itself, nor for ACK and
	// CANCEL, answers 500 where it panics, and bounds how many calls run at once.
	// ServeSIP may block: that holds up its own lane only.
	// ctx has the values of the context of Serve, and ends when the stack is shut
	// down.
	ServeSIP(ctx context.Context, w ResponseWriter, req *Request)
}

// HandlerFunc makes a function a [Handler].
type HandlerFunc func(ctx context.Context, w ResponseWriter, req *Request)

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(ctx context.Context, w ResponseWriter, req *Request) { f(ctx, w, req) }

// FlowObserver is an optional ability of a [Handler]: to be told that a
// connection is gone. Stacks look for it when they start to serve.
type FlowObserver interface {
	// FlowClosed is called once for each connection over which a request came,
	// after the last ServeSIP of that connection was called, whichever side
	// closed it. It must not block: it may run where the network is read.
	FlowClosed(f Flow)
}

// ResponseWriter answers one request.
type ResponseWriter interface {
	// Respond sends the final response. When it returns, the response has been
	// handed to the network, or to the queue of its connection: a request sent
	// to the same peer after that does not overtake it. The second call for a
	// request is an error and sends nothing.
	Respond(res *Response) error
}

// Sender sends requests.
type Sender interface {
	// Send sends req and has its outcome reported to done, exactly once, from
	// any goroutine, possibly before Send returns: with the final response, or
	// with an error (no answer in time is [ErrTimeout]). It does not block on the
	// network: what cannot be sent at once waits in a bounded queue of its
	// destination and fails with [ErrQueueFull] beyond. Requests for one flow,
	// and for one datagram destination, leave in the order of the calls. The
	// sender adds Via, Max-Forwards and Content-Length; it never changes req, and does
	// not read it once the outcome was reported: whose it is may use it again.
	// A request that was sent cannot be taken back; [Do] waits no longer than
	// its context allows.
	Send(req *Request, done ResponseHandler)

	// Contact returns the value of a Contact field, "<sip:192.0.2.1:5060>": the
	// URI at which a peer reaches this stack over f, with the advertised address
	// where there is one, and without a user part. Before the first message to a
	// peer f has a transport alone; the zero Flow leaves that to the stack as
	// well.
	Contact(f Flow) string
}

// ResponseHandler takes the outcome of a request.
type ResponseHandler interface {
	// HandleResponse is given the outcome: either res or err is nil. It must not
	// change res, which may be shared. It must not
	// block: it may run where the network is read, and holds up everybody then.
	// What may block, a store or a directory, is work for another goroutine. It
	// may call Send.
	HandleResponse(req *Request, res *Response, err error)
}

// ResponseHandlerFunc makes a function a [ResponseHandler].
type ResponseHandlerFunc func(req *Request, res *Response, err error)

// HandleResponse calls f.
func (f ResponseHandlerFunc) HandleResponse(req *Request, res *Response, err error) { f(req, res, err) }

// Errors of a [Sender], to be told by errors.Is. Others are failures of the
// network.
var (
	ErrTimeout     = errors.New("sipx: no final response in time")
	ErrQueueFull   = errors.New("sipx: the destination's queue is full")
	ErrTooLarge    = errors.New("sipx: the message does not fit a datagram")
	ErrFlowClosed  = errors.New("sipx: the connection is closed")
	ErrStackClosed = errors.New("sipx: the stack is shut down")
)

// Stack is a SIP stack on open sockets: it sends requests, and serves those that
// come. A constructor opens the sockets, so that ports are known and requests
// queue before Serve is called.
type Stack interface {
	Sender

	// Serve hands requests to h until Shutdown or the end of ctx, then returns
	// nil. It is called once. After the end of ctx requests that begin something
	// are answered 503, while h still gets those in a dialog and those with
	// SIP-If-Match, and requests can be sent: so that h can end what it has
	// before Shutdown. The handlers' context has the values of ctx, not its end.
	Serve(ctx context.Context, h Handler) error

	// Shutdown stops taking requests, waits for running handlers and for
	// requests under way until ctx ends, then closes the sockets. After it no
	// goroutine of the stack is left. Later calls return at once. The error is
	// ctx's where its end cut the waiting short.
	Shutdown(ctx context.Context) error

	// Listening returns the flows on which the stack listens: transport and
	// local address with the real port.
	Listening() []Flow
}

// Do sends req and waits for its final response, or until ctx ends:
// [Sender.Send] for callers that have nothing else to do meanwhile. The request
// itself goes on when ctx ends, and its outcome is dropped. Where ctx has ended
// before, nothing is sent.
func Do(ctx context.Context, s Sender, req *Request) (*Response, error) {
	type outcome struct {
		res *Response
		err error
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ch := make(chan outcome, 1)
	s.Send(req, ResponseHandlerFunc(func(_ *Request, res *Response, err error) {
		ch <- outcome{res, err}
	}))
	select {
	case o := <-ch:
		return o.res, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
