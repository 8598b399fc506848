package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// config is the configuration file. Every key is optional; defaultConfig has
// what counts without it. Paths are absolute once it is loaded.
type config struct {
	name string // of the file, for messages; empty for the demo
	demo bool   // the built-in directory and accounts

	overrides overrides // by the command line

	// Listen says where SIP is served: "udp:", "tcp:", "tls:", "ws:" or "wss:"
	// and host:port. Port 0 takes a free one.
	Listen []string `json:"listen"`
	// Advertise is where clients reach the server, where its sockets do not know
	// better: "sip.example.com", or "tcp:198.51.100.7:5070" for one transport.
	Advertise []string  `json:"advertise"`
	TLS       tlsConfig `json:"tls"`
	// Domains are the served domains. Without any, the To header alone says
	// who is meant.
	Domains []string `json:"domains"`
	// Dialect is "auto", "blustar" or "standard".
	Dialect string `json:"dialect"`
	// NAT says where NOTIFYs over UDP go: "auto", "always" (back to where the
	// SUBSCRIBE came from) or "never" (to the Contact).
	NAT string `json:"nat"`
	// AllStatuses shows BluStar clients away and other as RPID has them; else as
	// busy, with a text that says which it is (§3.2 has five statuses).
	AllStatuses bool `json:"all_statuses"`
	// NextAppointment shows the next appointment where none is running.
	NextAppointment bool `json:"next_appointment"`

	Auth authConfig `json:"auth"`
	// Policy is the file that says who may see how much of whom.
	Policy string `json:"policy"`
	// Accounts is the file of local accounts; AMCCs and Digest need it even
	// where Active Directory checks everybody else.
	Accounts        string           `json:"accounts"`
	Directory       *directoryConfig `json:"directory"`
	ActiveDirectory *adConfig        `json:"active_directory"`
	// Store has subscriptions and publications outlive the process; null: in memory.
	Store  *storeConfig `json:"store"`
	Limits limitsConfig `json:"limits"`
	HTTP   httpConfig   `json:"http"`
	Log    logConfig    `json:"log"`
}

type tlsConfig struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

type authConfig struct {
	Mode string `json:"mode"` // "required", "optional" or "off"
	LDAP bool   `json:"ldap"` // passwords are checked by bind at directory.ldap
	// UserAgents are words that mark a User-Agent as one of BluStar.
	UserAgents        []string `json:"user_agents"`
	Cipher            string   `json:"cipher"` // "tuz" or "aes-gcm"
	Session           duration `json:"session"`
	ChallengeLifetime duration `json:"challenge_lifetime"`
	AllowBasic        allowed  `json:"allow_basic"`       // false, true (over TLS), or "insecure" (anywhere)
	AllowOldDigest    allowed  `json:"allow_old_digest"`  // without qop (RFC 2069); likewise
	DigestAlgorithms  []string `json:"digest_algorithms"` // as they are offered
	RequireTLS        bool     `json:"require_tls"`
	AnySource         bool     `json:"any_source"` // sessions may move between addresses
	// SharedSources are addresses that many users have, of an SBC or a NAT: there,
	// somebody's failures do not count against the others.
	SharedSources []network `json:"shared_sources"`
	MaxFailures   int       `json:"max_failures"` // 0: no throttling
	FailureWindow duration  `json:"failure_window"`
}

// directoryConfig has one of its two.
type directoryConfig struct {
	File string      `json:"file"`
	LDAP *ldapConfig `json:"ldap"`
}

type ldapConfig struct {
	URL              urls      `json:"url"` // one, or a list to fail over
	StartTLS         bool      `json:"start_tls"`
	CAFile           string    `json:"ca_file"`
	BindDN           string    `json:"bind_dn"`
	BindPasswordFile string    `json:"bind_password_file"`
	BaseDN           string    `json:"base_dn"`
	Filter           string    `json:"filter"`
	SIPAttributes    []string  `json:"sip_attributes"`
	TelAttributes    []string  `json:"tel_attributes"`
	TelFormats       []string  `json:"tel_formats"` // "+49 89 1234-###"
	IDAttribute      string    `json:"id_attribute"`
	AccountAttribute string    `json:"account_attribute"`
	AccountDomain    string    `json:"account_domain"` // put before the account: DOMAIN\user
	MailAttribute    string    `json:"mail_attribute"`
	LineAttributes   []string  `json:"line_attributes"`
	GroupAttributes  []string  `json:"group_attributes"` // for policy
	NameAttribute    string    `json:"name_attribute"`
	Cache            *duration `json:"cache"` // 0: none
}

type adConfig struct {
	URL           urls   `json:"url"`
	StartTLS      bool   `json:"start_tls"`
	CAFile        string `json:"ca_file"`
	DefaultDomain string `json:"default_domain"` // of names without one
	BaseDN        string `json:"base_dn"`        // accounts elsewhere are refused
}

// limitsConfig has expiries in seconds, sizes in bytes.
type limitsConfig struct {
	MaxSubscribeExpires int `json:"max_subscribe_expires"`
	MaxPublishExpires   int `json:"max_publish_expires"`
	MinExpires          int `json:"min_expires"`
	MaxNote             int `json:"max_note"`
	MaxBody             int `json:"max_body"`
	MaxList             int `json:"max_list"`
	MaxSubscriptions    int `json:"max_subscriptions"`
}

type httpConfig struct {
	Listen    string `json:"listen"`     // empty: no control API
	TokenFile string `json:"token_file"` // empty: no token, and loopback only
	// MetricsToken asks for the token at /metrics too.
	MetricsToken bool `json:"metrics_token"`
}

type logConfig struct {
	Level  string `json:"level"`  // "debug", "info", "warn" or "error"
	Format string `json:"format"` // "text" or "json"
}

func defaultConfig() *config {
	return &config{
		Listen:  []string{"udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"},
		Dialect: "auto",
		NAT:     "auto",
		Auth: authConfig{
			Mode: "required", Cipher: "tuz", Session: duration(8 * time.Hour),
			ChallengeLifetime: duration(5 * time.Minute), MaxFailures: 4, FailureWindow: duration(15 * time.Minute),
		},
		Limits: limitsConfig{
			MaxSubscribeExpires: 300, MaxPublishExpires: 3600, MinExpires: 60,
			MaxNote: 1024, MaxBody: 65536, MaxList: 500, MaxSubscriptions: 200_000,
		},
		HTTP: httpConfig{Listen: "127.0.0.1:8080"},
		Log:  logConfig{Level: "info", Format: "text"},
	}
}

// configError is a bad configuration. It reads "file: key: reason".
type configError struct {
	File string
	Err  error
}

func (e *configError) Error() string {
	file := e.File
	if file == "" {
		file = "built-in configuration"
	}
	return file + ": " + oneLine(e.Err.Error())
}

func (e *configError) Unwrap() error { return e.Err }

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// loadConfig reads and checks a configuration file. What its other files hold
// is checked when the server is built. The error is a *configError.
func loadConfig(name string, o overrides) (*config, error) {
	c := defaultConfig()
	c.name, c.overrides = name, o
	data, err := readFile(name, maxConfig)
	if err == nil {
		err = decodeStrict(data, c)
	}
	if err == nil {
		err = c.resolve(filepath.Dir(name))
	}
	if err == nil {
		o.apply(c)
		err = c.check()
	}
	if err != nil {
		return nil, c.bad("", err)
	}
	return c, nil
}

// overrides are what the command line says in place of the configuration.
type overrides struct {
	listen string  // with commas between; empty: as configured
	http   *string // nil: as configured
}

func (o overrides) apply(c *config) {
	if o.listen != "" {
		c.Listen = strings.Split(o.listen, ",")
	}
	if o.http != nil {
		c.HTTP.Listen = *o.http
	}
}

// bad makes err a configError of this key, or of one below it where err names it.
func (c *config) bad(key string, err error) error {
	if below, ok := errors.AsType[*fieldError](err); ok && key != "" {
		err = &fieldError{key + "." + below.Field, below.Reason}
	} else if key != "" {
		err = &fieldError{key, err.Error()}
	}
	return &configError{c.name, err}
}

// resolve makes the paths absolute, and fills the defaults of optional objects
// in.
func (c *config) resolve(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	paths := []*string{&c.TLS.Cert, &c.TLS.Key, &c.Accounts, &c.Policy, &c.HTTP.TokenFile}
	if c.Store != nil {
		paths = append(paths, &c.Store.File)
	}
	if d := c.Directory; d != nil {
		paths = append(paths, &d.File)
		if l := d.LDAP; l != nil {
			l.complete()
			paths = append(paths, &l.CAFile, &l.BindPasswordFile)
		}
	}
	if ad := c.ActiveDirectory; ad != nil {
		paths = append(paths, &ad.CAFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return nil
}

func (l *ldapConfig) complete() {
	for _, s := range []struct {
		v   *string
		def string
	}{
		{&l.Filter, "(objectClass=person)"}, {&l.IDAttribute, "entryUUID"}, {&l.AccountAttribute, "uid"},
		{&l.MailAttribute, "mail"}, {&l.NameAttribute, "displayName"},
	} {
		if *s.v == "" {
			*s.v = s.def
		}
	}
	if l.SIPAttributes == nil {
		l.SIPAttributes = []string{"mail"}
	}
	if l.TelAttributes == nil {
		l.TelAttributes = []string{"telephoneNumber"}
	}
	if l.LineAttributes == nil {
		l.LineAttributes = []string{"telephoneNumber"}
	}
	if l.Cache == nil {
		five := duration(5 * time.Minute)
		l.Cache = &five
	}
}

// duration is written "8h", "5m", "90s".
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return errors.New(`want a duration such as "5m"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q: want a duration such as \"5m\"", printable(s))
	}
	*d = duration(v)
	return nil
}

// allowed is false, true or "insecure"; here "", "tls" or "insecure".
type allowed string

func (a *allowed) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "false":
		*a = ""
	case "true":
		*a = "tls"
	case `"insecure"`:
		*a = "insecure"
	default:
		return errors.New(`want false, true or "insecure"`)
	}
	return nil
}

// network is written "192.0.2.0/24", or as an address alone.
type network netip.Prefix

func (n *network) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return errors.New(`want a network such as "192.0.2.0/24"`)
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		*n = network(netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf(`%q: want a network such as "192.0.2.0/24"`, printable(s))
	}
	*n = network(p)
	return nil
}

// urls is a string or a list of strings.
type urls []string

func (u *urls) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil && one != "" {
		*u = urls{one}
		return nil
	}
	var list []string
	if json.Unmarshal(text, &list) != nil || len(list) == 0 {
		return errors.New("want a URL, or a list of them")
	}
	*u = list
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, path.Err // who calls names the file
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("is a folder")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return os.ReadFile(name)
}

// oneLine keeps a message to one line, whatever it quotes.
func oneLine(s string) string { return strings.Join(strings.FieldsFunc(s, isBreak), " ") }

func isBreak(r rune) bool { return r == '\n' || r == '\r' }
