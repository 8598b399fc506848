package rig_test

import (
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/rig"
)

func reachable(t *testing.T, raw string) bool {
	u, err := url.Parse(raw)
	require.NoError(t, err)
	c, err := net.DialTimeout("tcp", u.Host, time.Minute)
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

func TestHang(t *testing.T) {
	r := rig.Start(t, "slapd")
	ask := func() net.Conn {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(r["URL"], "ldap://"), time.Minute)
		require.NoError(t, err, "a frozen server still accepts connections")
		t.Cleanup(func() { _ = c.Close() })
		// An anonymous bind: message 1, version 3, no name, no password.
		_, err = c.Write([]byte{0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0})
		require.NoError(t, err)
		return c
	}
	answer := func(c net.Conn, within time.Duration) error {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(within)))
		_, err := c.Read(make([]byte, 1))
		return err
	}
	require.NoError(t, answer(ask(), time.Minute))
	thaw := r.Hang(t)
	c := ask()
	require.ErrorIs(t, answer(c, time.Second), os.ErrDeadlineExceeded)
	thaw()
	require.NoError(t, answer(c, time.Minute), "it was only late")
}
