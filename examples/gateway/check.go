package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
)

// checking is the command that looks at a configuration.
type checking struct {
	online bool
	user   string
}

func (k *checking) flags(flags *flag.FlagSet) {
	flags.BoolVar(&k.online, "online", false, "ask directory, calendar server and Microsoft 365")
	flags.StringVar(&k.user, "user", "", "`address` of a user to look up, whose calendar and Teams presence are read")
}

// onlineTime bounds each question.
const onlineTime = 30 * time.Second

var errFailed = errors.New("not all of them answered as they should")

// run checks a configuration and prints a line for each thing that it has tried. It
// opens no port.
func (k *checking) run(ctx context.Context, name string, out io.Writer) error {
	c, err := loadConfig(name)
	if err != nil {
		return err
	}
	g := &gateway{log: c.newLogger(io.Discard)}
	defer g.close()
	secure, err := c.TLS.load()
	if err != nil {
		return c.bad("tls", err)
	}
	users, _, err := g.openDirectory(c.Directory, secure)
	if err != nil {
		return c.bad("directory", err)
	}
	if _, _, err := c.PBX.uris(); err != nil {
		return c.bad("pbx", err)
	}
	m, err := g.openMonitors(c, secure)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ok: %s\n", name)
	if !k.online {
		return nil
	}
	failed := false
	try := func(what string, ask func(context.Context) (string, error)) {
		ctx, cancel := context.WithTimeout(ctx, onlineTime)
		defer cancel()
		found, err := ask(ctx)
		if err != nil {
			failed = true
			fmt.Fprintf(out, "failed: %s: %v\n", what, err)
			return
		}
		fmt.Fprintf(out, "ok: %s%s\n", what, found)
	}
	try("directory: bind and base", func(ctx context.Context) (string, error) { return "", users.Ready(ctx) })
	if m.app != nil {
		try("microsoft: token", func(ctx context.Context) (string, error) { return "", m.app.CheckToken(ctx) })
	}
	if k.user != "" {
		var entry directory.Entry
		try("directory: "+k.user, func(ctx context.Context) (string, error) {
			address, err := directory.ParseAddress(k.user)
			if err != nil {
				return "", err
			}
			if entry, err = users.Lookup(ctx, address); err != nil {
				return "", err
			}
			return fmt.Sprintf(" is %s, mailbox %q, devices %q", entry.ID, entry.Mail, entry.Lines), nil
		})
		if entry.Mail != "" {
			try("calendar: "+entry.Mail, func(ctx context.Context) (string, error) {
				return first(ctx, func(ctx context.Context, update func(presence.CalendarState)) error {
					return m.calendars.MonitorCalendar(ctx, entry.Mail, update)
				}, func(s presence.CalendarState) string { return fmt.Sprintf(" has %d appointments", len(s.Appointments)) })
			})
		}
		if entry.ID != "" && m.teams != nil {
			try("teams: "+k.user, func(ctx context.Context) (string, error) {
				return first(ctx, func(ctx context.Context, update func(presence.ExternalState)) error {
					return m.teams.MonitorExternal(ctx, entry, update)
				}, func(s presence.ExternalState) string { return fmt.Sprintf(" is %q", s.Status) })
			})
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// first runs a monitor until its first value, and says what that is.
func first[V any](ctx context.Context, monitor func(context.Context, func(V)) error, say func(V) string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said, known := "", false
	err := monitor(ctx, func(v V) {
		if !known {
			said, known = say(v), true
		}
		cancel()
	})
	if known {
		return said, nil
	}
	return "", err
}
