package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/sipx"
)

// config is the configuration file. Relative paths are relative to it, and are
// absolute once it is loaded. Passwords are in files of their own.
type config struct {
	name string // of the file

	// Listen is for clients and for the PBX: "udp:", "tcp:", "tls:", "ws:" or
	// "wss:" and host:port. Port 0 takes a free one.
	Listen []string `json:"listen"`
	// Advertise is where peers reach the gateway, where that is not at its own
	// addresses: "sip.example.com", "tcp:198.51.100.7:5070".
	Advertise []string `json:"advertise"`
	// Domains are the served domains. Without any, the To header alone says who
	// is meant (BSP-2.1-3).
	Domains []string `json:"domains"`
	// Log is "debug", "info", "warn" or "error".
	Log       string          `json:"log"`
	TLS       tlsConfig       `json:"tls"`
	Directory directoryConfig `json:"directory"`
	PBX       pbxConfig       `json:"pbx"`
	Calendar  calendarConfig  `json:"calendar"`
	Microsoft microsoftConfig `json:"microsoft"` // for the calendars of kind graph, and Teams
	Teams     teamsConfig     `json:"teams"`
}

type tlsConfig struct {
	Cert string `json:"cert"` // PEM, to listen with
	Key  string `json:"key"`
	CA   string `json:"ca"` // checks directory, calendar and PBX; empty: the system's
	// Required takes passwords over tls and wss only (BSP-2.10-11).
	Required bool `json:"required"`
}

// directoryConfig finds users and checks their passwords.
type directoryConfig struct {
	URLs             []string `json:"urls"`             // the first one that works is used
	ActiveDirectory  bool     `json:"active_directory"` // else a plain LDAP server
	StartTLS         bool     `json:"start_tls"`
	BindDN           string   `json:"bind_dn"`
	BindPasswordFile string   `json:"bind_password_file"`
	BaseDN           string   `json:"base_dn"`
	Domain           string   `json:"domain"` // that of DOMAIN\user
	// Attributes, where they are not those that are usual for the kind of
	// directory: of addresses in order of preference, and of the device numbers.
	SIPAttributes  []string `json:"sip_attributes"`
	TelAttributes  []string `json:"tel_attributes"`
	LineAttributes []string `json:"line_attributes"`
}

type pbxConfig struct {
	URI          string `json:"uri"`  // "sip:pbx.example.com", ";transport=tcp" after it
	From         string `json:"from"` // who subscribes, as the PBX knows it
	Username     string `json:"username"`
	PasswordFile string `json:"password_file"`
	Expires      int    `json:"expires"` // of a subscription, in seconds
}

type calendarConfig struct {
	Kind         string `json:"kind"` // "caldav", "ews" or "graph"
	URL          string `json:"url"`  // caldav: of one mailbox, with {mail} or {user}; ews: of the end point
	Username     string `json:"username"`
	PasswordFile string `json:"password_file"`
	Interval     int    `json:"interval"` // between polls, in seconds
}

// microsoftConfig is the application that is registered with Microsoft 365.
type microsoftConfig struct {
	Tenant          string `json:"tenant"`
	ClientID        string `json:"client_id"`
	SecretFile      string `json:"secret_file"`
	CertificateFile string `json:"certificate_file"` // PEM, with its key or beside KeyFile; in place of a secret
	KeyFile         string `json:"key_file"`
	Login           string `json:"login"` // of a national cloud
	Graph           string `json:"graph"`
}

// teamsConfig says whether the presence of users is read from Teams.
type teamsConfig struct {
	Read     bool `json:"read"`
	Interval int  `json:"interval"` // between two readings of a user, in seconds
}

// configError is a bad configuration. It reads "file: key: reason", in one line.
type configError struct {
	file, key string
	err       error
}

func (e *configError) Error() string {
	text := e.file + ": "
	if e.key != "" {
		text += e.key + ": "
	}
	return text + strings.Join(strings.Fields(e.err.Error()), " ")
}

func (e *configError) Unwrap() error { return e.err }

// bad makes err a *configError about key; of nil it makes nil.
func (c *config) bad(key string, err error) error {
	if err == nil {
		return nil
	}
	return &configError{c.name, key, err}
}

// maxConfig bounds the configuration file, in bytes.
const maxConfig = 1 << 20

// loadConfig reads a configuration file and checks what the packages that it is
// for do not. The error is a *configError.
func loadConfig(name string) (*config, error) {
	c := &config{name: name, Log: "info", PBX: pbxConfig{Expires: 300}, Calendar: calendarConfig{Kind: "caldav", Interval: 60}, Teams: teamsConfig{Interval: 10}}
	f, err := os.Open(name)
	if err != nil {
		return nil, c.bad("", errors.Unwrap(err)) // without the name, which is there already
	}
	defer f.Close()
	if err := decode(io.LimitReader(f, maxConfig), c); err != nil {
		return nil, c.bad("", err)
	}
	for _, path := range []*string{
		&c.TLS.Cert, &c.TLS.Key, &c.TLS.CA, &c.Directory.BindPasswordFile, &c.PBX.PasswordFile, &c.Calendar.PasswordFile,
		&c.Microsoft.SecretFile, &c.Microsoft.CertificateFile, &c.Microsoft.KeyFile,
	} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(name), *path)
		}
	}
	return c, c.check()
}

// decode reads one JSON object; unknown keys are errors.
func decode(r io.Reader, c *config) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(c)
	if err == nil && d.More() {
		err = errors.New("text after the end of the object")
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Errorf("%s: cannot be a %s", wrong.Field, wrong.Value)
	}
	if err != nil {
		return errors.New(strings.Replace(strings.TrimPrefix(err.Error(), "json: "), "unknown field", "unknown key", 1))
	}
	return nil
}

func (c *config) check() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log)); err != nil {
		return c.bad("log", fmt.Errorf("%q: want debug, info, warn or error", c.Log))
	}
	for _, l := range c.Listen {
		if (strings.HasPrefix(l, "tls:") || strings.HasPrefix(l, "wss:")) && (c.TLS.Cert == "" || c.TLS.Key == "") {
			return c.bad("listen", fmt.Errorf("%q needs tls.cert and tls.key", l))
		}
	}
	switch c.Calendar.Kind {
	case kindCalDAV:
		// With one account for all mailboxes, discovery would find the calendars of
		// that account, and show them as everybody's.
		if !strings.Contains(c.Calendar.URL, "{mail}") && !strings.Contains(c.Calendar.URL, "{user}") {
			return c.bad("calendar.url", fmt.Errorf("%q: want one with {mail} or {user}, which make it a mailbox's own", c.Calendar.URL))
		}
	case kindEWS: // one end point, one account
	case kindGraph:
		if c.Calendar.URL != "" || c.Calendar.Username != "" {
			return c.bad("calendar.url", errors.New("kind graph takes its account from microsoft, and neither url nor username"))
		}
	default:
		return c.bad("calendar.kind", fmt.Errorf("%q: want caldav, ews or graph", c.Calendar.Kind))
	}
	for key, seconds := range map[string]int{
		"calendar.interval": c.Calendar.Interval, "pbx.expires": c.PBX.Expires, "teams.interval": c.Teams.Interval,
	} {
		if seconds < 1 {
			return c.bad(key, errors.New("want at least 1 second"))
		}
	}
	for _, secret := range []struct{ key, user, file string }{
		{"directory.bind_password_file", c.Directory.BindDN, c.Directory.BindPasswordFile},
		{"pbx.password_file", c.PBX.Username, c.PBX.PasswordFile},
		{"calendar.password_file", c.Calendar.Username, c.Calendar.PasswordFile},
	} {
		if (secret.user == "") != (secret.file == "") {
			return c.bad(secret.key, errors.New("goes with a user name"))
		}
		password, err := readSecret(secret.file)
		if err != nil {
			return c.bad(secret.key, err)
		}
		password.Wipe()
	}
	return nil
}

// The kinds of calendars.
const (
	kindCalDAV = "caldav"
	kindEWS    = "ews"   // Exchange on premises
	kindGraph  = "graph" // Exchange Online, by Microsoft Graph
)

// readSecret reads a password, without the line break after it; without a file
// there is none.
func readSecret(name string) (auth.Secret, error) {
	if name == "" {
		return auth.Secret{}, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return auth.Secret{}, err
	}
	password := bytes.TrimRight(text, "\r\n")
	if len(password) == 0 {
		return auth.Secret{}, fmt.Errorf("%s is empty", name)
	}
	return auth.NewSecret(password), nil
}

// load returns what TLS connections of all kinds are made with.
func (t *tlsConfig) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		roots, err := ldapdir.LoadCA(t.CA)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = roots
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// ldap returns what the configuration says of the directory of users.
func (d *directoryConfig) ldap() ldapdir.Config {
	cfg := ldapdir.Config{SIPAttributes: []string{"mail"}, TelAttributes: []string{"telephoneNumber"}}
	if d.ActiveDirectory {
		cfg = ldapdir.ActiveDirectory()
	}
	cfg.URLs, cfg.StartTLS, cfg.BaseDN, cfg.Domain = d.URLs, d.StartTLS, d.BaseDN, d.Domain
	cfg.BindDN = d.BindDN
	if d.BindPasswordFile != "" {
		cfg.BindPassword = ldapdir.PasswordFile(d.BindPasswordFile)
	}
	if d.SIPAttributes != nil {
		cfg.SIPAttributes = d.SIPAttributes
	}
	if d.TelAttributes != nil {
		cfg.TelAttributes = d.TelAttributes
	}
	if d.LineAttributes != nil {
		cfg.LineAttributes = d.LineAttributes
	}
	return cfg
}

// uris returns the two of the PBX.
func (p *pbxConfig) uris() (pbx, from sipx.URI, err error) {
	if pbx, err = sipx.ParseURI(p.URI); err != nil {
		return pbx, from, fmt.Errorf("uri %q: %w", p.URI, err)
	}
	if from, err = sipx.ParseURI(p.From); err != nil {
		return pbx, from, fmt.Errorf("from %q: %w", p.From, err)
	}
	return pbx, from, nil
}

func (c *config) newLogger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Log)) // checked
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
