package fakeews

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Dialer opens connections to a server.
type Dialer = func(context.Context, string, string) (net.Conn, error)

// Serve serves over memory until the test ends, and returns how to dial it.
func (e *Server) Serve(t testing.TB) Dialer {
	dial := Serve(t, &http.Server{Handler: e, ConnContext: e.Connected, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			e.With(func() { delete(e.Conns, c) })
		}
	}})
	t.Cleanup(e.Cut)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		e.mu.Lock()
		down := e.Down
		e.mu.Unlock()
		if down {
			return nil, errRefused
		}
		return dial(ctx, network, address)
	}
}

// Serve has a server serve over memory until the test ends.
func Serve(t testing.TB, s *http.Server, secure ...*tls.Config) Dialer {
	l := &memory{accept: make(chan net.Conn), closed: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if len(secure) > 0 {
			_ = s.Serve(tls.NewListener(l, secure[0]))
			return
		}
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }
}

// Quiet is the log of errors that a server of a test makes.
var Quiet = slog.NewLogLogger(slog.DiscardHandler, 0)

var errRefused = errors.New("connection refused")

type memory struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.accept <- theirs:
		return ours, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.accept:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

type connKey struct{}

// Connected is the ConnContext of an [http.Server] for it: NTLM signs connections in.
func (e *Server) Connected(ctx context.Context, c net.Conn) context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Conns[c] = struct{}{}
	return context.WithValue(ctx, connKey{}, &ntlm{user: account, domain: "DE", password: e.Password})
}

// ServeTLS serves over TLS on a port of this machine, and returns the end point.
func (e *Server) ServeTLS(t testing.TB) string {
	s := httptest.NewUnstartedServer(e)
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return e.Connected(ctx, c) }
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = Quiet
	s.StartTLS()
	t.Cleanup(func() {
		e.Cut()
		s.Close()
	})
	e.Roots = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return s.URL + "/EWS/Exchange.asmx"
}
