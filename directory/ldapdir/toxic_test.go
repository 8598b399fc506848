package ldapdir_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// impatience is a time-out that these tests wait for: short, and no busy machine takes
// so long for an answer. What follows within it is shown by the clock of a bubble
// (TestFailFast, TestOneProbe, TestStaleLifetime).
const impatience = 4 * time.Second

// eachRig runs a test against both servers, which takes its time in waiting.
func eachRig(t *testing.T, test func(t *testing.T, r rig.Rig, cfg ldapdir.Config)) {
	servers := map[string]rig.Rig{"slapd": toxicRig(t, "slapd"), "ad": toxicRig(t, "ad")}
	noLeaks(t)
	for kind, config := range map[string]func(testing.TB, rig.Rig) ldapdir.Config{"slapd": slapdConfig, "ad": adConfig} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := servers[kind]
			cfg := config(t, r)
			cfg.Timeout = impatience
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
		hits := d.Stats().Hits
		for range 100 {
			_, err := lookup(t, d, "sip:alice@example.test")
			require.NoError(t, err)
		}
		require.Equal(t, hits+100, d.Stats().Hits)
		waiting.Wait()
		require.False(t, d.Stats().Up)
		_, err = lookup(t, d, "sip:bob@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
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

		thaw := r.Hang(t)
		got, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.Equal(t, alice, got)
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
	verifiers := map[string]func(*testing.T, rig.Rig, *attempts) auth.Verifier{
		"ad": func(t *testing.T, r rig.Rig, a *attempts) auth.Verifier {
			return adVerifier(t, r, func(c *ldapdir.ADConfig) { c.Timeout, c.MaxBackoff, c.Dial = impatience, time.Second, a.dial })
		},
		"slapd": func(t *testing.T, r rig.Rig, a *attempts) auth.Verifier {
			return bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.Timeout, c.MaxBackoff, c.Dial = impatience, time.Second, a.dial })
		},
	}
	servers := map[string]rig.Rig{"slapd": toxicRig(t, "slapd"), "ad": toxicRig(t, "ad")}
	noLeaks(t)
	for kind, verifier := range verifiers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := servers[kind]
			dials := &attempts{}
			v := verifier(t, r, dials)
			c := credentials(t, "alice", r["USER_PW"])
			_, err := v.Verify(t.Context(), c)
			require.NoError(t, err)
			for name, toxic := range map[string]func(testing.TB) func(){"hang": r.Hang, "down": r.Down} {
				t.Run(name, func(t *testing.T) {
					undo := toxic(t)
					before := dials.Load()
					for range 10 {
						_, err := v.Verify(t.Context(), c)
						require.ErrorIs(t, err, ldapdir.ErrUnavailable)
						require.NotErrorIs(t, err, auth.ErrBadCredentials)
					}
					require.Less(t, dials.Load()-before, int64(10), "not each tries and waits for the time-out")
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

// attempts counts the connections that were asked for.
type attempts struct {
	net.Dialer
	atomic.Int64
}

func (a *attempts) dial(ctx context.Context, network, address string) (net.Conn, error) {
	a.Add(1)
	return a.DialContext(ctx, network, address)
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
	cfg.Timeout = impatience
	cfg.Lifetime = -1
	var detours atomic.Int64
	dialer := new(net.Dialer)
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(first["URL_TLS"], "//"+address) {
			detours.Add(1)
		}
		return dialer.DialContext(ctx, network, address)
	}
	for name, toxic := range map[string]func(testing.TB) func(){"hang": first.Hang, "down": first.Down} {
		t.Run(name, func(t *testing.T) {
			d := open(t, cfg)
			_, err := lookup(t, d, "sip:alice@example.test")
			require.NoError(t, err)
			undo := toxic(t)
			_, err = lookup(t, d, "sip:bob@example.test")
			require.NoError(t, err)
			require.True(t, d.Stats().Up)
			detours.Store(0)
			for _, uri := range []string{"sip:erin@example.test", "tel:+14255550105", "sip:carol@example.test"} {
				_, err = lookup(t, d, uri)
				require.NoError(t, err)
			}
			require.Less(t, detours.Load(), int64(3), "and from then on without a detour for each")
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
