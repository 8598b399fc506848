package sipgostack

import (
	"context"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/internal/wire"
)

// Stack is a [sipx.Stack] on open sockets. Make one with [Listen]. Its methods
// may be called from any goroutine.
type Stack struct{ wire *wire.Stack }

var _ sipx.Stack = (*Stack)(nil)

// Listen opens the sockets of cfg. Responses are taken from then on; requests
// wait for [Stack.Serve].
func Listen(cfg Config) (*Stack, error) {
	s, err := wire.Listen(wire.Config(cfg), newEngine())
	if err != nil {
		return nil, err
	}
	return &Stack{s}, nil
}

// Listening implements [sipx.Stack].
func (s *Stack) Listening() []sipx.Flow { return s.wire.Listening() }

// Serve implements [sipx.Stack].
func (s *Stack) Serve(ctx context.Context, h sipx.Handler) error { return s.wire.Serve(ctx, h) }

// Shutdown implements [sipx.Stack]. Where ctx ends early, the contexts of
// running handlers end too, and a handler that does not heed its context is the
// only thing that Shutdown leaves behind.
func (s *Stack) Shutdown(ctx context.Context) error { return s.wire.Shutdown(ctx) }

// Send implements [sipx.Sender].
func (s *Stack) Send(req *sipx.Request, done sipx.ResponseHandler) {
	s.wire.Send(req, done)
}

// Contact implements [sipx.Sender].
func (s *Stack) Contact(f sipx.Flow) string { return s.wire.Contact(f) }
