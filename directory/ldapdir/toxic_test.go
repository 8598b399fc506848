package ldapdir_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/rig"
)

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// toxicRig returns a server that tests freeze and stop: it has little time to lose by a
// restart.
func toxicRig(t testing.TB, kind string) rig.Rig {
	if kind == "ad" {
		return adRig(t)
	}
	return rigs.Get(t, kind, "--threads", "2")
}

// eachRig runs a test against both servers, which takes its time in waiting.
func eachRig(t *testing.T, test func(t *testing.T, r rig.Rig, cfg ldapdir.Config)) {
	servers := map[string]rig.Rig{"slapd": toxicRig(t, "slapd"), "ad": toxicRig(t, "ad")}
	noLeaks(t)
	for kind, config := range map[string]func(testing.TB, rig.Rig) ldapdir.Config{"slapd": slapdConfig, "ad": adConfig} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := servers[kind]
			cfg := config(t, r)
			cfg.Timeout = time.Second
			cfg.MaxBackoff = time.Second
			test(t, r, cfg)
		})
	}
}

// BSP-2.1-8: a directory that hangs delays nobody who does not need it, holds the
// others only so long, is not "not found", and works again by itself.
func TestHang(t *testing.T) {
	eachRig(t, func(t *testing.T, r rig.Rig, cfg ldapdir.Config) {
		log := new(lockedBuffer)
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		d := open(t, cfg)
		_, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)

		thaw := r.Hang(t)
		// Who is known is served at once, while others wait.
		start := time.Now()
		var waiting sync.WaitGroup
		for _, uri := range []string{"sip:bob@example.test", "sip:erin@example.test", "tel:+14255550104", "sip:nobody@example.test"} {
			waiting.Go(func() {
				_, err := d.Lookup(context.Background(), address(t, uri))
				if !isUnavailable(err) {
					t.Errorf("%s: %v", uri, err)
				}
			})
		}
		require.Eventually(t, func() bool { return d.Stats().Pending > 0 }, soon, time.Millisecond)
		for range 100 {
			begin := time.Now()
			_, err := lookup(t, d, "sip:alice@example.test")
			require.NoError(t, err)
			require.Less(t, time.Since(begin), cfg.Timeout/4)
		}
		waiting.Wait()
		require.Less(t, time.Since(start), 3*cfg.Timeout)
		require.False(t, d.Stats().Up)

		// From now on it fails fast, but for the one that tries again.
		fast := 0
		for range 20 {
			begin := time.Now()
			_, err := lookup(t, d, "sip:bob@example.test")
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
			if time.Since(begin) < cfg.Timeout/4 {
				fast++
			}
		}
		require.GreaterOrEqual(t, fast, 15)
		require.ErrorIs(t, d.Ready(t.Context()), ldapdir.ErrUnavailable)

		thaw()
		require.Eventually(t, func() bool {
			_, err := d.Lookup(context.Background(), address(t, "sip:bob@example.test"))
			return err == nil
		}, soon, 20*time.Millisecond)
		require.NoError(t, d.Ready(t.Context()))
		require.Equal(t, 1, bytes.Count([]byte(log.String()), []byte("server fails")), log.String())
		require.Equal(t, 1, bytes.Count([]byte(log.String()), []byte("works again")), log.String())
	})
}

func isUnavailable(err error) bool {
	return errors.Is(err, ldapdir.ErrUnavailable) && !errors.Is(err, directory.ErrNotFound) && !errors.Is(err, directory.ErrAmbiguous)
}

// A restart between two look-ups is not noticed; while the server is away, look-ups
// fail at once, and work again when it is back.
func TestRestart(t *testing.T) {
	eachRig(t, func(t *testing.T, r rig.Rig, cfg ldapdir.Config) {
		d := open(t, cfg)
		_, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)

		r.Down(t)()
		_, err = lookup(t, d, "sip:bob@example.test")
		require.NoError(t, err, "a connection that was lost while idle is replaced")

		up := r.Down(t)
		_, err = lookup(t, d, "sip:erin@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		require.NotErrorIs(t, err, directory.ErrNotFound)
		_, err = lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err, "cached")
		up()
		require.Eventually(t, func() bool {
			_, err := d.Lookup(context.Background(), address(t, "sip:erin@example.test"))
			return err == nil
		}, soon, 20*time.Millisecond)
	})
}

// An entry past its lifetime is used while the directory is down or hangs, and not
// when it is up: then a fresh one is.
func TestStale(t *testing.T) {
	eachRig(t, func(t *testing.T, r rig.Rig, cfg ldapdir.Config) {
		cfg.Lifetime = -1
		cfg.NegativeLifetime = -1
		d := open(t, cfg)
		alice, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		_, err = lookup(t, d, "sip:nobody@example.test")
		require.ErrorIs(t, err, directory.ErrNotFound)
		_, err = lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.EqualValues(t, 3, d.Stats().Searches)
		require.Zero(t, d.Stats().Stale)

		thaw := r.Hang(t)
		begin := time.Now()
		got, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.Equal(t, alice, got)
		require.Less(t, time.Since(begin), cfg.Timeout, "does not wait for the time-out")
		_, err = lookup(t, d, "sip:nobody@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		require.NotErrorIs(t, err, directory.ErrNotFound, "that nobody is there is never told past its lifetime")
		thaw()

		up := r.Down(t)
		got, err = lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.Equal(t, alice, got)
		require.NotZero(t, d.Stats().Stale)
		up()
	})
}

// BSP-2.10-9: neither hanging nor away is a bad password, and sign-ins go on when
// the server is back.
func TestVerifierOutage(t *testing.T) {
	verifiers := map[string]func(*testing.T, rig.Rig) auth.Verifier{
		"ad": func(t *testing.T, r rig.Rig) auth.Verifier {
			return adVerifier(t, r, func(c *ldapdir.ADConfig) { c.Timeout, c.MaxBackoff = time.Second, time.Second })
		},
		"slapd": func(t *testing.T, r rig.Rig) auth.Verifier {
			return bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.Timeout, c.MaxBackoff = time.Second, time.Second })
		},
	}
	servers := map[string]rig.Rig{"slapd": toxicRig(t, "slapd"), "ad": toxicRig(t, "ad")}
	noLeaks(t)
	for kind, verifier := range verifiers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := servers[kind]
			v := verifier(t, r)
			c := credentials(t, "alice", r["USER_PW"])
			_, err := v.Verify(t.Context(), c)
			require.NoError(t, err)
			for name, toxic := range map[string]func(testing.TB) func(){"hang": r.Hang, "down": r.Down} {
				t.Run(name, func(t *testing.T) {
					undo := toxic(t)
					start := time.Now()
					for range 5 {
						_, err := v.Verify(t.Context(), c)
						require.ErrorIs(t, err, ldapdir.ErrUnavailable)
						require.NotErrorIs(t, err, auth.ErrBadCredentials)
					}
					require.Less(t, time.Since(start), 5*time.Second, "not each waits for the time-out")
					undo()
					require.Eventually(t, func() bool {
						_, err := v.Verify(context.Background(), c)
						return err == nil
					}, soon, 20*time.Millisecond)
				})
			}
		})
	}
}

// With the first server away or hanging, the second one serves.
func TestFailOver(t *testing.T) {
	first, second := toxicRig(t, "slapd"), slapdRig(t)
	noLeaks(t)
	pems := filepath.Join(t.TempDir(), "ca.pem")
	var both []byte
	for _, r := range []rig.Rig{first, second} {
		pem, err := os.ReadFile(r["CA_FILE"])
		require.NoError(t, err)
		both = append(both, pem...)
	}
	require.NoError(t, os.WriteFile(pems, both, 0o600))

	cfg := slapdConfig(t, first)
	cfg.URLs = []string{first["URL_TLS"], second["URL_TLS"]}
	cfg.TLS = tlsConfig(t, pems)
	cfg.Timeout = time.Second
	cfg.Lifetime = -1
	for name, toxic := range map[string]func(testing.TB) func(){"hang": first.Hang, "down": first.Down} {
		t.Run(name, func(t *testing.T) {
			d := open(t, cfg)
			_, err := lookup(t, d, "sip:alice@example.test")
			require.NoError(t, err)
			undo := toxic(t)
			start := time.Now()
			_, err = lookup(t, d, "sip:bob@example.test")
			require.NoError(t, err)
			require.Less(t, time.Since(start), 2*cfg.Timeout)
			require.True(t, d.Stats().Up)
			begin := time.Now()
			for _, uri := range []string{"sip:erin@example.test", "tel:+14255550105", "sip:carol@example.test"} {
				_, err = lookup(t, d, uri)
				require.NoError(t, err)
			}
			require.Less(t, time.Since(begin), cfg.Timeout/2, "and from then on without a detour")
			undo()
		})
	}
}

// A password that the directory refused is not offered again and again, lest it
// lock the account; a new one is used at once.
func TestRefusedBindPassword(t *testing.T) {
	r := adRig(t)
	name := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(name, []byte("old\n"), 0o600))
	dialer := new(countingDialer)
	cfg := adConfig(t, r)
	cfg.BindPassword = ldapdir.PasswordFile(name)
	cfg.Dial = dialer.dial
	d := open(t, cfg)
	for range 20 {
		_, err := lookup(t, d, "sip:alice@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
	}
	require.EqualValues(t, 1, dialer.dialed.Load())
	require.NoError(t, os.WriteFile(name, []byte(r["BIND_PW"]+"\n"), 0o600))
	_, err := lookup(t, d, "sip:alice@example.test")
	require.NoError(t, err)
}

// A caller in a hurry gets its own deadline's error, and takes the server away from
// nobody.
func TestImpatientCaller(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		_, err := lookup(t, d, "sip:bob@example.test")
		require.NoError(t, err)
		f.hangs.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = d.Lookup(ctx, address(t, "sip:alice@example.test"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		require.NotErrorIs(t, err, directory.ErrNotFound)
		require.True(t, d.Stats().Up)
	})
}

// Close ends what is under way.
func TestCloseWhileSearching(t *testing.T) {
	inBubble(t, func(c *ldapdir.Config) { c.Timeout = time.Minute }, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.hangs.Store(true)
		got := make(chan error, 1)
		go func() {
			_, err := d.Lookup(context.Background(), address(t, "sip:alice@example.test"))
			got <- err
		}()
		synctest.Wait()
		require.Equal(t, 1, d.Stats().Conns)
		start := time.Now()
		require.NoError(t, d.Close(t.Context()))
		require.ErrorIs(t, <-got, ldapdir.ErrClosed)
		require.Zero(t, time.Since(start))
		require.Zero(t, d.Stats().Conns)
		_, err := lookup(t, d, "sip:bob@example.test")
		require.ErrorIs(t, err, ldapdir.ErrClosed)
		require.NoError(t, d.Close(t.Context()), "twice is fine")
	})
}
