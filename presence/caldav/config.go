package caldav

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/conf"
)

// Credentials are sent by HTTP Basic authentication. Other schemes are the
// business of [Config.HTTPClient].
type Credentials struct {
	User     string // none are sent where it is empty
	Password auth.Secret
}

// Config configures a [Monitor]. One of URL and Calendars must be set, and not
// both; every other zero value is a default. Durations and limits below zero are
// refused.
type Config struct {
	// URL is where discovery starts, as "https://dav.example.com/"; or, with one
	// of the placeholders {mail}, {user} (before the @) and {domain} (after it),
	// the URL of the one calendar of a mailbox.
	URL string
	// Calendars gives the URLs of a mailbox's calendars instead.
	Calendars func(ctx context.Context, mail string) ([]string, error)
	// Credentials gives those for a mailbox; nil: none are sent. It is called
	// when monitoring begins and each time calendars are discovered, from many
	// goroutines. The password is used as long as the mailbox is monitored.
	Credentials func(ctx context.Context, mail string) (Credentials, error)
	// Addresses gives further mail addresses under which the owner of a mailbox
	// is invited. The mailbox itself and, where calendars are discovered, the
	// server's calendar-user-address-set count anyway.
	Addresses func(mail string) []string
	// AllowHTTP sends credentials over connections without TLS. Otherwise that is
	// done to a loopback address only, and elsewhere is [ErrInsecure].
	AllowHTTP bool
	// HTTPClient sends the requests; nil: one with [http.DefaultTransport]. Its
	// CheckRedirect is not used: redirections are followed on the same host only.
	HTTPClient *http.Client

	Interval time.Duration // between polls, spread by ±25 %; default 1 minute
	Timeout  time.Duration // of one poll of one mailbox; default 30 seconds
	Failures int           // failing polls in a row that are tolerated; default 3, negative: none

	// RefusedPause is how long credentials that the server refused are not sent
	// again, for any mailbox, so that a wrong password locks no account; default
	// 5 minutes. Until then MonitorCalendar returns [ErrUnauthorized] at once.
	RefusedPause time.Duration

	// The window: appointments that have ended longer ago than Past, or begin
	// later than Future from now, are not delivered. Defaults 24 hours, 14 days.
	Past, Future time.Duration

	// Location is the zone of dates and floating times where the calendar has
	// none; default [time.Local].
	Location *time.Location

	Limits Limits
	Logger *slog.Logger // default: silent
}

// Limits bound what a server can make a monitor do and hold. Zero values are
// defaults. The work that recurrence rules can ask for is bounded as well, for an
// object and for a poll: some 1 s of a processor for all objects of a mailbox together.
type Limits struct {
	Polls         int   // polls under way at once, all mailboxes together; default 16
	Calendars     int   // of a mailbox: more are an error; default 32
	Objects       int   // of a calendar within the window: more are an error; default 20,000
	Appointments  int   // delivered for a mailbox: past ones make room first, then later ones; default 1000
	Occurrences   int   // of one object within the window: later ones are cut; default 1000
	Held          int   // occurrences of all objects of a calendar: more are an error; default 100,000
	ObjectBytes   int64 // of one object: larger ones are left out; default 1 MiB
	ResponseBytes int64 // of one response: more is an error; default 16 MiB
}

// complete fills in the defaults and checks the rest.
func (c *Config) complete() error {
	check := conf.Of("caldav: Config")
	switch {
	case (c.URL == "") == (c.Calendars == nil):
		check.Failf("URL", "one of URL and Calendars must be set")
	case c.URL != "":
		_, err := parseURL(expandTemplate(c.URL, "user@example.com"))
		check.Fail("URL", err)
	}
	conf.Default(check, "Interval", &c.Interval, time.Minute)
	conf.Default(check, "Timeout", &c.Timeout, 30*time.Second)
	conf.Default(check, "RefusedPause", &c.RefusedPause, 5*time.Minute)
	conf.Default(check, "Past", &c.Past, 24*time.Hour)
	conf.Default(check, "Future", &c.Future, 14*24*time.Hour)
	conf.Default(check, "Limits.Polls", &c.Limits.Polls, 16)
	conf.Default(check, "Limits.Calendars", &c.Limits.Calendars, 32)
	conf.Default(check, "Limits.Objects", &c.Limits.Objects, 20_000)
	conf.Default(check, "Limits.Appointments", &c.Limits.Appointments, 1000)
	conf.Default(check, "Limits.Occurrences", &c.Limits.Occurrences, 1000)
	conf.Default(check, "Limits.Held", &c.Limits.Held, 100_000)
	conf.Default(check, "Limits.ObjectBytes", &c.Limits.ObjectBytes, 1<<20)
	conf.Default(check, "Limits.ResponseBytes", &c.Limits.ResponseBytes, 16<<20)
	c.Failures = max(0, cmp.Or(c.Failures, 3))
	conf.Or(&c.Location, time.Local)
	conf.Or(&c.Logger, slog.New(slog.DiscardHandler))
	return check.Err()
}

// parseURL parses the URL of a server or calendar. Errors show neither user nor
// query, and want to be told what it is the URL of.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("malformed")
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("the one of %s has a user: use Credentials", u.Host)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("must begin with https:// or http://")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

func isTemplate(s string) bool { return expandTemplate(s, "user@example.com") != s }

// expandTemplate puts a mailbox into a URL template, each part as one segment
// of a path: an address is input, and must not lead elsewhere.
func expandTemplate(s, mail string) string {
	user, domain, _ := strings.Cut(mail, "@")
	return strings.NewReplacer(
		"{mail}", url.PathEscape(mail), "{user}", url.PathEscape(user), "{domain}", url.PathEscape(domain),
	).Replace(s)
}
