package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// adapter puts a presence server on the sockets of a library: it is the server's
// sipx.Sender, and gives the library's requests to it.
type adapter struct {
	lib     *library
	handler sipx.Handler
	jobs    *dispatch.Dispatcher // order, bounds, panics
	places  chan struct{}        // one for each request under way: the library has no bound
	sending sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc
}

// maxPending bounds the requests under way: each is a goroutine here, because the
// library's transaction blocks.
const maxPending = 1000

func newAdapter(address string) (*adapter, error) {
	a := &adapter{jobs: dispatch.New(dispatch.Config{}), places: make(chan struct{}, maxPending)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	lib, err := listen(address, a.receive)
	a.lib = lib
	return a, err
}

// serve hands requests to h from now on. They have waited in jobs.
func (a *adapter) serve(h sipx.Handler) {
	a.handler = h
	a.jobs.Start()
}

// close ends it; the presence server has been shut down before.
func (a *adapter) close(ctx context.Context) error {
	err := a.jobs.Stop(ctx)
	a.stop()
	a.sending.Wait()
	a.lib.close()
	return err
}

// Send implements sipx.Sender.
func (a *adapter) Send(req *sipx.Request, done sipx.ResponseHandler) {
	to, err := destination(req)
	if err == nil {
		select {
		case a.places <- struct{}{}:
		default:
			err = sipx.ErrQueueFull
		}
	}
	if err != nil {
		done.HandleResponse(req, nil, err)
		return
	}
	a.sending.Go(func() {
		defer func() { <-a.places }()
		ctx, cancel := context.WithTimeout(a.ctx, 32*time.Second) // timer F
		defer cancel()
		res, err := a.lib.request(ctx, toLibrary(req), to)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			err = sipx.ErrTimeout
		case errors.Is(err, context.Canceled):
			err = sipx.ErrStackClosed
		}
		if err != nil {
			done.HandleResponse(req, nil, err)
			return
		}
		answer := &sipx.Response{Status: res.status, Reason: res.reason, Body: res.body}
		for _, f := range res.fields {
			answer.Header.Add(f[0], f[1])
		}
		done.HandleResponse(req, answer, nil)
	})
}

// Contact implements sipx.Sender.
func (a *adapter) Contact(sipx.Flow) string { return "<sip:" + a.lib.addr().String() + ">" }

// toLibrary makes a message of the library of a request. The library adds Via and
// Content-Length.
func toLibrary(r *sipx.Request) *message {
	m := &message{method: r.Method, uri: r.URI.String(), body: r.Body}
	for _, route := range r.Route {
		m.fields = append(m.fields, [2]string{"Route", route})
	}
	m.fields = append(m.fields, [][2]string{{"Max-Forwards", "70"}, {"From", r.From.String()}, {"To", r.To.String()},
		{"Call-ID", r.CallID}, {"CSeq", fmt.Sprintf("%d %s", r.CSeq, r.Method)}}...)
	for _, f := range r.Header {
		m.fields = append(m.fields, [2]string{f.Name, f.Value})
	}
	return m
}

// destination is the flow, else the first route, else the URI. This one asks no DNS.
func destination(req *sipx.Request) (*net.UDPAddr, error) {
	if req.Flow.Remote.IsValid() {
		return net.UDPAddrFromAddrPort(req.Flow.Remote), nil
	}
	next := req.URI
	if len(req.Route) > 0 {
		route, err := sipx.ParseAddress(req.Route[0])
		if err != nil {
			return nil, err
		}
		next = route.URI
	}
	if next.Port == 0 {
		next.Port = 5060
	}
	to, err := netip.ParseAddrPort(net.JoinHostPort(strings.Trim(next.Host, "[]"), strconv.Itoa(next.Port)))
	return net.UDPAddrFromAddrPort(to), err
}

// receive takes a request from the library.
func (a *adapter) receive(m *message, from *net.UDPAddr, respond func(*message)) {
	var h sipx.Header
	for _, f := range m.fields {
		h.Add(f[0], f[1])
	}
	remote := netip.AddrPortFrom(from.AddrPort().Addr().Unmap(), from.AddrPort().Port())
	req, err := sipx.NewRequest(m.method, m.uri, h, m.body)
	if err == nil {
		// It notes where the request came from, in the Via too.
		_, err = req.Arrived(sipx.Flow{Transport: "udp", Local: a.lib.addr().AddrPort(), Remote: remote})
	}
	if err != nil {
		respond(&message{status: 400, reason: "Bad Request", fields: m.fields})
		return
	}
	w := &answer{req: req, respond: respond}
	switch req.Method {
	case "ACK":
		return
	case "INVITE", "CANCEL": // the program's own calls, in a real one
		_ = w.Respond(sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: "SUBSCRIBE, PUBLISH, OPTIONS"}))
		return
	}
	taken := a.jobs.Submit(dispatch.Job{
		Lane: dispatch.LaneOf(req), Source: req.Flow.Source(), Established: dispatch.IsEstablished(req),
		Task: dispatch.TaskFunc(func() { dispatch.Serve(a.ctx, a.handler, w, req, slog.Default()) }),
	})
	if !taken {
		_ = w.Respond(sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: "10"}))
	}
}

// answer is a sipx.ResponseWriter on the library's way to respond.
type answer struct {
	req     *sipx.Request
	respond func(*message)
	once    sync.Once
}

func (w *answer) Respond(res *sipx.Response) error {
	err := errors.New("answered already")
	w.once.Do(func() {
		tagged := *res
		if tagged.ToTag == "" {
			tagged.ToTag = strconv.FormatUint(uint64(time.Now().UnixNano()), 36)
		}
		m, parseErr := parse(tagged.AppendTo(nil, w.req)) // a library has something better
		if err = parseErr; err == nil {
			m.fields = m.fields[:len(m.fields)-1] // Content-Length, which the library adds
			w.respond(m)
		}
	})
	return err
}
