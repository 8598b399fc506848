package hostconfig

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/subscription"
)

const (
	// maxMessage bounds a SIP message, in bytes; headerRoom is what its header
	// may have of that beside the largest body.
	maxMessage = 1 << 20
	headerRoom = 64 << 10
)

// MaxMessage is the size of the largest SIP message, in bytes.
func (c *Config) MaxMessage() int { return max(256<<10, c.Limits.MaxBody+headerRoom) }

// Presence is what the file says of the server itself: not who it asks.
func (c *Config) Presence() presence.Config {
	return presence.Config{
		Domains:             c.Domains,
		Dialect:             presence.DialectMode(without(c.Dialect, "auto")),
		UserAgents:          c.Auth.UserAgents,
		ListedFrom:          c.Auth.ListedFrom,
		NAT:                 subscription.NATMode(without(c.NAT, "auto")),
		AllStatuses:         c.AllStatuses,
		NextAppointment:     c.NextAppointment,
		MaxSubscribeExpires: seconds(c.Limits.MaxSubscribeExpires),
		MaxPublishExpires:   seconds(c.Limits.MaxPublishExpires),
		MinExpires:          seconds(max(1, c.Limits.MinExpires)), // 1 s is none: expiries are whole seconds
		MaxNote:             c.Limits.MaxNote,
		MaxBody:             c.Limits.MaxBody,
		MaxList:             c.Limits.MaxList,
		MaxSubscriptions:    c.Limits.MaxSubscriptions,
	}
}

func without(value, zero string) string {
	if value == zero {
		return ""
	}
	return value
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// Guard is what the file says of who is let in: not who checks passwords.
func (c *Config) Guard() (auth.Config, error) {
	cipher, err := auth.CipherNamed(c.Auth.Cipher)
	if err != nil {
		return auth.Config{}, err
	}
	failures := c.Auth.MaxFailures
	if failures == 0 {
		failures = -1 // what package auth calls no throttling
	}
	shared := make([]netip.Prefix, len(c.Auth.SharedSources))
	for i, n := range c.Auth.SharedSources {
		shared[i] = netip.Prefix(n)
	}
	algorithms := make([]auth.Algorithm, len(c.Auth.DigestAlgorithms))
	for i, a := range c.Auth.DigestAlgorithms {
		algorithms[i] = auth.Algorithm(a)
	}
	return auth.Config{
		Mode:              auth.Mode(c.Auth.Mode),
		Algorithms:        algorithms,
		OldDigest:         auth.Where(c.Auth.AllowOldDigest),
		Cipher:            cipher,
		RequireTLS:        c.Auth.RequireTLS,
		AnySource:         c.Auth.AnySource,
		Basic:             auth.Where(c.Auth.AllowBasic),
		ChallengeLifetime: time.Duration(c.Auth.ChallengeLifetime),
		SessionLifetime:   time.Duration(c.Auth.Session),
		MaxFailures:       failures,
		FailureWindow:     time.Duration(c.Auth.FailureWindow),
		SharedSources:     shared,
	}, nil
}

// Level is the level of the log.
func (c *Config) Level() (level slog.Level) {
	_ = level.UnmarshalText([]byte(c.Log.Level)) // the configuration is checked
	return level
}

// NewLogger returns a logger with a level that can be changed, which it sets.
func (c *Config) NewLogger(w io.Writer, level *slog.LevelVar) *slog.Logger {
	level.Set(c.Level())
	options := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Load returns what TLS connections of SIP are made with. The files are read once.
func (t *TLS) Load() (*tls.Config, error) {
	cfg, err := t.Roots()
	if err != nil || t.Cert == "" && t.Key == "" {
		return cfg, err
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, err
}

// Roots returns the same without the certificate to listen with.
func (t *TLS) Roots() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		roots, err := ldapdir.LoadCA(t.CAFile)
		if err != nil {
			return cfg, Wrong("ca_file", "%s", err)
		}
		cfg.RootCAs = roots
	}
	return cfg, nil
}
