package rig_test

import (
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/rig"
)

func reachable(t *testing.T, raw string) bool {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	c, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	require.NoError(t, c.Close())
	return true
}

func TestStart(t *testing.T) {
	var r rig.Rig
	t.Run("run", func(t *testing.T) {
		r = rig.Start(t, "slapd", "--port", "3890")
		require.True(t, reachable(t, r["URL"]))

		up := r.Down(t)
		require.False(t, reachable(t, r["URL"]))
		up()
		require.True(t, reachable(t, r["URL"]))
	})
	if r == nil {
		t.SkipNow() // so did the subtest, with the reason
	}
	require.False(t, reachable(t, r["URL"]), "stopped when the test ended")
	require.NoDirExists(t, r["DIR"])
}

func TestPool(t *testing.T) {
	var p rig.Pool
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	a := p.Get(t, "slapd")
	require.Equal(t, a["PID"], p.Get(t, "slapd")["PID"], "the same one")
	require.NotEqual(t, a["PID"], p.Get(t, "slapd", "--require-tls")["PID"], "other arguments")
}
