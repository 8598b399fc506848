package ldapdir

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/conf"
)

// BindConfig configures a [BindVerifier]. URLs and BaseDN are required.
type BindConfig struct {
	// Server says how to reach the directory, by ldaps or with StartTLS.
	Server
	// AllowPlaintext lets passwords go over connections that are not encrypted.
	// It is for a server on the same host.
	AllowPlaintext bool
	// BindDN and BindPassword are the account that finds users, as in [Config].
	BindDN       string
	BindPassword PasswordSource
	// BaseDN and Filter say what is a user, as in [Config].
	BaseDN, Filter string
	// AccountAttribute holds the account name. Empty means "uid".
	AccountAttribute string
	// IDAttribute is that of [Config], so that Identity.ID is the ID of the
	// directory's entries. Empty means "entryUUID".
	IDAttribute string
	// Domain is the one domain that may stand before a name, "DOMAIN\\user", in
	// any case. Names without domain are taken too. Empty means that names with a
	// domain are refused.
	Domain string
	// MaxConns is the number of connections to find users with. Zero means
	// DefaultMaxConns, 4.
	MaxConns int
	// MaxChecks is how many checks are under way at a time; further ones wait.
	// Zero means DefaultMaxChecks, 16.
	MaxChecks int
	// Hooks are called after each check.
	Hooks Hooks
}

// A BindVerifier checks passwords against a plain LDAP directory: it finds the
// entry of the account and binds as it, on a fresh connection. What the server
// says about expired and locked passwords is understood where it has a password
// policy (draft-behera-ldap-password-policy). It implements [auth.Verifier] and is
// safe for concurrent use.
type BindVerifier struct {
	*checker
	pool *pool
	cfg  BindConfig
}

// NewBindVerifier returns a verifier that is configured so. It connects when it is
// first used. Call Close when done.
func NewBindVerifier(cfg BindConfig) (*BindVerifier, error) {
	cfg.Filter = cmp.Or(cfg.Filter, DefaultFilter)
	cfg.AccountAttribute = cmp.Or(cfg.AccountAttribute, "uid")
	cfg.IDAttribute = cmp.Or(cfg.IDAttribute, "entryUUID")
	check := conf.Of("ldapdir: BindConfig")
	check.Fail("BaseDN", checkBase(cfg.BaseDN))
	check.Fail("Filter", checkFilter(cfg.Filter))
	check.Fail("AccountAttribute", checkAttribute(cfg.AccountAttribute))
	check.Fail("IDAttribute", checkAttribute(cfg.IDAttribute))
	conf.Default(check, "MaxConns", &cfg.MaxConns, DefaultMaxConns)
	k := newChecker(check, cfg.Server, cfg.AllowPlaintext, cfg.MaxChecks, cfg.Hooks.Check)
	b := newBinder(check, cfg.BindDN, cfg.BindPassword, k.hosts.log)
	if err := check.Err(); err != nil {
		return nil, err
	}
	return &BindVerifier{checker: k, pool: newPool(k.hosts, b, cfg.MaxConns), cfg: cfg}, nil
}

// Ready returns nil if users can be searched for: a server is there, accepts the
// account that searches, and has BaseDN.
func (v *BindVerifier) Ready(ctx context.Context) error { return v.pool.ready(ctx, v.cfg.BaseDN) }

// Close closes the connections that find users.
func (v *BindVerifier) Close() { v.pool.close() }

// Verify implements [auth.Verifier]. Errors are reasons of package auth, all of
// them [auth.ErrBadCredentials], or an [ErrUnavailable].
func (v *BindVerifier) Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	return v.check(ctx, c, func(ctx context.Context) (auth.Identity, error) {
		if c.Name.Domain != "" && !strings.EqualFold(c.Name.Domain, v.cfg.Domain) {
			return auth.Identity{}, auth.ErrUnknownAccount
		}
		e, account, err := v.find(ctx, strings.TrimSpace(c.Name.User))
		if err != nil {
			return auth.Identity{}, err
		}
		id, err := entryID(e, v.cfg.IDAttribute)
		if err != nil {
			return auth.Identity{}, err
		}
		res, err := v.bind(ctx, e.DN, c.Password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}, nil)
		if err := policyReason(res, err); err != nil {
			return auth.Identity{}, err
		}
		return auth.Identity{Account: auth.Name{Domain: v.cfg.Domain, User: account}.Account(), ID: id, DN: e.DN, Stamp: stamp(e)}, nil
	})
}

// find returns the entry of an account and the account as it is written there.
func (v *BindVerifier) find(ctx context.Context, user string) (*ldap.Entry, string, error) {
	ctx, cancel := context.WithTimeout(ctx, v.hosts.timeout)
	defer cancel()
	res, err := v.pool.search(ctx, &ldap.SearchRequest{
		BaseDN: v.cfg.BaseDN, Scope: ldap.ScopeWholeSubtree, SizeLimit: 10,
		Filter:     fmt.Sprintf("(&%s(%s=%s))", v.cfg.Filter, v.cfg.AccountAttribute, ldap.EscapeFilter(user)),
		Attributes: append([]string{v.cfg.AccountAttribute, v.cfg.IDAttribute}, stampAttributes[:]...),
	})
	if err != nil {
		return nil, "", err
	}
	var found *ldap.Entry
	var account string
	for _, e := range res.Entries {
		for _, a := range e.GetEqualFoldAttributeValues(v.cfg.AccountAttribute) {
			if !strings.EqualFold(a, user) {
				continue // the server's comparison is a looser one
			}
			if found != nil && found != e {
				return nil, "", fmt.Errorf("%w: two entries have the account: %s; %s", ErrUnavailable, printable(found.DN), printable(e.DN))
			}
			found, account = e, a
		}
	}
	if found == nil {
		return nil, "", auth.ErrUnknownAccount
	}
	return found, account, nil
}

// policyReason returns why a bind is no sign-in, or nil if it is one.
func policyReason(res *ldap.SimpleBindResult, err error) error {
	policy := int8(-1)
	if res != nil {
		if c, ok := ldap.FindControl(res.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy); ok {
			policy = c.Error
		}
	}
	const expired, locked, changeAfterReset = 0, 1, 2
	if err == nil {
		if policy == changeAfterReset {
			return auth.ErrMustChange // all that this bind is good for is to change it
		}
		return nil
	}
	switch code, _ := resultCode(err); code {
	case ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication: // the latter: the entry has no password
		switch policy {
		case expired:
			return auth.ErrPasswordExpired
		case locked:
			return auth.ErrAccountLocked
		}
		return auth.ErrBadPassword
	case ldap.LDAPResultConstraintViolation:
		return auth.ErrAccountLocked // 389 Directory Server, after too many failures
	}
	return err
}
