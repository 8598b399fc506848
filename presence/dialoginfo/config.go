package dialoginfo

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// Defaults and bounds of [Config].
const (
	DefaultExpires     = 300 * time.Second
	DefaultMaxDevices  = 10_000
	DefaultMaxDialogs  = 64
	DefaultMaxBody     = 64 << 10
	DefaultMaxUnderWay = 32
)

// Config is what a [Monitor] is made from. Sender, PBX and From are mandatory.
type Config struct {
	// Sender carries the SUBSCRIBEs: a stack, whose handler must be the Monitor
	// or what [Monitor.Handler] returns.
	Sender sipx.Sender
	// PBX is the PBX's address: sip:pbx.example.com or
	// sip:192.0.2.1:5060;transport=tcp.
	PBX sipx.URI
	// Target returns whom to subscribe to for a device. Nil takes PBX with the
	// device's number as its user part: sip:DN@pbx.example.com. It is called from
	// many goroutines.
	Target func(dn string) (sipx.URI, error)
	// From is who subscribes, as the PBX knows it: sip:presence@example.com.
	From sipx.URI
	// Contact is where the PBX sends NOTIFYs. The zero URI takes that of the
	// Sender, with the user part of From.
	Contact sipx.URI
	// Route is the route of requests outside a dialog, an outbound proxy for
	// example: "<sip:192.0.2.2:5060;lr>". Nil for none.
	Route []string
	// Flow is how to reach the PBX; all requests are sent over it. The zero Flow
	// leaves that to Route and the URI of the request.
	Flow sipx.Flow
	// UserAgent is the User-Agent field of requests; none if empty.
	UserAgent string

	// Username and Password answer Digest challenges (401 and 407, RFC 8760). An
	// empty Username has none: then a challenge is an [ErrUnauthorized]. The
	// Monitor works with a copy of the password. Once the PBX has refused them,
	// they are not tried again for a minute, for no device.
	Username string
	Password auth.Secret

	// Expires is the lifetime of subscriptions to ask for, in whole seconds up to
	// a day; [DefaultExpires] if zero. It bounds for how long a state may be shown
	// that the PBX no longer stands for. The PBX may grant less, or ask for more
	// (423).
	Expires time.Duration

	// MaxDevices bounds the calls of MonitorLine at a time; beyond, it returns
	// [ErrTooMany]. [DefaultMaxDevices] if zero.
	MaxDevices int
	// MaxDialogs bounds the dialogs that a device has, those apart that have
	// ended. [DefaultMaxDialogs] if zero. A document that makes them more is
	// answered 400.
	MaxDialogs int
	// MaxBody bounds a document in bytes; a larger one is answered 413.
	// [DefaultMaxBody] if zero.
	MaxBody int
	// MaxUnderWay bounds the SUBSCRIBEs that wait for their response; others
	// wait for their turn. So a PBX is not flooded when many devices start at
	// once. [DefaultMaxUnderWay] if zero.
	MaxUnderWay int

	// Logger hears of what fails and what is tried again; nil discards it.
	Logger *slog.Logger
}

// validate fills in the defaults.
func (c *Config) validate() error {
	check := conf.Of("dialoginfo: Config")
	check.Require("Sender", c.Sender != nil)
	sip := func(field string, uri sipx.URI) {
		if !isSIP(uri) {
			check.Failf(field, "no sip or sips URI with a host")
		}
	}
	sip("PBX", c.PBX)
	sip("From", c.From)
	if !c.Contact.IsZero() {
		sip("Contact", c.Contact)
	}
	if c.Username == "" && c.Password.Len() > 0 {
		check.Failf("Password", "without Username")
	}
	if strings.ContainsAny(c.UserAgent+c.Username, "\r\n\x00") {
		check.Failf("UserAgent", "or Username has a line break")
	}
	for _, r := range c.Route {
		_, err := sipx.ParseAddress(r)
		check.Fail("Route", err)
	}
	c.Route = slices.Clone(c.Route)
	var err error
	c.Expires, err = subscriber.Lifetime(c.Expires, DefaultExpires)
	check.Fail("Expires", err)
	conf.Default(check, "MaxDevices", &c.MaxDevices, DefaultMaxDevices)
	conf.Default(check, "MaxDialogs", &c.MaxDialogs, DefaultMaxDialogs)
	conf.Default(check, "MaxBody", &c.MaxBody, DefaultMaxBody)
	conf.Default(check, "MaxUnderWay", &c.MaxUnderWay, DefaultMaxUnderWay)
	if err := check.Err(); err != nil {
		return err
	}
	c.Password = c.Password.Clone()
	if c.Target == nil {
		c.Target = c.target
	}
	conf.Or(&c.Logger, slog.New(slog.DiscardHandler))
	return nil
}

func isSIP(u sipx.URI) bool { return (u.Scheme == "sip" || u.Scheme == "sips") && u.Host != "" }

// target is the default of Config.Target.
func (c *Config) target(dn string) (sipx.URI, error) {
	if dn == "" || len(dn) > 128 {
		return sipx.URI{}, fmt.Errorf("dialoginfo: a device number of %d bytes", len(dn))
	}
	u := c.PBX
	u.User = escapeUser(dn)
	return u, nil
}

// escapeUser writes s as the user part of a URI (RFC 3261 §25.1). Semicolons and
// the like are allowed there, but have a meaning to some.
func escapeUser(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.!~*'()+", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// contact is the value of Contact fields.
func (c *Config) contact() string {
	uri := c.Contact
	if uri.IsZero() {
		uri = subscriber.Contact(c.Sender, c.Flow, c.PBX, c.From.User)
	}
	return sipx.Address{URI: uri}.String()
}
