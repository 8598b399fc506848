package ldapdir

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// maxReply bounds what a server may send in answer to one request, in bytes. A
// search for a hundred users is answered with some fifty kilobytes.
const maxReply = 16 << 20

// A conn is a connection to a server, used by one goroutine at a time. Its
// deadlines are those of the network connection: go-ldap's own time-out leaves a
// connection behind that looks sound, and does not hold for StartTLS.
type conn struct {
	ldap   *ldap.Conn
	net    *meteredConn
	host   *host
	born   time.Time
	used   time.Time // when it was last given back
	reused bool      // it has served before, and may have been closed since
	broken bool      // the state of the protocol is unknown
}

// open connects to h, encrypts as configured, and runs setup, all within the
// timeout.
func (hs *hosts) open(ctx context.Context, h *host, setup func(context.Context, *conn) error) (*conn, error) {
	start := time.Now()
	ctx, cancel := context.WithDeadline(ctx, start.Add(hs.timeout))
	defer cancel()
	nc, err := hs.dial(ctx, "tcp", h.address)
	if err != nil {
		return nil, &Error{Op: "connect", Server: h.url, Err: timedOut(ctx, start, err)}
	}
	c := &conn{net: &meteredConn{Conn: nc}, host: h, born: start}
	if err := c.secure(ctx, start); err != nil {
		return nil, &Error{Op: "connect", Server: h.url, Err: err}
	}
	if setup != nil {
		if err := setup(ctx, c); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// secure starts TLS, if it is configured, and the LDAP session. It closes the
// connection if it fails.
func (c *conn) secure(ctx context.Context, start time.Time) error {
	c.net.begin(ctx)
	if c.host.ldaps {
		tc := tls.Client(c.net, c.host.tls)
		if err := tc.HandshakeContext(ctx); err != nil {
			c.net.Close()
			return timedOut(ctx, start, fmt.Errorf("TLS: %w", err))
		}
		c.ldap = ldap.NewConn(tc, true)
		c.ldap.Start()
		return nil
	}
	c.ldap = ldap.NewConn(c.net, false)
	c.ldap.Start()
	if !c.host.startTLS {
		return nil
	}
	err := c.do(ctx, func(l *ldap.Conn) error { return l.StartTLS(c.host.tls) })
	if err != nil {
		c.close()
		return fmt.Errorf("StartTLS: %w", err)
	}
	return nil
}

// do runs op, one exchange with the server, until the context ends. When op failed
// other than by the server's answer, or was cut off, the connection is broken.
func (c *conn) do(ctx context.Context, op func(*ldap.Conn) error) error {
	start := time.Now()
	c.net.begin(ctx)
	stop := context.AfterFunc(ctx, c.net.abort)
	err := op(c.ldap)
	if !stop() {
		c.broken = true
	}
	if err == nil {
		return nil
	}
	if _, ok := resultCode(err); ok {
		return err
	}
	c.broken = true
	return timedOut(ctx, start, err)
}

// close ends the connection without waiting for the server.
func (c *conn) close() {
	c.net.abort() // so that a write that is stuck ends first
	c.ldap.Close()
}

// timedOut returns the error of a network operation that ctx bounded. Network
// errors after the context has ended are its doing, whatever they say.
func timedOut(ctx context.Context, start time.Time, err error) error {
	if ctx.Err() == nil {
		// The deadline is set on the connection too, and may be felt there first.
		deadline, ok := ctx.Deadline()
		if !ok || time.Now().Before(deadline) {
			return err
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	return &timeoutError{after: time.Since(start)}
}

// A timeoutError says that a server did not answer in time.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("no answer within %v", e.after.Round(time.Millisecond))
}

// Is makes the error one that callers know.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// meteredConn bounds how long and how much of a reply is read.
type meteredConn struct {
	net.Conn
	left atomic.Int64 // bytes that may still be read for this request
}

var errTooMuch = fmt.Errorf("the reply is longer than %d bytes", maxReply)

// begin starts an exchange that must be over when the context ends.
func (c *meteredConn) begin(ctx context.Context) {
	c.left.Store(maxReply)
	deadline, _ := ctx.Deadline() // no deadline is the zero time here and there
	c.Conn.SetDeadline(deadline)
}

// rest is for a connection that waits for its next use.
func (c *meteredConn) rest() { c.Conn.SetDeadline(time.Time{}) }

// abort makes every operation under way and to come fail.
func (c *meteredConn) abort() { c.Conn.SetDeadline(time.Unix(1, 0)) }

func (c *meteredConn) Read(p []byte) (int, error) {
	if c.left.Load() <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p)
	c.left.Add(int64(-n))
	return n, err
}
