// Command gateway brings a PBX, a calendar server and an LDAP directory together
// for BluStar clients:
//
//	PBX, by BLF (RFC 4235)      ─┐
//	calendars, by CalDAV, EWS    │
//	  or Microsoft Graph         ├─ presence server ── BluStar clients
//	Teams, by Microsoft Graph    │
//	LDAP or Active Directory    ─┘
//
//	gateway -config gateway.json
//	gateway check -config gateway.json [-online [-user sip:tom@example.com]]
//
// check looks at the configuration; with -online it also asks everybody that it names.
// It exits with 0 after SIGINT or SIGTERM, 1 where it could not run, and 2 for bad
// arguments or a bad configuration.
//
// This file is the wiring, to be copied from; config.go is the configuration.
// The PBX is spoken to through the stack of the presence server: one port, one
// handler in front of the other.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // calendars name time zones, and a small system has none

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/presence/ews"
	"github.com/openblustar/blustar/presence/msgraph"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// closeTime bounds the shutdown: the last NOTIFYs to clients, and the farewells to
// the PBX.
const closeTime = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// run is the program. It ends when ctx does.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error goes to one line of its own
	name := flags.String("config", "gateway.json", "configuration `file`")
	var check checking
	work := func() error { return serve(ctx, *name, stderr) }
	if len(args) > 0 && args[0] == "check" {
		args = args[1:]
		check.flags(flags)
		work = func() error { return check.run(ctx, *name, stderr) }
	}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		flags.Usage()
		return 0
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return 2
	}
	if err := work(); err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		if _, bad := errors.AsType[*configError](err); bad {
			return 2
		}
		return 1
	}
	return 0
}

func serve(ctx context.Context, name string, stderr io.Writer) error {
	c, err := loadConfig(name)
	if err != nil {
		return err
	}
	g := &gateway{log: c.newLogger(stderr)}
	defer g.close()
	if err := g.open(c); err != nil {
		return err
	}
	return g.serve(ctx, stderr)
}

// gateway is what runs until it is shut down.
type gateway struct {
	log     *slog.Logger
	stack   *stack.Stack
	server  *presence.Server
	handler sipx.Handler // the PBX's NOTIFYs, and everything else for the server
	running sync.WaitGroup
	cleanup []func(context.Context)
}

// open puts the parts together and opens the sockets. That the PBX, the calendar
// server or the directory is down is no error: they are asked when they are
// needed, and asked again until they answer (BSP-2.1-8, BSX-2).
func (g *gateway) open(c *config) error {
	secure, err := c.TLS.load()
	if err != nil {
		return c.bad("tls", err)
	}
	// Whose address is this, which are their devices and their mailbox, and is
	// it their password?
	users, passwords, err := g.openDirectory(c.Directory, secure)
	if err != nil {
		return c.bad("directory", err)
	}
	guard, err := auth.New(auth.Config{Verifier: passwords, RequireTLS: c.TLS.Required, Logger: g.log})
	if err != nil {
		return err
	}
	g.stack, err = stack.Listen(stack.Config{Listen: c.Listen, Advertise: c.Advertise, TLS: secure, Logger: g.log})
	if _, taken := errors.AsType[*net.OpError](err); taken {
		return err
	} else if err != nil {
		return c.bad("listen", err)
	}
	lines, err := g.openPBX(c.PBX)
	if err != nil {
		return c.bad("pbx", err)
	}
	m, err := g.openMonitors(c, secure)
	if err != nil {
		return err
	}
	// The server starts a monitor with the first watcher of a user who has that
	// device or mailbox, and ends it after the last (BSP-2.1-6).
	g.server, err = presence.New(presence.Config{
		Sender: g.stack, Directory: users, Guard: guard, Domains: c.Domains,
		Lines: lines, Calendar: m.calendars, External: m.teams, Logger: g.log,
	})
	if err != nil {
		return err
	}
	g.handler = lines.Handler(g.server)
	return nil
}

// openDirectory returns the directory of users and who checks their passwords,
// by a bind. Both find the same ID for a user, so that nobody publishes for
// somebody else (BSP-2.4-7).
func (g *gateway) openDirectory(d directoryConfig, secure *tls.Config) (*ldapdir.Directory, auth.Verifier, error) {
	cfg := d.ldap()
	cfg.TLS, cfg.Logger = secure, g.log
	users, err := ldapdir.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	g.cleanup = append(g.cleanup, func(ctx context.Context) { _ = users.Close(ctx) })
	if d.ActiveDirectory {
		passwords, err := ldapdir.NewADVerifier(ldapdir.ADConfig{Server: cfg.Server, DefaultDomain: cfg.Domain, BaseDN: cfg.BaseDN, Users: users})
		return users, passwords, err
	}
	passwords, err := ldapdir.NewBindVerifier(ldapdir.BindConfig{
		Server: cfg.Server, BindDN: cfg.BindDN, BindPassword: cfg.BindPassword, BaseDN: cfg.BaseDN, Domain: cfg.Domain,
	})
	if err != nil {
		return nil, nil, err
	}
	g.cleanup = append(g.cleanup, func(context.Context) { passwords.Close() })
	return users, passwords, nil
}

// openPBX returns the monitor of lines (BSP-2.5-1). It subscribes to a device at
// sip:NUMBER@ the PBX's host; dialoginfo.Config.Target would say otherwise.
func (g *gateway) openPBX(p pbxConfig) (*dialoginfo.Monitor, error) {
	uri, from, err := p.uris()
	if err != nil {
		return nil, err
	}
	password, err := readSecret(p.PasswordFile)
	if err != nil {
		return nil, err
	}
	defer password.Wipe() // the monitor has its own copy
	return dialoginfo.New(dialoginfo.Config{
		Sender: g.stack, PBX: uri, From: from,
		Username: p.Username, Password: password,
		Expires: time.Duration(p.Expires) * time.Second, Logger: g.log,
	})
}

// monitors are those that ask servers by HTTP.
type monitors struct {
	calendars presence.CalendarMonitor
	teams     presence.ExternalMonitor // nil: none
	app       *msgraph.App             // nil: none
}

// openMonitors returns the monitors of mailboxes and of Teams (BSP-2.6-1, BSP-2.7-1).
func (g *gateway) openMonitors(c *config, secure *tls.Config) (m monitors, err error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: secure.RootCAs}
	g.cleanup = append(g.cleanup, func(context.Context) { transport.CloseIdleConnections() })
	web := &http.Client{Transport: transport}
	if c.Calendar.Kind == kindGraph || c.Teams.Read {
		a := c.Microsoft
		m.app, err = msgraph.New(msgraph.Config{
			Tenant: a.Tenant, ClientID: a.ClientID, SecretFile: a.SecretFile, CertificateFile: a.CertificateFile, KeyFile: a.KeyFile,
			Login: a.Login, Graph: a.Graph, HTTPClient: web, Logger: g.log,
		})
		if err != nil {
			return m, c.bad("microsoft", err)
		}
	}
	interval := time.Duration(c.Calendar.Interval) * time.Second
	switch c.Calendar.Kind {
	case kindGraph:
		m.calendars, err = m.app.NewCalendar(msgraph.CalendarConfig{Interval: interval, Timeout: min(interval, 30*time.Second)})
	case kindEWS:
		cfg := ews.Config{
			URL: c.Calendar.URL, TLS: transport.TLSClientConfig, Interval: interval, Timeout: min(interval, 30*time.Second), Logger: g.log,
		}
		if c.Calendar.Username != "" {
			cfg.Credentials = ews.PasswordFile(c.Calendar.Username, c.Calendar.PasswordFile)
		}
		m.calendars, err = ews.New(cfg)
	default:
		m.calendars, err = g.openCalDAV(c.Calendar, web)
	}
	if err != nil {
		return m, c.bad("calendar", err)
	}
	if c.Teams.Read {
		m.teams, err = m.app.NewTeams(msgraph.TeamsConfig{Interval: time.Duration(c.Teams.Interval) * time.Second})
		if err != nil {
			return m, c.bad("teams", err)
		}
	}
	return m, nil
}

// openCalDAV returns the monitor of mailboxes on a CalDAV server. One account reads
// them all; caldav.Config.Credentials is told the mailbox, and could return its
// own.
func (g *gateway) openCalDAV(c calendarConfig, web *http.Client) (*caldav.Monitor, error) {
	interval := time.Duration(c.Interval) * time.Second
	return caldav.New(caldav.Config{
		URL: c.URL,
		Credentials: func(context.Context, string) (caldav.Credentials, error) {
			password, err := readSecret(c.PasswordFile) // again, because it may have changed
			return caldav.Credentials{User: c.Username, Password: password}, err
		},
		HTTPClient: web,
		Interval:   interval,
		Timeout:    min(interval, 30*time.Second),
		Logger:     g.log,
	})
}

// serve serves until ctx ends, or the stack fails.
func (g *gateway) serve(ctx context.Context, status io.Writer) error {
	served := make(chan error, 1)
	g.running.Go(func() { served <- g.stack.Serve(context.Background(), g.handler) })
	for _, f := range g.stack.Listening() {
		fmt.Fprintf(status, "listening %s %s\n", f.Transport, f.Local)
	}
	fmt.Fprintln(status, "ready")
	select {
	case <-ctx.Done():
		g.log.Info("shutting down")
		return nil
	case err := <-served:
		return err
	}
}

// close shuts down in order: the subscriptions of clients, with a last NOTIFY, and
// the monitors; then the stack, which carries those NOTIFYs and the farewells to
// the PBX; then the connections to the directory and the calendar server.
func (g *gateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if g.server != nil {
		if err := g.server.Shutdown(ctx); err != nil {
			g.log.Warn("not every client has answered its last NOTIFY", "error", err)
		}
	}
	if g.stack != nil {
		_ = g.stack.Shutdown(ctx) // waits for no more than what is under way
	}
	g.running.Wait()
	for _, f := range g.cleanup {
		f(ctx)
	}
}
