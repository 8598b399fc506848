package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"reflect"
	"slices"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/policyfile"
)

// inputs is what the server has from files, and reads again while it runs: all of it,
// or nothing. It does not change once read.
type inputs struct {
	users       *directory.Memory // nil where the directory is LDAP
	accounts    *auth.LocalAccounts
	certificate *tls.Certificate   // nil without tls.cert
	token       auth.Secret        // of the control API, empty without one
	policy      *policyfile.Policy // nil without policy
}

// read reads the files that a configuration names. The error is a *hostconfig.Error.
func (c *config) read() (*inputs, error) {
	f := new(inputs)
	for _, step := range []struct {
		key  string
		read func(*config) error
	}{
		{"directory", f.readUsers}, {"accounts", f.readAccounts}, {"tls", f.readCertificate}, {"http.token_file", f.readToken},
		{"policy", f.readPolicy},
	} {
		if err := step.read(c); err != nil {
			return nil, c.Bad(step.key, err)
		}
	}
	return f, nil
}

func (f *inputs) readUsers(c *config) (err error) {
	switch {
	case c.demo:
		f.users, err = demoDirectory()
	case c.Directory == nil:
		f.users, err = directory.NewMemory(nil)
	case c.Directory.LDAP == nil:
		if f.users, err = directory.LoadUsers(c.Directory.File); err != nil {
			err = hostconfig.Wrong("file", "%s", err)
		}
	}
	return err
}

func (f *inputs) readAccounts(c *config) (err error) {
	switch {
	case c.demo:
		f.accounts, err = demoAccounts()
	case c.Accounts == "":
		f.accounts, err = auth.NewLocalAccounts(nil)
	default:
		f.accounts, err = auth.LoadAccounts(c.Accounts)
	}
	return err
}

func (f *inputs) readPolicy(c *config) (err error) {
	if c.Policy != "" {
		f.policy, err = policyfile.Load(c.Policy)
	}
	return err
}

// policy is the one that was read last. It implements [presence.Policy].
type policy struct{ *backends }

func (p policy) Sight(ctx context.Context, w presence.Watcher, whom directory.Entry) (consolidation.Sight, error) {
	return p.files.Load().policy.Sight(ctx, w, whom)
}

// Lookup implements [directory.Directory].
func (b *backends) Lookup(ctx context.Context, a directory.Address) (directory.Entry, error) {
	return b.files.Load().users.Lookup(ctx, a)
}

// Peek implements [directory.Immediate]: the users are in memory.
func (b *backends) Peek(a directory.Address) (directory.Result, bool) {
	return b.files.Load().users.Peek(a)
}

// LookupAccount implements [directory.Accounts].
func (b *backends) LookupAccount(ctx context.Context, account string) (directory.Entry, error) {
	return b.files.Load().users.LookupAccount(ctx, account)
}

// accounts are the local ones, as they were read last.
type accounts struct{ *backends }

func (a accounts) now() *auth.LocalAccounts { return a.files.Load().accounts }

// Verify implements [auth.Verifier].
func (a accounts) Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	return a.now().Verify(ctx, c)
}

// DigestAccount implements [auth.DigestAccounts].
func (a accounts) DigestAccount(ctx context.Context, q auth.DigestQuery) (auth.DigestAccount, error) {
	return a.now().DigestAccount(ctx, q)
}

// LocksAccounts, Realms and Algorithms are what package auth asks for once.
func (a accounts) LocksAccounts() bool          { return a.now().LocksAccounts() }
func (a accounts) Realms() []string             { return a.now().Realms() }
func (a accounts) Algorithms() []auth.Algorithm { return a.now().Algorithms() }

// certificate is what new TLS connections are shown.
func (b *backends) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return b.files.Load().certificate, nil
}

// leaf is the server's certificate, or nil.
func (b *backends) leaf() *x509.Certificate {
	if c := b.files.Load().certificate; c != nil {
		return c.Leaf
	}
	return nil
}

// reload reads users, accounts, policy, certificate, token and log level again. Where anything
// of them is not good, everything stays as it was. What else has changed in the
// configuration needs a restart, and is named in the log.
func (s *server) reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	c := s.cfg
	if !c.demo {
		var err error
		if c, err = loadConfig(c.Name, c.overrides); err != nil {
			return err
		}
	}
	f, err := c.read()
	if err != nil {
		return err
	}
	before := s.backends.files.Load()
	if !slices.Equal(before.accounts.Realms(), f.accounts.Realms()) || !slices.Equal(before.accounts.Algorithms(), f.accounts.Algorithms()) {
		return c.Bad("accounts", hostconfig.Wrong("", "digest_ha1 is of another realm or algorithm than before: that needs a restart"))
	}
	if (before.users == nil) != (f.users == nil) || (before.certificate == nil) != (f.certificate == nil) || (before.token.Len() == 0) != (f.token.Len() == 0) ||
		(before.policy == nil) != (f.policy == nil) {
		return c.Bad("", hostconfig.Wrong("", "whether directory.file, tls, http.token_file and policy are used has changed: that needs a restart"))
	}
	s.backends.files.Store(f)
	s.level.Set(c.Level())
	if changed := s.cfg.elsewhere(c); len(changed) > 0 {
		s.log.Warn("changed in the configuration, and needs a restart", "keys", list(changed))
	}
	for _, u := range s.presence.Users() { // so that those who are watched have their new entry
		if err := s.presence.Reload(ctx, u.Entity); err != nil {
			s.log.Debug("no entry any more", "user", u.ID, "error", err)
		}
	}
	s.presence.ApplyPolicy(ctx)
	ended := endedBy(before, f)
	s.endSessions(func(id auth.Identity) bool { return ended(id) || s.backends.gone(ctx, id) })
	s.log.Info("reloaded", "users", f.size(), "accounts", f.accounts.Len())
	return nil
}

func (f *inputs) size() int {
	if f.users == nil {
		return 0
	}
	return f.users.Len()
}

// elsewhere names the keys that differ in another configuration, but for what a reload
// takes over.
func (c *config) elsewhere(other *config) (keys []string) {
	a, b := *c.Config, *other.Config
	a.Log.Level, b.Log.Level = "", ""
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		field := va.Type().Field(i)
		if key := field.Tag.Get("json"); key != "" && !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}
