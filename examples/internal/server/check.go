package server

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/hostconfig"
)

// checkCommand checks a configuration, its other files included, and says what
// the server would do. It opens no socket, and connects to nothing but what -online
// asks: directories, with the account that searches, calendars and Microsoft 365.
func checkCommand(ctx context.Context, args []string, e env) error {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	online := fs.Bool("online", false, "ask directories, calendars and Microsoft 365")
	user := fs.String("user", "", "with -online, look up the user with this `address`, and read calendar and Teams presence")
	c, err := configured(fs, args, e)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	b, err := c.open(log)
	if err != nil {
		return err
	}
	defer b.close(context.WithoutCancel(ctx))
	sources, err := c.OpenSources(nil, log)
	if err != nil {
		return err
	}
	defer sources.Close(context.WithoutCancel(ctx))
	name := c.Name
	if c.demo {
		name = "the built-in demo"
	}
	fmt.Fprintf(e.stdout, "%s is good. The server would\n", name)
	for _, line := range append(c.describe(b), b.summary...) {
		fmt.Fprintln(e.stdout, "  "+hostconfig.OneLine(line))
	}
	for _, w := range b.warnings {
		fmt.Fprintln(e.stdout, "warning: "+w)
	}
	if *online {
		questions := b.probes
		if c.isNode() {
			questions = append(questions, c.storeQuestion(e.join, log))
		}
		return hostconfig.Ask(ctx, append(questions, sources.Questions(b.directory, *user)...), e.stdout)
	}
	return nil
}

// describe says what the configuration itself asks for.
func (c *config) describe(b *backends) []string {
	var lines []string
	for _, l := range c.Listen {
		transport, address, _ := strings.Cut(l, ":")
		lines = append(lines, "listen on "+transport+" "+address)
	}
	if len(c.Advertise) > 0 {
		lines = append(lines, "tell clients to reach it at "+list(c.Advertise))
	}
	if len(c.Domains) > 0 {
		lines = append(lines, "serve the domains "+list(c.Domains))
	}
	lines = append(lines,
		fmt.Sprintf("speak the dialect %q, and send NOTIFYs over UDP with nat %q", c.Dialect, c.NAT),
		fmt.Sprintf("grant subscriptions %d s and publications %d s, not less than %d s",
			c.Limits.MaxSubscribeExpires, c.Limits.MaxPublishExpires, c.Limits.MinExpires),
		fmt.Sprintf("refuse bodies over %d bytes, lists over %d entries, and more than %d watched addresses",
			c.Limits.MaxBody, c.Limits.MaxList, c.Limits.MaxSubscriptions),
		describeStore(c.Store))
	lines = append(lines, c.DescribeSources()...)
	switch {
	case c.HTTP.Listen == "":
		lines = append(lines, "serve no control API")
	case b.files.Load().token.Len() > 0:
		lines = append(lines, "serve the control API on http://"+c.HTTP.Listen+" to who has the token in "+c.HTTP.TokenFile)
	default:
		lines = append(lines, "serve the control API on http://"+c.HTTP.Listen+" without a token")
	}
	if c.Auth.Mode != "off" {
		where := map[hostconfig.Allowed]string{"": "not at all", "tls": "over TLS", "insecure": "anywhere"}
		throttle := "never refuse an account for its failures"
		if n := c.Auth.MaxFailures; n > 0 {
			throttle = fmt.Sprintf("refuse an account and a source after %d failures for %v", n, time.Duration(c.Auth.FailureWindow))
			if shared := c.Auth.SharedSources; len(shared) > 0 {
				throttle += ", but no source in " + list(prefixes(shared))
			}
		}
		lines = append(lines, throttle, fmt.Sprintf("keep sessions %v and challenges %v, take plain credentials %s and Digest without qop %s",
			time.Duration(c.Auth.Session), time.Duration(c.Auth.ChallengeLifetime), where[c.Auth.AllowBasic], where[c.Auth.AllowOldDigest]))
	}
	if c.Auth.RequireTLS {
		lines = append(lines, "take credentials over TLS only")
	}
	return append(lines, fmt.Sprintf("log at level %s as %s", c.Log.Level, c.Log.Format))
}

func prefixes(networks []hostconfig.Network) (texts []string) {
	for _, n := range networks {
		texts = append(texts, netip.Prefix(n).String())
	}
	return texts
}

func (c *config) servesTLS() bool {
	for _, l := range c.Listen {
		if transport, _, _ := strings.Cut(l, ":"); hostconfig.IsSecure(transport) {
			return true
		}
	}
	return false
}

func list(items []string) string { return strings.Join(items, ", ") }
