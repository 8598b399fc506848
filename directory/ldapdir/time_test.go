package ldapdir_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
)

// inBubble runs a test with a fake server, a directory that uses it, and a fake clock.
func inBubble(t *testing.T, change func(*ldapdir.Config), test func(t *testing.T, f *fakeServer, d *ldapdir.Directory)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeServer()
		cfg := f.config()
		if change != nil {
			change(&cfg)
		}
		d, err := ldapdir.New(cfg)
		require.NoError(t, err)
		test(t, f, d)
		require.NoError(t, d.Close(t.Context()))
		f.wg.Wait()
	})
}

func TestLifetimes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		ask := func(uri string, want error, searches int64) {
			t.Helper()
			_, err := lookup(t, d, uri)
			require.ErrorIs(t, err, want)
			require.Equal(t, searches, f.queries.Load())
		}
		ask("sip:alice@example.test", nil, 1)
		ask("sip:carol@example.test", directory.ErrNotFound, 2)
		time.Sleep(ldapdir.DefaultNegativeLifetime - 1)
		ask("sip:carol@example.test", directory.ErrNotFound, 2)
		time.Sleep(time.Nanosecond)
		ask("sip:carol@example.test", directory.ErrNotFound, 3)
		ask("sip:alice@example.test", nil, 3)
		time.Sleep(ldapdir.DefaultLifetime - ldapdir.DefaultNegativeLifetime - 1)
		ask("sip:alice@example.test", nil, 3)
		time.Sleep(time.Nanosecond)
		ask("sip:alice@example.test", nil, 4)
		// Who has left is no longer found.
		f.users = f.users[1:]
		time.Sleep(ldapdir.DefaultLifetime)
		ask("sip:alice@example.test", directory.ErrNotFound, 5)
		require.Zero(t, d.Stats().Known)
		require.Equal(t, 2, d.Stats().Unknown)
	})
}

// BSP-2.1-8, and the bound of it.
func TestStaleLifetime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		_, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		f.hangs.Store(true)
		time.Sleep(ldapdir.DefaultLifetime + ldapdir.DefaultStaleLifetime - time.Second)
		start := time.Now()
		alice, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.Equal(t, "alice", alice.Account)
		require.Equal(t, 250*time.Millisecond, time.Since(start), "a moment's patience, not the time-out")
		time.Sleep(time.Second)
		_, err = lookup(t, d, "sip:alice@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
	})
}

func TestSingleFlight(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.gate = make(chan struct{})
		var wg sync.WaitGroup
		alice, bob := address(t, "sip:alice@example.test"), address(t, "tel:2")
		wg.Go(func() {
			for _, r := range d.LookupAll(t.Context(), []directory.Address{alice, bob, alice}) {
				require.NoError(t, r.Err)
			}
		})
		synctest.Wait()
		for i := range 50 {
			wg.Go(func() {
				a, want := alice, "a1"
				if i%2 == 0 {
					a, want = bob, "b2"
				}
				e, err := d.Lookup(t.Context(), a)
				require.NoError(t, err)
				require.Equal(t, want, e.ID)
			})
		}
		synctest.Wait()
		require.EqualValues(t, 51, d.Stats().Shared)
		f.gate <- struct{}{}
		wg.Wait()
		require.EqualValues(t, 1, f.queries.Load())
	})
}

// Who gives up does not end the search for the others.
func TestGivingUp(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.gate = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := d.Lookup(ctx, address(t, "sip:alice@example.test"))
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		})
		wg.Go(func() {
			_, err := d.Lookup(t.Context(), address(t, "sip:alice@example.test"))
			require.NoError(t, err)
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		f.gate <- struct{}{}
		wg.Wait()
		require.EqualValues(t, 1, f.queries.Load())
	})
}

// BSP-2.1-8: one caller finds out that the server hangs, the others are told at
// once; attempts grow rarer, and go on.
func TestFailFast(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.hangs.Store(true)
		start := time.Now()
		_, err := lookup(t, d, "sip:alice@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, ldapdir.DefaultTimeout, time.Since(start))

		start = time.Now()
		_, err = lookup(t, d, "sip:bob@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		require.Zero(t, time.Since(start))
		require.False(t, d.Stats().Up)

		f.refuses.Store(true)
		dials := f.dials.Load()
		for range 6000 { // ten minutes
			_, err = lookup(t, d, "sip:bob@example.test")
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
			time.Sleep(100 * time.Millisecond)
		}
		dials = f.dials.Load() - dials
		require.GreaterOrEqual(t, dials, int64(600/15))
		require.LessOrEqual(t, dials, int64(2*600/15+8))

		f.refuses.Store(false)
		f.hangs.Store(false)
		time.Sleep(ldapdir.DefaultMaxBackoff)
		_, err = lookup(t, d, "sip:bob@example.test")
		require.NoError(t, err)
		require.True(t, d.Stats().Up)
	})
}

// While a server that failed is tried by one caller, the others do not wait.
func TestOneProbe(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.hangs.Store(true)
		_, err := lookup(t, d, "sip:alice@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
		time.Sleep(time.Second)
		dials := f.dials.Load()
		var wg sync.WaitGroup
		slow := 0
		var mu sync.Mutex
		for i := range 40 {
			wg.Go(func() {
				start := time.Now()
				_, err := d.Lookup(t.Context(), directory.Address{Scheme: "sip", Value: fmt.Sprintf("u%d@x", i)})
				require.ErrorIs(t, err, ldapdir.ErrUnavailable)
				mu.Lock()
				defer mu.Unlock()
				if time.Since(start) > 0 {
					slow++
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, f.dials.Load()-dials, "one tries, although the server accepts connections and binds")
		require.Equal(t, 1, slow)
	})
}

// BSX-4: what is pending and what is remembered is bounded.
func TestBounds(t *testing.T) {
	inBubble(t, func(c *ldapdir.Config) { c.MaxPending, c.CacheSize = 3, 2 }, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.gate = make(chan struct{})
		var as []directory.Address
		for i := range 5 {
			as = append(as, directory.Address{Scheme: "sip", Value: fmt.Sprintf("u%d@x", i)})
		}
		done := make(chan []directory.Result)
		go func() { done <- d.LookupAll(t.Context(), as) }()
		f.gate <- struct{}{}
		results := <-done
		for _, r := range results[:3] {
			require.ErrorIs(t, r.Err, directory.ErrNotFound)
		}
		for _, r := range results[3:] {
			require.ErrorIs(t, r.Err, ldapdir.ErrUnavailable)
		}
		close(f.gate)
		_, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		// Asking for strangers does not push out users.
		for i := range 100 {
			_, err := d.Lookup(t.Context(), directory.Address{Scheme: "sip", Value: fmt.Sprintf("u%d@x", i)})
			require.ErrorIs(t, err, directory.ErrNotFound)
		}
		stats := d.Stats()
		require.Equal(t, 1, stats.Known)
		require.Equal(t, 2, stats.Unknown)
		require.NotZero(t, stats.Evicted)
		before := f.queries.Load()
		_, err = lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.Equal(t, before, f.queries.Load())
	})
}

// Connections that idled are not trusted, and none lives forever.
func TestConnectionAge(t *testing.T) {
	inBubble(t, func(c *ldapdir.Config) { c.Lifetime = -1 }, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		use := func() int64 {
			_, err := lookup(t, d, "sip:alice@example.test")
			require.NoError(t, err)
			require.Equal(t, 1, d.Stats().Conns)
			return f.dials.Load()
		}
		require.EqualValues(t, 1, use())
		time.Sleep(59 * time.Second)
		require.EqualValues(t, 1, use())
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, use())
		for range 60 {
			time.Sleep(31 * time.Second)
			use()
		}
		require.EqualValues(t, 3, f.dials.Load(), "after half an hour")
		require.Equal(t, f.dials.Load(), f.binds.Load())
	})
}

// A refused password is offered a few times an hour, not with each look-up: five
// in half an hour lock an account.
func TestRefusedPasswordPause(t *testing.T) {
	inBubble(t, func(c *ldapdir.Config) {
		c.URLs = []string{"ldap://fake", "ldap://fake2"}
		c.NegativeLifetime = -1
	}, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		f.password = "another"
		for range 1800 {
			_, err := lookup(t, d, "sip:alice@example.test")
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
			require.NotContains(t, err.Error(), "canary")
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, f.binds.Load(), int64(4))
		require.Equal(t, f.binds.Load(), f.dials.Load())
		f.password = ""
		time.Sleep(10 * time.Minute)
		_, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err, "and it works again by itself")
	})
}

// The preferred server gets its work back some time after it has failed.
func TestFailBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newFakeServer(), newFakeServer()
		cfg := first.config()
		cfg.URLs = []string{"ldap://first", "ldap://second"}
		cfg.Lifetime = -1
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "first:389" {
				return first.dial(ctx, network, address)
			}
			return second.dial(ctx, network, address)
		}
		d, err := ldapdir.New(cfg)
		require.NoError(t, err)
		ask := func() (int64, int64) {
			_, err := lookup(t, d, "sip:alice@example.test")
			require.NoError(t, err)
			return first.queries.Load(), second.queries.Load()
		}
		first.refuses.Store(true)
		a, b := ask()
		require.Equal(t, []int64{0, 1}, []int64{a, b})
		first.refuses.Store(false)
		time.Sleep(2 * time.Minute)
		a, b = ask()
		require.Equal(t, []int64{0, 2}, []int64{a, b}, "not yet")
		time.Sleep(4 * time.Minute)
		a, b = ask()
		require.Equal(t, []int64{1, 2}, []int64{a, b})
		require.NoError(t, d.Close(t.Context()))
		first.wg.Wait()
		second.wg.Wait()
	})
}

// go-ldap has no time limit of its own for StartTLS, nor for anything by default.
func TestSilentServer(t *testing.T) {
	for name, change := range map[string]func(*ldapdir.Server){
		"plain":    func(*ldapdir.Server) {},
		"StartTLS": func(s *ldapdir.Server) { s.StartTLS = true },
		"ldaps":    func(s *ldapdir.Server) { s.URLs = []string{"ldaps://silent"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := newFakeServer().config()
				cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					go func() {
						defer server.Close()
						_, _ = io.Copy(io.Discard, server)
					}()
					return client, nil
				}
				change(&cfg.Server)
				d, err := ldapdir.New(cfg)
				require.NoError(t, err)
				start := time.Now()
				_, err = lookup(t, d, "sip:alice@example.test")
				require.ErrorIs(t, err, ldapdir.ErrUnavailable)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, ldapdir.DefaultTimeout, time.Since(start))
				require.NoError(t, d.Close(t.Context()))
			})
		})
	}
}

// A busy server makes way for another one; a connection that has lost its bind is
// replaced (Active Directory answers result 1 on it).
func TestOtherServerOrConnection(t *testing.T) {
	answer := func(code int) func(net.Conn, int64) {
		return func(c net.Conn, id int64) { send(c, id, result(ldap.ApplicationSearchResultDone, code)) }
	}
	synctest.Test(t, func(t *testing.T) {
		first, second := newFakeServer(), newFakeServer()
		first.raw = answer(ldap.LDAPResultBusy)
		cfg := first.config()
		cfg.URLs = []string{"ldap://first", "ldap://second"}
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "first:389" {
				return first.dial(ctx, network, address)
			}
			return second.dial(ctx, network, address)
		}
		d, err := ldapdir.New(cfg)
		require.NoError(t, err)
		_, err = lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		require.EqualValues(t, 1, second.queries.Load())

		second.raw = answer(ldap.LDAPResultUnavailable)
		_, err = lookup(t, d, "sip:bob@example.test")
		require.ErrorIs(t, err, ldapdir.ErrUnavailable, "both")
		require.NoError(t, d.Close(t.Context()))
		first.wg.Wait()
		second.wg.Wait()
	})
	inBubble(t, func(c *ldapdir.Config) { c.MaxConns = 1 }, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
		_, err := lookup(t, d, "sip:alice@example.test")
		require.NoError(t, err)
		f.raw = func(c net.Conn, id int64) {
			f.raw = nil
			answer(ldap.LDAPResultOperationsError)(c, id)
		}
		_, err = lookup(t, d, "sip:bob@example.test")
		require.NoError(t, err)
		require.EqualValues(t, 2, f.dials.Load())
	})
}
