package ldapdir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/conf"
)

// DefaultMaxChecks is how many checks of credentials are under way at a time.
const DefaultMaxChecks = 16

// CheckInfo describes a check of credentials.
type CheckInfo struct {
	Duration time.Duration
	// Err is nil for good credentials, an [auth.ErrBadCredentials] with its reason,
	// or an [ErrUnavailable].
	Err error
}

var (
	_ auth.Verifier     = (*ADVerifier)(nil)
	_ auth.AccountKeyer = (*ADVerifier)(nil)
	_ auth.Verifier     = (*BindVerifier)(nil)
)

// A checker checks passwords by binding, each on a connection of its own: a bind
// changes whose connection it is, and after one that failed, servers differ in
// whose it is then.
type checker struct {
	hosts *hosts
	slots chan struct{}
	hook  func(CheckInfo)
}

func newChecker(check *conf.Check, server Server, plaintext bool, maxChecks int, hook func(CheckInfo)) *checker {
	conf.Default(check, "MaxChecks", &maxChecks, DefaultMaxChecks)
	hs := newHosts(check, server)
	if !hs.encrypted() && !plaintext {
		check.Failf("URLs", "passwords need ldaps or StartTLS")
	}
	return &checker{hosts: hs, slots: make(chan struct{}, max(0, maxChecks)), hook: hook}
}

// check runs f for credentials that may go over the wire.
func (k *checker) check(ctx context.Context, c auth.Credentials, f func(context.Context) (auth.Identity, error)) (id auth.Identity, err error) {
	start := time.Now()
	if k.hook != nil {
		defer func() { k.hook(CheckInfo{Duration: time.Since(start), Err: err}) }()
	}
	if err := presentable(c); err != nil {
		return auth.Identity{}, err
	}
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return auth.Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	return f(ctx)
}

// presentable refuses what must not reach a directory, should anybody have let it
// through: without a password a bind succeeds as nobody (RFC 4513 §5.1.2).
func presentable(c auth.Credentials) error {
	const maxName, maxPassword = 256, 1024
	if c.AMCC {
		return auth.ErrUnknownAccount // those accounts are the server's own
	}
	name, password := c.Name.String(), c.Password.Reveal()
	if c.Name.User == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return auth.ErrUnknownAccount
	}
	if len(password) == 0 || len(password) > maxPassword || !utf8.Valid(password) || strings.ContainsFunc(string(password), unicode.IsControl) {
		return auth.ErrBadPassword
	}
	return nil
}

// bind binds on a fresh connection, and if that succeeds calls then with it, which
// may be nil. The connection does not outlive the call. An error for which
// resultCode has a code is the answer to the bind.
func (k *checker) bind(ctx context.Context, name string, password auth.Secret, controls []ldap.Control,
	then func(context.Context, *conn) error) (*ldap.SimpleBindResult, error) {
	c, err := k.hosts.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, k.hosts.timeout)
	defer cancel()
	var res *ldap.SimpleBindResult
	err = c.do(ctx, func(l *ldap.Conn) error {
		var err error
		res, err = l.SimpleBind(ldap.NewSimpleBindRequest(name, string(password.Reveal()), controls))
		return err
	})
	if err != nil {
		return res, k.blame(ctx, c, "bind", err)
	}
	k.hosts.succeed(c.host)
	if then == nil {
		return res, nil
	}
	return res, then(ctx, c)
}

// blame makes an Error of what an exchange with a server came to, and holds it
// against the server where that failed.
func (k *checker) blame(ctx context.Context, c *conn, op string, err error) error {
	err = &Error{Op: op, Server: c.host.url, Err: err}
	code, answered := resultCode(err)
	switch {
	case errors.Is(err, context.Canceled):
		c.host.withdraw()
	case !answered && ctx.Err() != nil:
		k.hosts.impatient(ctx, c.host, err)
	case !answered, code == ldap.LDAPResultBusy, code == ldap.LDAPResultUnavailable:
		k.hosts.fail(c.host, err)
	default:
		k.hosts.succeed(c.host)
	}
	return err
}

// search runs a request on the connection of a check.
func (k *checker) search(ctx context.Context, c *conn, req *ldap.SearchRequest) ([]*ldap.Entry, error) {
	var res *ldap.SearchResult
	err := c.do(ctx, func(l *ldap.Conn) error {
		var err error
		res, err = l.Search(req)
		return err
	})
	if err != nil {
		return nil, k.blame(ctx, c, "search", err)
	}
	k.hosts.succeed(c.host)
	return res.Entries, nil
}
