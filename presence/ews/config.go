package ews

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/loopback"
	"github.com/openblustar/blustar/pidf/aa"
)

// Access is how the calendars are read.
type Access string

// The ways to read calendars.
const (
	// Impersonation reads as the owner of each mailbox. The service account needs
	// the role ApplicationImpersonation, best within a management scope. This is
	// the only way to be told of changes at once, and to read who is out of office.
	Impersonation Access = ""
	// Delegation reads as the service account, which needs the permission to read
	// each calendar folder. It polls.
	Delegation Access = "delegation"
	// Availability reads what the service account may see of free and busy times,
	// with subject and place only where the owner shows them to it. It needs no
	// right at all. It polls, many mailboxes with one request. It does not tell
	// which appointments take all day.
	Availability Access = "availability"
)

// Config configures a [Monitor]. One of URL and Autodiscover must be set, and not
// both, and Credentials; every other zero value is a default. Durations and limits
// below zero are refused.
type Config struct {
	// URL is the end point: as https://mail.example.com/EWS/Exchange.asmx.
	URL string
	// Autodiscover has the end point of each mailbox looked for in its domain. These
	// are the domains that are trusted: credentials go to them and to hosts in
	// them only. See the section on autodiscover.
	Autodiscover []string
	// Internal prefers the address that a server has for clients inside.
	Internal bool

	// Credentials gives those of the service account. It is called whenever they are
	// sent, from many goroutines. See [PasswordFile].
	Credentials func(context.Context) (Credentials, error)
	Scheme      Scheme // default NTLM
	Access      Access // default Impersonation

	// Polling does without streaming notifications.
	Polling bool
	// OutOfOffice shows what the owners say of being out of office; nil: not. It
	// needs Impersonation.
	OutOfOffice *OutOfOffice

	TLS *tls.Config // of the connections; nil: the default, with the roots of the system
	// AllowHTTP sends credentials over connections without TLS. Otherwise that is
	// done to a loopback address only, and elsewhere is [ErrInsecure].
	AllowHTTP bool
	// Dial opens connections; nil: a [net.Dialer] with a time-out of 10 seconds, by way
	// of the proxy that the environment names ([http.ProxyFromEnvironment]).
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	proxy func(*http.Request) (*url.URL, error)

	Interval time.Duration // between polls of a mailbox without notifications, spread by ±25 %; default 1 minute
	Resync   time.Duration // between polls of one that has them, spread likewise; default 30 minutes
	Timeout  time.Duration // of one poll of one mailbox, and of one request; default 30 seconds
	Failures int           // failing polls in a row that are tolerated; default 3, negative: none

	// RefusedPause is how long credentials that the server refused are not sent
	// again, for any mailbox, so that a wrong password locks no account; default
	// 5 minutes. Until then MonitorCalendar returns [ErrUnauthorized] at once.
	RefusedPause time.Duration
	// UnknownPause is how long a mailbox that the server does not know, or does not
	// let us read, is not asked for again; default 1 hour. Until then
	// MonitorCalendar returns the same error at once.
	UnknownPause time.Duration

	// The window: appointments that have ended longer ago than Past, or begin
	// later than Future from now, are not delivered. Defaults 24 hours, 14 days.
	Past, Future time.Duration

	// WorkingElsewhere is the state of appointments of that kind; default free.
	WorkingElsewhere aa.CalendarState
	// PersonalIsPrivate makes appointments with the sensitivity "personal" private.
	// Private and confidential ones always are.
	PersonalIsPrivate bool
	// OnlineLocation is shown where an online meeting has no location; default
	// "Online meeting". The address to join it is never read.
	OnlineLocation string

	Limits Limits
	Logger *slog.Logger // default: silent
}

// OutOfOffice says how owners who are out of office are shown: as one appointment
// with that state, not private, whose ID is "out-of-office". Where the owner has
// said from when until when, it lies in that time. Else it lies from when we saw
// it first until the end of the window.
type OutOfOffice struct {
	Subject  string        // of that appointment; default "Out of office". The replies are never read
	Interval time.Duration // between questions, spread by ±25 %; default 10 minutes
}

// Limits bound what a server can make a monitor do and hold, and what a monitor
// does to a server. Zero values are defaults.
type Limits struct {
	Requests      int   // under way at once, to one server; default 10
	Rate          int   // requests in a second, to all servers together; default 50
	Group         int   // mailboxes that share a stream of notifications; default and at most 200
	Streams       int   // streams of notifications at once; default 10, Exchange 2013 allows 3. Further mailboxes are polled
	Batch         int   // mailboxes in one request for availability; default and at most 100
	Appointments  int   // delivered for a mailbox: those far from now are cut; default 1000
	Questions     int   // requests for one poll of a mailbox whose window has too many for one; default 32
	ResponseBytes int64 // of one response, or of one message of a stream: more is an error; default 16 MiB
}

// normalize fills in the defaults and checks.
func (c *Config) normalize() error {
	check := conf.Of("ews: Config")
	if (c.URL == "") == (len(c.Autodiscover) == 0) {
		check.Fail("URL", errors.New("one of URL and Autodiscover must be set"))
	}
	if c.URL != "" {
		_, err := c.parseURL(c.URL)
		check.Fail("URL", err)
	}
	for _, d := range c.Autodiscover {
		if d == "" || strings.ContainsAny(d, "/:@ ") {
			check.Failf("Autodiscover", "%q is no domain", d)
		}
	}
	check.Require("Credentials", c.Credentials != nil)
	conf.OneOf(check, "Scheme", c.Scheme, NTLM, Basic)
	conf.OneOf(check, "Access", c.Access, Impersonation, Delegation, Availability)
	conf.OneOf(check, "WorkingElsewhere", c.WorkingElsewhere, "", aa.CalendarFree, aa.CalendarTentative, aa.CalendarBusy,
		aa.CalendarOutOfOffice, aa.CalendarUnknown)
	conf.Default(check, "Interval", &c.Interval, time.Minute)
	conf.Default(check, "Resync", &c.Resync, 30*time.Minute)
	conf.Default(check, "Timeout", &c.Timeout, 30*time.Second)
	conf.Default(check, "RefusedPause", &c.RefusedPause, 5*time.Minute)
	conf.Default(check, "UnknownPause", &c.UnknownPause, time.Hour)
	conf.Default(check, "Past", &c.Past, 24*time.Hour)
	conf.Default(check, "Future", &c.Future, 14*24*time.Hour)
	conf.Or(&c.Failures, 3)
	c.Failures = max(0, c.Failures)
	if c.Access == Availability && c.Past+c.Future > maxAvailabilityWindow {
		check.Failf("Future", "a window of more than %d days is not served", maxAvailabilityWindow/(24*time.Hour))
	}
	if o := c.OutOfOffice; o != nil {
		own := *o
		if c.Access != Impersonation {
			check.Fail("OutOfOffice", errors.New("needs Impersonation"))
		}
		conf.Default(check, "OutOfOffice.Interval", &own.Interval, 10*time.Minute)
		conf.Or(&own.Subject, "Out of office")
		own.Subject = calendar.Text(own.Subject)
		c.OutOfOffice = &own
	}
	l := &c.Limits
	conf.Default(check, "Limits.Requests", &l.Requests, 10)
	conf.Default(check, "Limits.Rate", &l.Rate, 50)
	conf.Default(check, "Limits.Group", &l.Group, maxGroup)
	conf.Default(check, "Limits.Streams", &l.Streams, 10)
	conf.Default(check, "Limits.Batch", &l.Batch, maxAvailability)
	conf.Default(check, "Limits.Appointments", &l.Appointments, 1000)
	conf.Default(check, "Limits.Questions", &l.Questions, 32)
	conf.Default(check, "Limits.ResponseBytes", &l.ResponseBytes, 16<<20)
	l.Group, l.Batch = min(l.Group, maxGroup), min(l.Batch, maxAvailability)
	conf.Or(&c.WorkingElsewhere, aa.CalendarFree)
	conf.Or(&c.OnlineLocation, "Online meeting")
	c.OnlineLocation = calendar.Text(c.OnlineLocation)
	conf.Or(&c.Logger, slog.New(slog.DiscardHandler))
	if c.Dial == nil {
		c.Dial, c.proxy = (&net.Dialer{Timeout: dialTimeout}).DialContext, http.ProxyFromEnvironment
	}
	return check.Err()
}

// maxAvailabilityWindow is what a server answers for (Exchange 2010 and later).
const maxAvailabilityWindow = 42 * 24 * time.Hour

// parseURL parses the URL of a server. Errors show neither user nor query.
func (c *Config) parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("malformed URL")
	case u.User != nil:
		return nil, fmt.Errorf("URL of %s has a user: use Credentials", u.Host)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("URL must begin with https:// or http://")
	case u.Scheme == "http" && !c.AllowHTTP && !loopback.Is(u.Hostname()):
		return nil, fmt.Errorf("%w: %s is not encrypted", ErrInsecure, plain(u))
	}
	return u, nil
}
