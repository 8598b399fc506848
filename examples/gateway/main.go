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
// This file is the wiring, to be copied from; internal/hostconfig is the configuration
// file, with what it is to the packages of the library. The PBX is spoken to through the
// stack of the presence server: one port, one handler in front of the other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // calendars name time zones, and a small system has none

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/heap"
	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
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
		if _, bad := errors.AsType[*hostconfig.Error](err); bad {
			return 2
		}
		return 1
	}
	return 0
}

// served are the keys of the configuration that this program has.
var served = []string{
	"listen", "advertise", "tls", "domains", "dialect", "nat", "all_statuses", "next_appointment", "auth", "directory",
	"active_directory", "store", "limits", "log", "pbx", "calendar", "microsoft", "teams",
}

// load loads a configuration file. The error is a *hostconfig.Error.
func load(name string) (*hostconfig.Config, error) {
	c, err := hostconfig.Load(name, nil)
	if err == nil {
		err = c.Only(served...)
	}
	switch {
	case err != nil:
		return nil, err
	case c.Store != nil && c.Store.NATS != nil:
		return nil, c.Bad("store.nats", errors.New("this program has none; examples/cluster/server has"))
	case c.Directory == nil || c.Directory.LDAP == nil:
		return nil, c.Bad("directory.ldap", errors.New("missing"))
	case c.ActiveDirectory == nil && !c.Auth.LDAP:
		return nil, c.Bad("auth.ldap", errors.New("want this or active_directory, which check passwords"))
	}
	return c, nil
}

func serve(ctx context.Context, name string, stderr io.Writer) error {
	c, err := load(name)
	if err != nil {
		return err
	}
	g := &gateway{log: c.NewLogger(stderr, new(slog.LevelVar))}
	defer g.close()
	if err := g.open(c); err != nil {
		return err
	}
	defer heap.Keep(uint64(c.Limits.HeapRoom) << 20)()
	return g.serve(ctx, stderr)
}

// gateway is what runs until it is shut down.
type gateway struct {
	log     *slog.Logger
	stack   *stack.Stack
	sources *hostconfig.Sources
	store   *boltstore.Store // nil for none
	server  *presence.Server
	guard   *auth.Guard
	users   *ldapdir.Directory
	running sync.WaitGroup
	cleanup []func(context.Context)
}

// open puts the parts together and opens the sockets. That the PBX, the calendar
// server or the directory is down is no error: they are asked when they are
// needed, and asked again until they answer (BSP-2.1-8, BSX-2).
func (g *gateway) open(c *hostconfig.Config) error {
	secure, err := c.TLS.Load()
	if err != nil {
		return c.Bad("tls", err)
	}
	// Whose address is this, which are their devices and their mailbox, and is
	// it their password?
	passwords, err := g.openDirectory(c)
	if err != nil {
		return err
	}
	cfg, err := c.Guard()
	if err != nil {
		return c.Bad("auth", err)
	}
	cfg.Verifier, cfg.Logger = passwords, g.log
	cfg.KeepSession = func(r auth.SessionRecord) { g.server.KeepSession(r) } // it is there before requests are
	if g.guard, err = auth.New(cfg); err != nil {
		return c.Bad("auth", err)
	}
	g.stack, err = stack.Listen(stack.Config{Listen: c.Listen, Advertise: c.Advertise, TLS: secure, MaxMessage: c.MaxMessage(), Logger: g.log})
	if err != nil {
		return err
	}
	if g.sources, err = c.OpenSources(g.stack, g.log); err != nil {
		return err
	}
	// The server starts a monitor with the first watcher of a user who has that
	// device or mailbox, and ends it after the last (BSP-2.1-6).
	p := c.Presence()
	p.Sender, p.Directory, p.Guard, p.Logger = g.stack, g.users, g.guard, g.log
	p.Lines, p.Calendar, p.External = g.sources.Lines, g.sources.Calendar, g.sources.External
	if g.store, err = c.Store.Open(&p); err != nil {
		return err
	}
	if g.server, err = presence.New(p); err != nil {
		return err
	}
	return g.server.Restore(context.Background())
}

// openDirectory opens the directory of users, and returns who checks their passwords,
// by a bind. Both find the same ID for a user, so that nobody publishes for
// somebody else (BSP-2.4-7).
func (g *gateway) openDirectory(c *hostconfig.Config) (passwords auth.Verifier, err error) {
	if g.users, err = c.Directory.LDAP.Open(g.log); err != nil {
		return nil, c.Bad("directory.ldap", err)
	}
	g.cleanup = append(g.cleanup, func(ctx context.Context) { _ = g.users.Close(ctx) })
	if c.ActiveDirectory != nil {
		passwords, err := c.ActiveDirectory.OpenVerifier(g.users, g.log)
		return passwords, c.Bad("active_directory", err)
	}
	bind, err := c.Directory.LDAP.OpenVerifier(g.log)
	if err != nil {
		return nil, c.Bad("directory.ldap", err)
	}
	g.cleanup = append(g.cleanup, func(context.Context) { bind.Close() })
	return bind, nil
}

// sweepSessions ends the sessions of accounts that are gone or have another password: now,
// because the store may have brought some back, and every 5 minutes until ctx ends.
func (g *gateway) sweepSessions(ctx context.Context) {
	tick := time.NewTicker(5 * time.Minute)
	defer tick.Stop()
	for {
		if n := g.guard.EndSessions(func(id auth.Identity) bool {
			listed, err := g.users.HasAccount(ctx, id)
			return err == nil && !listed
		}); n > 0 {
			g.log.Info("sessions of removed or changed accounts have ended", "sessions", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// serve serves until ctx ends, or the stack fails.
func (g *gateway) serve(ctx context.Context, status io.Writer) error {
	served := make(chan error, 1)
	g.running.Go(func() { served <- g.stack.Serve(context.Background(), g.sources.Handler(g.server)) })
	g.sources.Start()
	sweeping, stop := context.WithCancel(ctx)
	defer stop()
	g.running.Go(func() { g.sweepSessions(sweeping) })
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
// the monitors; then what was written to Teams, and the stack, which carries those
// NOTIFYs and the farewells to the PBX; then the connections to the directory, and the store.
// With a store, clients go on with the next process, and are told nothing.
func (g *gateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if g.server != nil {
		if err := g.server.Shutdown(ctx); err != nil {
			g.log.Warn("not every client has answered its last NOTIFY", "error", err)
		}
	}
	if g.sources != nil {
		g.sources.Close(ctx)
	}
	if g.stack != nil {
		_ = g.stack.Shutdown(ctx) // waits for no more than what is under way
	}
	g.running.Wait()
	for _, f := range g.cleanup {
		f(ctx)
	}
	if g.store != nil {
		_ = g.store.Close()
	}
}
