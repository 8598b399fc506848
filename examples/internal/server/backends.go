package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence"
)

// backends is all that the configuration names besides sockets: files that are
// read now, and directories that are connected to when they are needed.
type backends struct {
	files     atomic.Pointer[inputs] // never nil
	directory directory.Directory    // LDAP, or the backends themselves
	ldap      *ldapdir.Directory     // the directory, where it is LDAP
	bind      *ldapdir.BindVerifier  // nil without auth.ldap
	verifier  auth.Verifier          // of users
	policy    presence.Policy        // nil without policy
	probes    []hostconfig.Question  // that all must succeed for the server to be ready
	summary   []string               // what check says of them
	warnings  []string
}

// mustReach has the server be ready only while check succeeds.
func (b *backends) mustReach(name string, check func(context.Context) error) {
	b.probes = append(b.probes, hostconfig.Question{Name: name, Ask: func(ctx context.Context) (string, error) { return "", check(ctx) }})
}

// open makes the backends. The error is a *hostconfig.Error.
func (c *config) open(log *slog.Logger) (*backends, error) {
	b := new(backends)
	f, err := c.read()
	if err != nil {
		return nil, err
	}
	b.files.Store(f)
	b.verifier = accounts{b}
	for _, step := range []struct {
		key  string
		open func(*config, *slog.Logger) error
	}{
		{"directory", b.openDirectory},
		{"active_directory", b.openActiveDirectory},
		{"auth.ldap", b.openBind},
		{"policy", b.openPolicy},
	} {
		if err := step.open(c, log); err != nil {
			b.close(context.Background())
			return nil, c.Bad(step.key, err)
		}
	}
	b.reviewAuth(c)
	b.review(c)
	return b, nil
}

// close ends the connections of the backends.
func (b *backends) close(ctx context.Context) {
	if b.ldap != nil {
		_ = b.ldap.Close(ctx)
	}
	if b.bind != nil {
		b.bind.Close()
	}
}

func (b *backends) openDirectory(c *config, log *slog.Logger) error {
	b.directory = b
	switch n := b.files.Load().size(); {
	case c.demo:
		b.says("look addresses up among %d demo users", n)
	case c.Directory == nil:
		b.warn("there is no directory: every address is unknown, and nobody can publish")
	case c.Directory.LDAP != nil:
		return b.openLDAP(c.Directory.LDAP, log)
	default:
		b.says("look addresses up in %s: %d users", c.Directory.File, n)
	}
	return nil
}

func (b *backends) openLDAP(l *hostconfig.LDAP, log *slog.Logger) error {
	d, err := l.Open(log)
	if err != nil {
		return hostconfig.Below("ldap", err)
	}
	b.directory, b.ldap = d, d
	b.mustReach("directory", d.Ready)
	b.says("look addresses up in %s below %q", list(l.URL), l.BaseDN)
	return nil
}

func (b *backends) openActiveDirectory(c *config, log *slog.Logger) error {
	if c.ActiveDirectory == nil {
		return nil
	}
	v, err := c.ActiveDirectory.OpenVerifier(b.ldap, log)
	if err != nil {
		return err
	}
	b.verifier = v
	b.mustReach("active_directory", v.Ready)
	return nil
}

func (b *backends) openPolicy(c *config, _ *slog.Logger) error {
	if c.Policy != "" {
		b.policy = policy{b}
		b.says("show of users what %s allows", c.Policy)
	}
	return nil
}

// openBind checks passwords by bind at the directory.
func (b *backends) openBind(c *config, log *slog.Logger) error {
	if !c.Auth.LDAP {
		return nil
	}
	v, err := c.Directory.LDAP.OpenVerifier(log)
	if err != nil {
		return err
	}
	b.verifier, b.bind = v, v
	b.mustReach("auth.ldap", v.Ready)
	return nil
}

func (f *inputs) readCertificate(c *config) error {
	if _, err := c.TLS.Roots(); err != nil {
		return err
	}
	switch {
	case c.TLS.Cert == "" && c.TLS.Key == "":
		return nil
	case c.TLS.Cert == "":
		return hostconfig.Wrong("cert", "missing, but there is a key")
	case c.TLS.Key == "":
		return hostconfig.Wrong("key", "missing, but there is a cert")
	}
	cert, err := os.ReadFile(c.TLS.Cert)
	if err != nil {
		return hostconfig.Wrong("cert", "%s", err)
	}
	key, err := os.ReadFile(c.TLS.Key)
	if err != nil {
		return hostconfig.Wrong("key", "%s", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	f.certificate = &pair
	return nil
}

// maxToken bounds a token file, in bytes.
const maxToken = 4096

func (f *inputs) readToken(c *config) error {
	if c.HTTP.TokenFile == "" {
		return nil
	}
	text, err := hostconfig.ReadFile(c.HTTP.TokenFile, maxToken)
	if err != nil {
		return fmt.Errorf("%s: %w", c.HTTP.TokenFile, err)
	}
	token := bytes.TrimSpace(text)
	if len(token) == 0 || bytes.ContainsAny(token, " \t\r\n") {
		return fmt.Errorf("%s: want one word", c.HTTP.TokenFile)
	}
	f.token = auth.NewSecret(token)
	return nil
}

// reviewAuth says what authentication amounts to, and what is odd about it.
func (b *backends) reviewAuth(c *config) {
	local := b.files.Load().accounts
	against := fmt.Sprintf("%d local accounts", local.Len())
	if c.Auth.LDAP {
		against = "the LDAP directory by bind, AMCCs and Digest against " + against
	}
	if c.ActiveDirectory != nil {
		against = "Active Directory at " + list(c.ActiveDirectory.URL) + ", AMCCs and Digest against " + against
	}
	switch c.Auth.Mode {
	case "off":
		b.says("let everybody in, without authentication")
		b.warn("authentication is off: anybody can publish for anybody")
		return
	case "optional":
		b.says("ask clients that can authenticate for credentials (%s), checked against %s", c.Auth.Cipher, against)
	default:
		b.says("ask everybody for credentials (%s), checked against %s", c.Auth.Cipher, against)
	}
	if c.ActiveDirectory == nil && !c.Auth.LDAP && local.Len() == 0 {
		b.warn("there are neither accounts nor active_directory nor auth.ldap: nobody can sign in")
	}
	if realms := local.Realms(); len(realms) > 1 {
		b.warn("the accounts have digest_ha1 of several realms, " + list(realms) + ": a server has one, so nobody can authenticate by Digest")
	}
	if c.Auth.RequireTLS && !c.servesTLS() {
		b.warn("auth.require_tls is set, and nothing in listen is tls or wss: nobody can sign in")
	}
}

func (b *backends) says(format string, args ...any) {
	b.summary = append(b.summary, fmt.Sprintf(format, args...))
}
func (b *backends) warn(text string) { b.warnings = append(b.warnings, text) }
