package conf_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/conf"
)

type mode string

// All that is wrong is said at once, each by the name of its field.
func TestCheck(t *testing.T) {
	errFilter := errors.New("unbalanced")
	interval, polls, body := -time.Second, -3, int64(0)
	check := conf.Of("caldav: Config")
	check.Require("URL", false)
	check.Require("Sender", true)
	conf.Default(check, "Interval", &interval, time.Minute)
	conf.Default(check, "Limits.Polls", &polls, 16)
	conf.Default(check, "Limits.Body", &body, 1<<20)
	conf.Within(check, "Expires", 25*time.Hour, time.Second, 24*time.Hour)
	conf.Within(check, "Grace", time.Hour, time.Second, 24*time.Hour)
	conf.OneOf(check, "NAT", mode("sometimes"), "", "always", "never")
	conf.OneOf(check, "Mode", mode(""), "required", "off")
	conf.OneOf(check, "Dialect", mode(""), "", "blustar")
	conf.OneOf(check, "Only", mode("x"), "y")
	check.Fail("Filter", errFilter)
	check.Fail("Route", nil)
	err := check.Err()
	require.EqualError(t, err, `caldav: Config.URL: missing
caldav: Config.Interval: -1s is negative
caldav: Config.Limits.Polls: -3 is negative
caldav: Config.Expires: 25h0m0s is not from 1s to 24h0m0s
caldav: Config.NAT: "sometimes": want always, never or nothing
caldav: Config.Mode: "": want required or off
caldav: Config.Only: "x": want y
caldav: Config.Filter: unbalanced`)
	require.ErrorIs(t, err, errFilter)
	require.EqualValues(t, 1<<20, body)
}

// Nothing wrong is no error, and what is set stays as it is.
func TestDefaults(t *testing.T) {
	check := conf.Of("x: Config")
	interval, name, agent := time.Hour, "", "mine"
	conf.Default(check, "Interval", &interval, time.Minute)
	conf.Or(&name, "theirs")
	conf.Or(&agent, "theirs")
	require.NoError(t, check.Err())
	require.Equal(t, time.Hour, interval)
	require.Equal(t, "theirs", name)
	require.Equal(t, "mine", agent)
}
