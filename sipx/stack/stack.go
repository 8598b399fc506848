package stack

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/openblustar/blustar/internal/logqueue"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// Stack is a [sipx.Stack] on open sockets. Make one with [Listen]. Its methods
// may be called from any goroutine.
//
// No lock of it is held while another one is taken but for these, in this order:
// conns.mu before conn.mu; conn.mu, shard.mu and socket.mu are the last.
type Stack struct {
	cfg        Config
	log        *slog.Logger
	lines      *logqueue.Queue // behind log
	advertised map[string]host
	name       string // in all branches, of this stack alone
	jobs       *dispatch.Dispatcher
	rates      *rates
	ways       ways
	names      names
	answers    answers
	pending    *pending
	calls      sync.Pool     // to be used again
	exchanges  sync.Pool     // the same
	accepted   sipx.Response // the answer to most NOTIFYs
	conns      conns
	stats      counters
	ctx        context.Context // of what the stack does itself
	cancel     context.CancelFunc

	sockets   []*socket   // immutable
	listeners []*listener // immutable
	listening []sipx.Flow // immutable
	contacts  []string    // of listening; empty where it depends on the peer

	tap     atomic.Pointer[Tap]
	serving atomic.Pointer[serving]

	mu      sync.Mutex
	closing bool // Shutdown has begun
	done    chan struct{}
	closed  bool           // no goroutine may start
	wg      sync.WaitGroup // all goroutines but those of handlers
}

// serving is who gets requests.
type serving struct {
	handler sipx.Handler
	ctx     context.Context // of handlers
	stop    context.CancelFunc
	leaving atomic.Bool // the context of Serve has ended
}

var _ sipx.Stack = (*Stack)(nil)

// Listen opens the sockets of cfg. The error is of everything that is wrong with
// cfg, else of every socket that could not be opened. Responses are taken from then
// on; requests wait for [Stack.Serve].
func Listen(cfg Config) (*Stack, error) {
	bindings, advertised, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	s := &Stack{
		cfg:        cfg,
		lines:      logqueue.New(cfg.Logger),
		advertised: advertised,
		name:       token(9),
		rates:      newRates(cfg.SourceRate),
		pending:    newPending(cfg.MaxPending),
		accepted:   sipx.Response{Status: 200},
		done:       make(chan struct{}),
	}
	s.log = s.lines.Logger()
	s.jobs = dispatch.New(dispatch.Config{Running: cfg.MaxHandlers, Waiting: cfg.MaxWaiting, Poll: s.poll})
	s.conns.init(cfg.MaxConnections)
	s.names.init()
	var failed []error
	for _, b := range bindings {
		if err := s.open(b); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		for _, k := range s.sockets {
			_ = k.conn.Close()
		}
		for _, l := range s.listeners {
			_ = l.Close()
		}
		return nil, errors.Join(failed...)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.answers.init(cfg.MaxAnswers)
	for _, k := range s.sockets {
		s.listening = append(s.listening, sipx.Flow{Transport: "udp", Local: k.local})
	}
	for _, l := range s.listeners {
		s.listening = append(s.listening, sipx.Flow{Transport: l.transport, Local: addrPort(l.Addr())})
	}
	for _, f := range s.listening {
		contact := ""
		if s.fixed(f) {
			contact = s.contact(f)
		}
		s.contacts = append(s.contacts, contact)
	}
	for i, k := range s.sockets {
		if f := s.listening[i]; s.fixed(f) {
			k.via = s.viaOf(f)
		}
	}
	for _, k := range s.sockets {
		s.wg.Go(k.receive)
		s.wg.Go(k.write)
	}
	for _, l := range s.listeners {
		s.wg.Go(func() { s.accept(l) })
	}
	s.wg.Go(s.turnWheels)
	return s, nil
}

// poll works on the datagrams that wait in the sockets.
func (s *Stack) poll() {
	for _, k := range s.sockets {
		k.poll()
	}
}

// fixed reports whether peers reach f, on which the stack listens, at one address.
func (s *Stack) fixed(f sipx.Flow) bool {
	_, advertised := s.advertisedFor(f.Transport)
	return advertised || !f.Local.Addr().IsUnspecified()
}

func (s *Stack) open(b binding) error {
	if b.transport == "udp" {
		k, err := listenUDP(s, b.address)
		if err == nil {
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

// Handlers returns how many requests are handled at a time, see [Config].
func (s *Stack) Handlers() int { return s.cfg.MaxHandlers }

// Listening implements [sipx.Stack].
func (s *Stack) Listening() []sipx.Flow { return slices.Clone(s.listening) }

// Serve implements [sipx.Stack].
func (s *Stack) Serve(ctx context.Context, h sipx.Handler) error {
	v := &serving{handler: h}
	v.ctx, v.stop = context.WithCancel(context.WithoutCancel(ctx))
	if !s.serving.CompareAndSwap(nil, v) {
		v.stop()
		return errors.New("stack: Serve was called before")
	}
	s.jobs.Start()
	select {
	case <-ctx.Done():
		v.leaving.Store(true)
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
	s.mu.Unlock()
	close(s.done)
	idle := s.pending.close()

	err := s.jobs.Stop(ctx)
	select {
	case <-idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.names.mu.Lock()
	s.names.closed = true
	s.names.mu.Unlock()
	if v := s.serving.Load(); v != nil {
		v.stop()
	}
	for _, id := range s.pending.all() {
		s.finish(id, nil, sipx.ErrStackClosed)
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
	conns := s.conns.close()
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
		_ = k.close()
	}
	s.wg.Wait()
	return err
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

// flowClosed tells the handler of a lost connection.
func (s *Stack) flowClosed(f sipx.Flow) {
	if v := s.serving.Load(); v != nil {
		if o, ok := v.handler.(sipx.FlowObserver); ok {
			o.FlowClosed(f)
		}
	}
}

// maySend reports whether anything may leave now.
func (s *Stack) maySend() bool { return s.cfg.MaySend == nil || s.cfg.MaySend() }

// mayAlways reports whether a message may leave whatever Config.MaySend says.
func mayAlways(b *buffer) bool {
	return bytes.HasPrefix(b.b, []byte("SIP/2.0 503 ")) || string(b.b) == "\r\n" || bytes.HasPrefix(b.b, []byte(pongMark))
}
