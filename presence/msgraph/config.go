package msgraph

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/loopback"
)

// The services of the global cloud.
const (
	DefaultLogin = "https://login.microsoftonline.com"
	DefaultGraph = "https://graph.microsoft.com"
)

// Config configures an [App]. Tenant and ClientID are mandatory, and one of SecretFile and
// CertificateFile is; every other zero value is a default. What is negative is refused.
type Config struct {
	Tenant   string // the directory (tenant) ID, or a domain of the tenant
	ClientID string // the application (client) ID

	// SecretFile holds the client secret. White space at its end does not count. It is read
	// whenever a token is asked for, so that it can be replaced at any time.
	SecretFile string
	// CertificateFile holds the certificate whose key signs the assertion that takes the place of a
	// secret, in PEM; KeyFile its RSA key, unencrypted, where that is not in the same file. Both
	// are read as SecretFile is.
	CertificateFile, KeyFile string

	// Login and Graph are the services of the cloud that the tenant is in; defaults DefaultLogin
	// and DefaultGraph. They are https URLs without a path; http is for a loopback address only.
	Login, Graph string
	// HTTPClient sends the requests; nil: one with a copy of [http.DefaultTransport] that opens at
	// most 64 connections. Its CheckRedirect is not used: no redirection is followed.
	HTTPClient *http.Client

	Timeout time.Duration // of one request; default 30 seconds
	// RefusedPause is how long credentials that were refused are not sent again, unless the files
	// say something else by then; default 5 minutes. Until then everything fails with
	// [ErrUnauthorized].
	RefusedPause time.Duration
	// Lookups bounds how many users are looked for in a second; default 50.
	Lookups int
	// MaxResponse bounds an answer, in bytes: more is [ErrLimit]; default 16 MiB.
	MaxResponse int64
	Logger      *slog.Logger // default: silent
}

// complete fills in the defaults and checks.
func (c *Config) complete() error {
	check := conf.Of("msgraph: Config")
	check.Require("Tenant", c.Tenant != "")
	if strings.ContainsAny(c.Tenant, "/?#% ") {
		check.Failf("Tenant", "%q: want an ID or a domain", c.Tenant)
	}
	check.Require("ClientID", c.ClientID != "")
	switch {
	case c.SecretFile == "" && c.CertificateFile == "":
		check.Fail("SecretFile", errors.New("missing, and CertificateFile too"))
	case c.SecretFile != "" && c.CertificateFile != "":
		check.Fail("SecretFile", errors.New("there is a CertificateFile too"))
	case c.KeyFile != "" && c.CertificateFile == "":
		check.Fail("KeyFile", errors.New("without a CertificateFile"))
	}
	conf.Or(&c.KeyFile, c.CertificateFile)
	conf.Or(&c.Login, DefaultLogin)
	conf.Or(&c.Graph, DefaultGraph)
	check.Fail("Login", base(&c.Login))
	check.Fail("Graph", base(&c.Graph))
	conf.Default(check, "Timeout", &c.Timeout, 30*time.Second)
	conf.Default(check, "RefusedPause", &c.RefusedPause, 5*time.Minute)
	conf.Default(check, "Lookups", &c.Lookups, 50)
	conf.Default(check, "MaxResponse", &c.MaxResponse, 16<<20)
	conf.Or(&c.Logger, slog.New(slog.DiscardHandler))
	return check.Err()
}

// base checks the URL of a service, and takes the slash from its end.
func base(s *string) error {
	*s = strings.TrimSuffix(*s, "/")
	u, err := url.Parse(*s)
	if err != nil {
		return errors.New("malformed URL")
	}
	switch {
	case u.User != nil, u.Path != "", u.RawQuery != "", u.Fragment != "", u.Host == "":
		return errors.New("want only https:// and a host")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback.Is(u.Hostname())):
		return errors.New("must begin with https://")
	}
	return nil
}
