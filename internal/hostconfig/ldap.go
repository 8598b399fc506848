package hostconfig

import (
	"crypto/tls"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/loopback"
)

// Open returns the directory of users. It connects when it is asked.
func (l *LDAP) Open(log *slog.Logger) (*ldapdir.Directory, error) {
	server, err := ldapServer(l.URL, l.StartTLS, l.CAFile, log)
	if err != nil {
		return nil, err
	}
	cfg := ldapdir.Config{
		Server: server,
		BindDN: l.BindDN, BaseDN: l.BaseDN, Filter: l.Filter,
		SIPAttributes: l.SIPAttributes, TelAttributes: l.TelAttributes, TelFormats: l.TelFormats,
		IDAttribute: l.IDAttribute, AccountAttribute: l.AccountAttribute, Domain: l.AccountDomain,
		NameAttribute: l.NameAttribute, MailAttribute: l.MailAttribute, LineAttributes: l.LineAttributes,
		GroupAttributes: l.GroupAttributes,
		Lifetime:        time.Duration(*l.Cache), NegativeLifetime: min(time.Duration(*l.Cache), 30*time.Second),
	}
	if *l.Cache == 0 {
		cfg.Lifetime, cfg.NegativeLifetime = -1, -1
	}
	if l.BindPasswordFile != "" {
		if _, err := os.Stat(l.BindPasswordFile); err != nil {
			return nil, Wrong("bind_password_file", "%s", err)
		}
		cfg.BindPassword = ldapdir.PasswordFile(l.BindPasswordFile)
	}
	return ldapdir.New(cfg)
}

// OpenVerifier returns who checks passwords by bind at the same directory.
func (l *LDAP) OpenVerifier(log *slog.Logger) (*ldapdir.BindVerifier, error) {
	server, err := ldapServer(l.URL, l.StartTLS, l.CAFile, log)
	if err != nil {
		return nil, err
	}
	bind := ldapdir.BindConfig{
		Server: server, AllowPlaintext: l.isLocal(), BindDN: l.BindDN, BaseDN: l.BaseDN, Filter: l.Filter,
		AccountAttribute: l.AccountAttribute, IDAttribute: l.IDAttribute, Domain: l.AccountDomain,
	}
	if l.BindPasswordFile != "" {
		bind.BindPassword = ldapdir.PasswordFile(l.BindPasswordFile)
	}
	return ldapdir.NewBindVerifier(bind)
}

// isLocal reports whether the directory is on this machine, where passwords may go to
// it in the clear.
func (l *LDAP) isLocal() bool {
	return !slices.ContainsFunc(l.URL, func(text string) bool {
		u, err := url.Parse(text)
		return err != nil || !loopback.Is(u.Host)
	})
}

// OpenVerifier returns who checks passwords at Active Directory. Users, which may be nil,
// is the directory that has the same users.
func (ad *ActiveDirectory) OpenVerifier(users *ldapdir.Directory, log *slog.Logger) (*ldapdir.ADVerifier, error) {
	server, err := ldapServer(ad.URL, ad.StartTLS, ad.CAFile, log)
	if err != nil {
		return nil, err
	}
	return ldapdir.NewADVerifier(ldapdir.ADConfig{Server: server, DefaultDomain: ad.DefaultDomain, BaseDN: ad.BaseDN, Users: users})
}

func ldapServer(from URLs, startTLS bool, caFile string, log *slog.Logger) (ldapdir.Server, error) {
	s := ldapdir.Server{URLs: from, StartTLS: startTLS, Logger: log}
	if caFile != "" {
		roots, err := ldapdir.LoadCA(caFile)
		if err != nil {
			return s, Wrong("ca_file", "%s", err)
		}
		s.TLS = &tls.Config{RootCAs: roots}
	}
	return s, nil
}
