package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/openblustar/blustar/internal/hostconfig"
)

// checking is the command that looks at a configuration.
type checking struct {
	online bool
	user   string
}

func (k *checking) flags(flags *flag.FlagSet) {
	flags.BoolVar(&k.online, "online", false, "ask directory, calendar server and Microsoft 365")
	flags.StringVar(&k.user, "user", "", "with -online, the `address` of a user to look up, whose calendar and Teams presence are read")
}

// run checks a configuration and prints a line for each thing that it has tried. It
// opens no port.
func (k *checking) run(ctx context.Context, name string, out io.Writer) error {
	c, err := load(name)
	if err != nil {
		return err
	}
	g := &gateway{log: slog.New(slog.DiscardHandler)}
	defer g.close()
	if _, err := c.TLS.Load(); err != nil {
		return c.Bad("tls", err)
	}
	if _, err := g.openDirectory(c); err != nil {
		return err
	}
	if g.sources, err = c.OpenSources(nil, g.log); err != nil {
		return err
	}
	fmt.Fprintf(out, "ok: %s\n", name)
	if !k.online {
		return nil
	}
	bind := hostconfig.Question{Name: "directory: bind and base", Ask: func(ctx context.Context) (string, error) { return "", g.users.Ready(ctx) }}
	return hostconfig.Ask(ctx, append([]hostconfig.Question{bind}, g.sources.Questions(g.users, k.user)...), out)
}
