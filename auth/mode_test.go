package auth_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// BSP-2.10-1, BSP-2.10-2.
func TestModes(t *testing.T) {
	const capable, old = "Aastra BluStar Client/3.0.1.0", "Aastra BluStar Client/3.0.0.0"
	for _, c := range []struct {
		mode      auth.Mode
		userAgent string
		want      auth.Verdict
	}{
		{"", capable, auth.Challenge},
		{auth.ModeRequired, capable, auth.Challenge},
		{auth.ModeRequired, old, auth.Challenge},
		{auth.ModeRequired, "", auth.Challenge},
		{auth.ModeOptional, capable, auth.Challenge},
		{auth.ModeOptional, old, auth.Accept},
		{auth.ModeOptional, "", auth.Accept},
		{auth.ModeOff, capable, auth.Accept},
	} {
		t.Run(string(c.mode)+" "+c.userAgent, func(t *testing.T) {
			f := newFixture(t, func(cfg *auth.Config) { cfg.Mode = c.mode })
			r := f.request("tom")
			r.UserAgent = c.userAgent
			d := f.Check(r)
			require.Equal(t, c.want, d.Verdict)
			require.True(t, d.Identity.IsZero())
		})
	}
}

// BSP-2.10-2: whoever brings credentials has them checked, in mode optional too,
// and keeps the identity.
func TestOptionalWithCredentials(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Mode = auth.ModeOptional })
	r := f.request("tom")
	r.UserAgent = "other"
	require.Equal(t, auth.Challenge, f.try(r, `DE\tom`, "wrong").Verdict)
	require.Equal(t, `de\tom`, f.try(r, `DE\tom`, "secret").Identity.Account)
	require.Equal(t, `de\tom`, f.Check(r).Identity.Account)
}

// BSP-2.10-2: mode off does not look at credentials.
func TestOffWithCredentials(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Mode, c.Verifier = auth.ModeOff, nil })
	r := f.request("tom")
	r.Rauth = "garbage"
	require.Equal(t, auth.Decision{Verdict: auth.Accept}, f.Check(r))
}

func TestDefaultCapable(t *testing.T) {
	for agent, want := range map[string]bool{
		"Aastra BluStar Client/3.0.1.0":         true,
		"Aastra BluStar PC Client/3.1.0":        true,
		"Aastra BluStar iOS/3.2":                true,
		"Aastra BluStar for iPad/3.2 (iOS/2)":   true,
		"Aastra BluStar Client/3.0.1":           true,
		"BluStar/10.0":                          true,
		"aastra blustar client 3.1":             true,
		"Mitel (BluStar Client/v4.0) x":         true,
		"Aastra BluStar Client 3.1 (Windows/2)": true,
		"Aastra BluStar 8000i/1.0":              false,
		"Aastra BluStar 8000i":                  false,
		"Aastra BluStar Client (Windows/6.1)":   false,
		"Aastra BluStar Client/3.0.0.0":         false,
		"Aastra BluStar Client/2.9.9":           false,
		"Aastra BluStar Client/3":               false,
		"Aastra BluStar Client":                 false,
		"Aastra BluStar Client/":                false,
		"Aastra BluStar Client/x":               false,
		"BluStar/2.0 Stack/5.0":                 false,
		"BluStars/3.0.1":                        false,
		"NoBluStar Client/3.0.1":                false,
		"NoBluStar Client/1 BluStar Client/4":   true,
		"":                                      false,
		strings.Repeat("BluStar Client ", 9999): false,
	} {
		require.Equal(t, want, auth.DefaultCapable(agent), "%.60q", agent)
	}
}

// BSP-2.10-11: with RequireTLS, nobody is asked for credentials in the clear, and
// none are taken; the 403 says why.
func TestRequireTLS(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.RequireTLS = true })
	r := f.request("tom")
	for _, rauth := range []string{"", "VUJD"} {
		r.Rauth = rauth
		d := f.Check(r)
		require.Equal(t, auth.Forbid, d.Verdict)
		require.ErrorIs(t, d.Reason, auth.ErrTLSRequired)
		require.Equal(t, "Warning", d.Header[0].Name)
		require.Contains(t, d.Header[0].Value, "TLS")
	}
	r.Rauth, r.Secure = "", true
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	require.Equal(t, auth.Accept, f.Check(r).Verdict)
	r.Secure = false
	require.Equal(t, auth.Forbid, f.Check(r).Verdict, "a session is for TLS, too")
}

// BSP-2.10-11: where RequireTLS is off, one warning names TLS.
func TestWarnsOnce(t *testing.T) {
	for _, requireTLS := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			f := newFixture(t, func(c *auth.Config) {
				c.RequireTLS, c.Logger = requireTLS, slog.New(slog.NewTextHandler(&log, nil))
			})
			for range 3 {
				r := f.request("tom")
				r.Secure = true
				f.Check(r)
			}
			want := 1
			if requireTLS {
				want = 0
			}
			synctest.Wait()
			require.Equal(t, want, strings.Count(log.String(), "without TLS"))
		})
	}
}

// Every mistake in a configuration is named at the start.
func TestNewRefuses(t *testing.T) {
	for want, cfg := range map[string]auth.Config{
		"Config.Verifier: missing":       {},
		"want required, optional or off": {Mode: "always"},
		"Basic":                          {Mode: auth.ModeOff, Basic: "yes"},
		"SessionLifetime":                {Mode: auth.ModeOff, SessionLifetime: -1},
		"MaxVerifications":               {Mode: auth.ModeOff, MaxVerifications: -1},
		"MaxFailures":                    {Mode: auth.ModeOff, MaxFailures: 101},
		"MaxRecords":                     {Mode: auth.ModeOff, MaxRecords: -1},
		"Realm":                          {Mode: auth.ModeOff, Realm: `a"b`},
	} {
		_, err := auth.New(cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestVerdict(t *testing.T) {
	for v, want := range map[auth.Verdict]struct {
		text   string
		status int
	}{
		auth.Accept: {"accept", 0}, auth.Challenge: {"challenge", 401}, auth.Forbid: {"forbid", 403},
		auth.Unavailable: {"unavailable", 503}, 0: {"none", 403},
	} {
		require.Equal(t, want.text, v.String())
		require.Equal(t, want.status, v.StatusCode())
	}
}
