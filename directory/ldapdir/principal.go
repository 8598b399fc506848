package ldapdir

import (
	"context"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/auth"
)

// AccountKey implements [auth.AccountKeyer]: with Users of [ADConfig], it returns
// the account of a user principal name that is written in an entry. Every other
// name has the account in it, so that the guard needs no directory to find it. The
// error is an [ErrUnavailable].
func (v *ADVerifier) AccountKey(ctx context.Context, n auth.Name) (string, error) {
	if v.users == nil || !n.UPN() {
		return "", nil
	}
	return v.users.principal(ctx, n.Account())
}

// principal returns the account name of the user with a user principal name, in
// lower case, "" where there is none or it is not unique. Answers are cached like
// those for addresses. Only some of the connections are used at a time, so that who
// guesses names cannot keep look-ups waiting.
func (d *Directory) principal(ctx context.Context, upn string) (string, error) {
	if account, ok := d.recallPrincipal(upn); ok {
		return account, nil
	}
	select {
	case d.guesses <- struct{}{}:
		defer func() { <-d.guesses }()
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	if account, ok := d.recallPrincipal(upn); ok {
		return account, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.hosts.timeout)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)() // Close does not wait for this search, but ends it
	res, err := d.pool.search(ctx, &ldap.SearchRequest{
		BaseDN: d.cfg.BaseDN, Scope: ldap.ScopeWholeSubtree, SizeLimit: 10,
		Filter:     fmt.Sprintf("(&(objectClass=user)(userPrincipalName=%s))", ldap.EscapeFilter(upn)),
		Attributes: []string{"sAMAccountName"},
	})
	d.counts.searches.Add(1)
	if err != nil {
		d.counts.failures.Add(1)
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	account := ""
	if len(res.Entries) == 1 {
		account = auth.Name{User: value(res.Entries[0], "sAMAccountName")}.Account()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.principals.put(upn, account, time.Now())
	return account, nil
}

// recallPrincipal returns the answer that the cache has.
func (d *Directory) recallPrincipal(upn string) (account string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	account, age, ok := d.principals.get(upn, time.Now())
	if account == "" {
		return "", ok && age < d.cfg.NegativeLifetime
	}
	return account, ok && age < d.cfg.Lifetime
}
