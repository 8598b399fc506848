package hostconfig

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/strictjson"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/presence/ews"
	"github.com/openblustar/blustar/presence/msgraph"
	"github.com/openblustar/blustar/sipx"
)

// PBX tells the state of lines (RFC 4235). The devices are sip:NUMBER@ its host.
type PBX struct {
	URI          string   `json:"uri"`  // "sip:pbx.example.com", ";transport=tcp" after it
	From         string   `json:"from"` // who subscribes, as the PBX knows it
	Username     string   `json:"username"`
	PasswordFile string   `json:"password_file"`
	Expires      Duration `json:"expires"` // of a subscription; default 5 minutes
}

func (p *PBX) check() error {
	if p == nil {
		return nil
	}
	if _, _, err := p.uris(); err != nil {
		return err
	}
	return checkSecret("pbx.password_file", p.Username, p.PasswordFile)
}

func (p *PBX) uris() (pbx, from sipx.URI, err error) {
	if pbx, err = sipx.ParseURI(p.URI); err != nil {
		return pbx, from, Wrong("pbx.uri", "%q: %v", strictjson.Printable(p.URI), err)
	}
	if from, err = sipx.ParseURI(p.From); err != nil {
		return pbx, from, Wrong("pbx.from", "%q: %v", strictjson.Printable(p.From), err)
	}
	return pbx, from, nil
}

// Open returns the monitor of lines, which speaks SIP by way of sender.
func (p *PBX) Open(sender sipx.Sender, log *slog.Logger) (*dialoginfo.Monitor, error) {
	pbx, from, err := p.uris()
	if err != nil {
		return nil, err
	}
	password, err := readSecret(p.PasswordFile)
	if err != nil {
		return nil, err
	}
	defer password.Wipe() // the monitor has its own copy
	return dialoginfo.New(dialoginfo.Config{
		Sender: sender, PBX: pbx, From: from, Username: p.Username, Password: password,
		Expires: time.Duration(p.Expires), Logger: log,
	})
}

// Calendar is where appointments are. One account reads all mailboxes.
type Calendar struct {
	Kind string `json:"kind"` // "caldav", "ews" (Exchange on premises) or "graph" (Exchange Online)
	// URL is, for caldav, that of one mailbox, with {mail}, or {user} and {domain}, in
	// it; for ews, that of the end point.
	URL string `json:"url"`
	// Autodiscover are the domains in which ews looks for the end point instead.
	Autodiscover []string `json:"autodiscover"`
	CAFile       string   `json:"ca_file"`
	Username     string   `json:"username"`
	PasswordFile string   `json:"password_file"` // read whenever the password is sent
	Basic        bool     `json:"basic"`         // ews: sign in by Basic, else by NTLM
	// Access is how ews reads: "impersonation", "delegation" or "availability".
	Access string `json:"access"`
	// OutOfOffice shows what owners say of being out of office: ews, by impersonation.
	OutOfOffice bool `json:"out_of_office"`
	// Schedules has graph ask for free and busy times only, on behalf of this mailbox.
	Schedules string   `json:"schedules"`
	Interval  Duration `json:"interval"` // between polls; default 1 minute
}

// The kinds of calendars.
const (
	kindCalDAV = "caldav"
	kindEWS    = "ews"
	kindGraph  = "graph"
)

func (l *Calendar) complete() {
	if l.Kind == "" {
		l.Kind = kindCalDAV
	}
	if l.Access == "" {
		l.Access = "impersonation"
	}
	if l.Interval == 0 {
		l.Interval = Duration(time.Minute)
	}
}

func (c *Config) checkCalendar() error {
	l := c.Calendar
	if l == nil {
		return nil
	}
	switch l.Kind {
	case kindCalDAV:
		// With one account for all mailboxes, discovery would find the calendars of
		// that account, and show them as everybody's.
		if !strings.Contains(l.URL, "{mail}") && !strings.Contains(l.URL, "{user}") {
			return Wrong("calendar.url", "%q: want one with {mail} or {user}, which make it a mailbox's own", strictjson.Printable(l.URL))
		}
	case kindEWS:
		if l.Username == "" {
			return Wrong("calendar.username", "missing")
		}
	case kindGraph:
		if l.URL != "" || l.Username != "" {
			return Wrong("calendar.url", "kind graph takes its account from microsoft, and neither url nor username")
		}
		if c.Microsoft == nil {
			return Wrong("microsoft", "missing, but calendar.kind is graph")
		}
	default:
		return Wrong("calendar.kind", "%q: want caldav, ews or graph", strictjson.Printable(l.Kind))
	}
	switch {
	case l.Kind != kindEWS && (l.Autodiscover != nil || l.Basic || l.Access != "impersonation" || l.OutOfOffice):
		return Wrong("calendar.kind", "autodiscover, basic, access and out_of_office are for kind ews")
	case l.Kind != kindGraph && l.Schedules != "":
		return Wrong("calendar.schedules", "is for kind graph")
	}
	return checkSecret("calendar.password_file", l.Username, l.PasswordFile)
}

// Microsoft is the application that is registered with Microsoft 365.
type Microsoft struct {
	Tenant          string `json:"tenant"`
	ClientID        string `json:"client_id"`
	SecretFile      string `json:"secret_file"`
	CertificateFile string `json:"certificate_file"` // PEM, with its key or beside KeyFile; in place of a secret
	KeyFile         string `json:"key_file"`
	Login           string `json:"login"` // of a national cloud
	Graph           string `json:"graph"`
}

func (c *Config) checkMicrosoft() error {
	switch {
	case c.Teams != nil && c.Microsoft == nil:
		return Wrong("microsoft", "missing, but there is teams")
	case c.Teams != nil && c.Teams.Write && c.PBX == nil:
		return Wrong("teams.write", "needs pbx")
	}
	return nil
}

// Teams shows what Teams says of users.
type Teams struct {
	Interval Duration `json:"interval"` // between two readings of a user; default 10 seconds
	// Write shows calls on lines of the PBX in Teams, of users who are watched.
	Write bool `json:"write"`
}

// Sources are the monitors of lines, calendars and Teams that a configuration names; of
// the others, nil.
type Sources struct {
	Lines    presence.LineMonitor
	Calendar presence.CalendarMonitor
	External presence.ExternalMonitor

	pbx    *dialoginfo.Monitor
	app    *msgraph.App
	writer *msgraph.Writer
	web    []*http.Transport
	stop   context.CancelFunc // of the writer
	ended  chan struct{}
}

// OpenSources makes the monitors. A PBX is asked by way of sender; nil: it is not asked. The
// error is an *Error. Nobody is asked before they are used.
func (c *Config) OpenSources(sender sipx.Sender, log *slog.Logger) (*Sources, error) {
	s := new(Sources)
	if sender == nil {
		sender = offline{}
	}
	for _, step := range []struct {
		key  string
		open func(*Config, sipx.Sender, *slog.Logger) error
	}{{"pbx", s.openPBX}, {"microsoft", s.openMicrosoft}, {"calendar", s.openCalendar}, {"teams", s.openTeams}} {
		if err := step.open(c, sender, log); err != nil {
			return nil, c.Bad(step.key, err)
		}
	}
	return s, nil
}

// offline is a stack without a socket.
type offline struct{}

func (offline) Send(req *sipx.Request, done sipx.ResponseHandler) {
	done.HandleResponse(req, nil, sipx.ErrTimeout)
}
func (offline) Contact(sipx.Flow) string { return "<sip:127.0.0.1>" }

func (s *Sources) openPBX(c *Config, sender sipx.Sender, log *slog.Logger) (err error) {
	if c.PBX == nil {
		return nil
	}
	s.pbx, err = c.PBX.Open(sender, log)
	s.Lines = s.pbx
	return err
}

func (s *Sources) openMicrosoft(c *Config, _ sipx.Sender, log *slog.Logger) (err error) {
	m := c.Microsoft
	if m == nil {
		return nil
	}
	s.app, err = msgraph.New(msgraph.Config{
		Tenant: m.Tenant, ClientID: m.ClientID, SecretFile: m.SecretFile, CertificateFile: m.CertificateFile, KeyFile: m.KeyFile,
		Login: m.Login, Graph: m.Graph, HTTPClient: &http.Client{Transport: s.transport(nil)}, Logger: log,
	})
	return err
}

// transport returns one that ends with the sources.
func (s *Sources) transport(secure *tls.Config) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = secure
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 32, 64
	s.web = append(s.web, t)
	return t
}

func (s *Sources) openCalendar(c *Config, _ sipx.Sender, log *slog.Logger) (err error) {
	l := c.Calendar
	if l == nil {
		return nil
	}
	var secure *tls.Config
	if l.CAFile != "" {
		roots, err := ldapdir.LoadCA(l.CAFile)
		if err != nil {
			return Wrong("ca_file", "%s", err)
		}
		secure = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	interval := time.Duration(l.Interval)
	timeout := min(interval, 30*time.Second)
	switch l.Kind {
	case kindGraph:
		s.Calendar, err = s.app.NewCalendar(msgraph.CalendarConfig{Schedules: l.Schedules, Interval: interval, Timeout: timeout})
	case kindEWS:
		cfg := ews.Config{
			URL: l.URL, Autodiscover: l.Autodiscover, TLS: secure, Interval: interval, Timeout: timeout, Logger: log,
			Credentials: ews.PasswordFile(l.Username, l.PasswordFile), Access: ews.Access(without(l.Access, "impersonation")),
		}
		if l.Basic {
			cfg.Scheme = ews.Basic
		}
		if l.OutOfOffice {
			cfg.OutOfOffice = new(ews.OutOfOffice)
		}
		s.Calendar, err = ews.New(cfg)
	default:
		s.Calendar, err = caldav.New(caldav.Config{
			URL: l.URL, HTTPClient: &http.Client{Transport: s.transport(secure)}, Interval: interval, Timeout: timeout, Logger: log,
			Credentials: func(context.Context, string) (caldav.Credentials, error) {
				password, err := readSecret(l.PasswordFile) // again, because it may have changed
				return caldav.Credentials{User: l.Username, Password: password}, err
			},
		})
	}
	return err
}

func (s *Sources) openTeams(c *Config, _ sipx.Sender, _ *slog.Logger) error {
	if c.Teams == nil {
		return nil
	}
	teams, err := s.app.NewTeams(msgraph.TeamsConfig{Interval: time.Duration(c.Teams.Interval)})
	if err != nil {
		return err
	}
	s.External = teams
	if c.Teams.Write {
		if s.writer, err = teams.NewWriter(msgraph.WriterConfig{}); err != nil {
			return err
		}
		s.Lines, s.External = s.writer.Monitors(s.Lines)
	}
	return nil
}

// Handler is who serves SIP requests: NOTIFYs of the PBX come before next.
func (s *Sources) Handler(next sipx.Handler) sipx.Handler {
	if s.pbx == nil {
		return next
	}
	return s.pbx.Handler(next)
}

// Start has calls written to Teams, where they are to be, until Close.
func (s *Sources) Start() {
	if s.writer == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.ended = cancel, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.writer.Serve(ctx) // the error is that of ctx
	}()
}

// Close takes back what was written to Teams, as far as that is possible until ctx ends,
// and closes idle connections. The monitors have ended before.
func (s *Sources) Close(ctx context.Context) {
	if s.stop != nil {
		s.stop()
		select {
		case <-s.ended:
		case <-ctx.Done():
		}
	}
	for _, t := range s.web {
		t.CloseIdleConnections()
	}
}

// checkSecret checks that a password file goes with a user name, and can be read.
func checkSecret(key, user, file string) error {
	if (user == "") != (file == "") {
		return Wrong(key, "goes with a user name")
	}
	password, err := readSecret(file)
	if err != nil {
		return Wrong(key, "%s", err)
	}
	password.Wipe()
	return nil
}

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
		return auth.Secret{}, errors.New(name + " is empty")
	}
	return auth.NewSecret(password), nil
}

// DescribeSources says what the sources are for.
func (c *Config) DescribeSources() (lines []string) {
	if p := c.PBX; p != nil {
		lines = append(lines, "ask "+p.URI+" for the state of lines")
	}
	if l := c.Calendar; l != nil {
		lines = append(lines, fmt.Sprintf("read calendars by %s, every %v", l.Kind, time.Duration(l.Interval)))
	}
	if t := c.Teams; t != nil {
		text := "show what Teams says of users"
		if t.Write {
			text += ", and calls in Teams"
		}
		lines = append(lines, text)
	}
	return lines
}
