package wire

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// Stack is a [sipx.Stack] on open sockets, but for its transactions, which an
// [Engine] runs. Its methods may be called from any goroutine.
type Stack struct {
	cfg        Config
	log        *slog.Logger
	advertised map[string]host
	branch     string // start of all branches, of this stack alone
	jobs       *dispatch.Dispatcher
	rates      *rates
	ways       ways
	answers    answers
	engine     Engine
	ctx        context.Context // of what the stack does itself
	cancel     context.CancelFunc
	wg         sync.WaitGroup // all goroutines but those of handlers

	sockets   []*socket   // immutable
	listeners []*listener // immutable
	listening []sipx.Flow // immutable

	divert atomic.Pointer[Divert]

	mu      sync.Mutex
	handler sipx.Handler
	serving context.Context // of handlers
	stop    context.CancelFunc
	served  bool
	leaving bool // the context of Serve has ended
	closing bool // Shutdown has begun
	closed  bool // nothing new may start
	done    chan struct{}
	calls   map[string]*call // by branch
	idle    chan struct{}    // closed when no call is left, once Shutdown waits
	number  uint64           // of branches and connections
	random  *rand.ChaCha8    // of branches
	conns   map[uint64]*conn
	dialed  map[hop]*conn
	names   map[hop]*lookup
}

var _ sipx.Stack = (*Stack)(nil)

// listener is a listening socket for connections.
type listener struct {
	net.Listener
	transport string
}

// Listen opens the sockets of cfg. Responses are taken from then on; requests
// wait for [Stack.Serve].
func Listen(cfg Config, engine Engine) (*Stack, error) {
	bindings, advertised, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	s := &Stack{
		cfg:        cfg,
		log:        cfg.Logger,
		advertised: advertised,
		branch:     "z9hG4bK" + token(9) + "-",
		jobs:       dispatch.New(dispatch.Config{Running: cfg.MaxHandlers, Waiting: cfg.MaxWaiting}),
		rates:      newRates(cfg.SourceRate),
		engine:     engine,
		random:     newRandom(),
		done:       make(chan struct{}),
		calls:      make(map[string]*call),
		conns:      make(map[uint64]*conn),
		dialed:     make(map[hop]*conn),
		names:      make(map[hop]*lookup),
	}
	s.answers.init(s, cfg.MaxAnswers)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, b := range bindings {
		if err := s.open(b); err != nil {
			s.cancel()
			return nil, errors.Join(err, s.closeSockets())
		}
	}
	for _, k := range s.sockets {
		s.listening = append(s.listening, sipx.Flow{Transport: "udp", Local: k.local})
	}
	for _, l := range s.listeners {
		s.listening = append(s.listening, sipx.Flow{Transport: l.transport, Local: addrPort(l.Addr())})
	}
	for _, k := range s.sockets {
		s.wg.Go(k.read)
		s.wg.Go(k.receive)
	}
	for _, l := range s.listeners {
		s.wg.Go(func() { s.accept(l) })
	}
	return s, nil
}

func (s *Stack) open(b binding) error {
	if b.transport == "udp" {
		k, err := listenUDP(s, b.address)
		if err == nil {
			k.number = uint16(len(s.sockets))
			s.sockets = append(s.sockets, k)
		}
		return err
	}
	l, err := net.Listen("tcp", b.address)
	if err == nil {
		s.listeners = append(s.listeners, &listener{l, b.transport})
	}
	return err
}

func (s *Stack) closeSockets() error {
	var err error
	for _, k := range s.sockets {
		err = errors.Join(err, k.conn.Close())
	}
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// Listening implements [sipx.Stack].
func (s *Stack) Listening() []sipx.Flow { return slices.Clone(s.listening) }

// Serve implements [sipx.Stack].
func (s *Stack) Serve(ctx context.Context, h sipx.Handler) error {
	s.mu.Lock()
	if s.served {
		s.mu.Unlock()
		return errors.New("sipx: Serve was called before")
	}
	s.served, s.handler = true, h
	s.serving, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Unlock()
	s.jobs.Start()
	select {
	case <-ctx.Done():
		s.mu.Lock()
		s.leaving = true
		s.mu.Unlock()
	case <-s.done:
	}
	return nil
}

// Shutdown implements [sipx.Stack]. Where ctx ends early, the contexts of
// running handlers end too, and a handler that does not heed its context is the
// only thing that Shutdown leaves behind.
func (s *Stack) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	idle := make(chan struct{})
	if s.idle = idle; len(s.calls) == 0 {
		close(idle)
		s.idle = nil
	}
	s.mu.Unlock()
	close(s.done)

	err := s.jobs.Stop(ctx)
	select {
	case <-idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	s.mu.Lock()
	s.closed = true
	if s.stop != nil {
		s.stop()
	}
	calls, conns := values(s.calls), values(s.conns)
	s.mu.Unlock()
	for _, c := range calls {
		c.finish(nil, sipx.ErrStackClosed)
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
	for _, c := range conns {
		c.closeWhenSent()
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			c.close()
		}
	})
	defer stop()
	for _, k := range s.sockets {
		_ = k.conn.Close()
	}
	s.answers.close()
	s.engine.Close()
	s.wg.Wait()
	return err
}

func values[K comparable, V any](m map[K]V) []V {
	list := make([]V, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// spawn runs f on a goroutine of the stack, and reports false where the stack
// is closed.
func (s *Stack) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// handle has the handler called for a request, or refuses it.
func (s *Stack) handle(x *exchange, group *dispatch.Group) {
	r := x.req
	established := dispatch.IsEstablished(r)
	if !established && !s.rates.allow(r.Flow.Remote.Addr(), time.Now()) {
		s.refuse(x, "source sends too fast")
		return
	}
	taken := s.jobs.Submit(dispatch.Job{
		Lane:        dispatch.LaneOf(r),
		Source:      r.Flow.Remote.Addr(),
		Established: established,
		Group:       group,
		Task: dispatch.TaskFunc(func() {
			s.mu.Lock()
			h, ctx, leaving := s.handler, s.serving, s.leaving
			s.mu.Unlock()
			if leaving && !established {
				s.refuse(x, "not serving")
				return
			}
			dispatch.Serve(ctx, h, x, r, s.log)
			x.returned()
		}),
	})
	if !taken {
		s.refuse(x, "too many requests wait")
	}
}

func (s *Stack) refuse(x *exchange, why string) {
	s.log.Debug("request refused", "reason", why, "method", x.req.Method, "flow", x.req.Flow.String())
	_ = x.Respond(sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: retryAfter()}))
}

// Divert takes messages that are not for the stack: requests that it reports
// true for, which have been checked, and responses that match none of the
// stack's requests (req is nil then). It must not keep data, and not block.
type Divert func(f sipx.Flow, req *sipx.Request, data []byte) bool

// SetDivert has messages diverted from now on.
func (s *Stack) SetDivert(d Divert) { s.divert.Store(&d) }

func (s *Stack) diverted(f sipx.Flow, req *sipx.Request, data []byte) bool {
	d := s.divert.Load()
	return d != nil && (*d)(f, req, data)
}

// Write sends a message that is not the stack's own: as a datagram, or over the
// connection to that address, which is opened where there is none.
func (s *Stack) Write(transport string, to netip.AddrPort, data []byte) error {
	if transport == "udp" {
		k := s.socketFor(to.Addr())
		if k == nil {
			return errNoSocket
		}
		return k.write(to, data)
	}
	s.mu.Lock()
	var c *conn
	for _, other := range s.conns {
		if other.transport == transport && other.flow.Remote == to {
			c = other
			break
		}
	}
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = s.connect(hop{transport, to.Addr().String(), int(to.Port())}, to); err != nil {
			return err
		}
	}
	buf := getBuffer()
	*buf = append((*buf)[:0], data...)
	return c.enqueue(buf)
}

// flowClosed tells the handler of a lost connection.
func (s *Stack) flowClosed(f sipx.Flow) {
	s.mu.Lock()
	o, ok := s.handler.(sipx.FlowObserver)
	s.mu.Unlock()
	if ok {
		o.FlowClosed(f)
	}
}
