package ldapdir

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// idleAge is for how long an idle connection is trusted. Firewalls forget
	// connections without telling, Active Directory closes them after 15 minutes.
	idleAge = time.Minute
	// connAge is when a connection is replaced, so that a load balancer or a
	// changed password has its effect.
	connAge = 30 * time.Minute
)

// A pool keeps a few connections for searches, all bound as the same account. It is
// safe for concurrent use.
type pool struct {
	hosts   *hosts
	binder  *binder
	slots   chan struct{} // one for each connection in use
	dialing chan struct{} // one connects at a time: a crowd helps nobody

	mu     sync.Mutex
	idle   []*conn // the last one used is the last
	open   int
	closed bool
}

func newPool(hs *hosts, b *binder, size int) *pool {
	return &pool{hosts: hs, binder: b, slots: make(chan struct{}, size), dialing: make(chan struct{}, 1)}
}

// search runs a request on some connection, on another server where the first one
// fails. A result may come with an error, see ldap.Conn.Search. Errors other than
// the server's answers have been held against the server.
func (p *pool) search(ctx context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
	var res *ldap.SearchResult
	for {
		c, err := p.get(ctx)
		if err != nil {
			return nil, err
		}
		opCtx, cancel := context.WithTimeout(ctx, p.hosts.timeout)
		err = c.do(opCtx, func(l *ldap.Conn) error {
			var err error
			res, err = l.Search(req)
			return err
		})
		cancel()
		if err != nil {
			err = &Error{Op: "search", Server: c.host.url, Err: err}
		}
		if retry := p.put(ctx, c, err); !retry {
			return res, err
		}
	}
}

// put takes a connection back after an exchange that ended with err, and reports
// whether the exchange is worth another try.
func (p *pool) put(ctx context.Context, c *conn, err error) (retry bool) {
	code, answered := resultCode(err)
	_, slow := errors.AsType[*timeoutError](err)
	switch {
	case err == nil:
		p.hosts.succeed(c.host)
	case ctx.Err() != nil:
		c.broken = true
		p.hosts.impatient(ctx, c.host, err)
	case answered:
		switch code {
		case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable:
			c.broken = true
			p.hosts.fail(c.host, err)
			retry = p.hosts.alternative(c.host)
		case ldap.LDAPResultOperationsError:
			// Active Directory says so on a connection that has lost its bind.
			c.broken, retry = true, c.reused
			p.hosts.succeed(c.host)
		default:
			p.hosts.succeed(c.host)
		}
	case c.reused && !slow:
		// Closed by the server while it was idle: nothing is known about the server.
		retry = true
	default:
		p.hosts.fail(c.host, err)
		retry = p.hosts.alternative(c.host)
	}
	p.release(c)
	return retry
}

// get returns a connection for the caller alone, which must put it back.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	c, err := p.take(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

func (p *pool) take(ctx context.Context) (*conn, error) {
	c, err := p.takeIdle()
	if c != nil || err != nil {
		return c, err
	}
	select {
	case p.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	defer func() { <-p.dialing }()
	if err := p.binder.ready(); err != nil {
		return nil, err
	}
	c, err = p.hosts.connect(ctx, p.binder.bind)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.open++
	}
	p.mu.Unlock()
	if closed {
		c.host.withdraw()
		c.close()
		return nil, ErrClosed
	}
	return c, nil
}

// takeIdle returns an idle connection that looks sound, or nil.
func (p *pool) takeIdle() (*conn, error) {
	p.mu.Lock()
	var stale []*conn
	defer closeAll(&stale) // after unlocking
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	now := time.Now()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle[len(p.idle)-1] = nil
		p.idle = p.idle[:len(p.idle)-1]
		if !c.ldap.IsClosing() && now.Sub(c.used) < idleAge && now.Sub(c.born) < connAge && c.host.good(now) {
			c.reused = true
			return c, nil
		}
		p.open--
		stale = append(stale, c)
	}
	return nil, nil
}

func (p *pool) release(c *conn) {
	defer func() { <-p.slots }()
	p.mu.Lock()
	if c.broken || p.closed {
		p.open--
		p.mu.Unlock()
		c.close()
		return
	}
	defer p.mu.Unlock()
	c.used = time.Now()
	c.net.rest()
	p.idle = append(p.idle, c)
}

// ready returns nil if the entry base can be read.
func (p *pool) ready(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, p.hosts.timeout)
	defer cancel()
	_, err := p.search(ctx, &ldap.SearchRequest{
		BaseDN: base, Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"1.1"},
	})
	return err
}

// size returns how many connections are open.
func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// close closes the idle connections, and the others when they are put back.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.open -= len(idle)
	p.mu.Unlock()
	closeAll(&idle)
}

// closeAll closes connections. That may wait for the network a moment, so no lock
// is to be held.
func closeAll(cs *[]*conn) {
	for _, c := range *cs {
		c.close()
	}
}
