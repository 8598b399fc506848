package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// from is a client of its own at an address.
func (f *fixture) from(address string) auth.Request {
	r := f.request("x")
	r.Client, r.Source = "client at "+address, netip.MustParseAddr(address)
	return r
}

// fail tries wrong passwords, all of which reach the verifier.
func (f *fixture) fail(r auth.Request, account string, times int) {
	f.t.Helper()
	for i := range times {
		d := f.try(r, account, fmt.Sprint("wrong", i))
		require.ErrorIs(f.t, d.Reason, auth.ErrBadCredentials)
	}
}

// BSP-2.10-8: after max_failures of one account the next attempt is a 403 that
// does not reach the directory, wherever it comes from, until the window is over.
func TestThrottleByAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		for i := range 4 {
			f.fail(f.from(fmt.Sprintf("192.0.2.%d", i)), `DE\tom`, 1)
		}
		calls := f.verifier.calls.Load()
		d := f.try(f.from("198.51.100.1"), `DE\tom`, "secret")
		require.Equal(t, auth.Forbid, d.Verdict)
		require.ErrorIs(t, d.Reason, auth.ErrThrottled)
		require.Equal(t, calls, f.verifier.calls.Load())
		require.Equal(t, auth.Accept, f.try(f.from("198.51.100.1"), `DE\bill`, "other").Verdict)

		time.Sleep(15*time.Minute - time.Second)
		require.Equal(t, auth.Forbid, f.try(f.from("198.51.100.1"), `DE\tom`, "secret").Verdict)
		time.Sleep(time.Second) // attempts that were held do not prolong it
		require.Equal(t, auth.Accept, f.try(f.from("198.51.100.1"), `DE\tom`, "secret").Verdict)
		require.EqualValues(t, 2, f.Stats().Throttled)
	})
}

// BSP-2.10-8, BSX-8: the count of an account that a directory may lock is pushed out by no
// failures at others, of one source that many share or of many sources. Where there is no
// room to count, nobody may try. The last quarter is for those who signed in before.
func TestCountsOfFailuresArePushedOutByNobody(t *testing.T) {
	for name, source := range map[string]func(i int) netip.Addr{
		"a shared source": func(int) netip.Addr { return netip.MustParseAddr("198.51.100.1") },
		"many sources":    func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(c *auth.Config) {
					c.MaxRecords, c.SharedSources = 64, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
				})
				attacker := f.from("198.51.100.1")
				known := attacker
				known.From, known.Client = "sip:bill@example.com", "bill"
				require.Equal(t, auth.Accept, f.try(known, `DE\bill`, "other").Verdict)
				f.fail(attacker, `DE\tom`, 3)
				full := 0
				for i := range 200 {
					attacker.Source = source(i)
					switch d := f.try(attacker, fmt.Sprint("account ", i), "guess"); {
					case errors.Is(d.Reason, auth.ErrBusy):
						require.Equal(t, auth.Unavailable, d.Verdict)
						require.NotZero(t, d.RetryAfter)
						full++
					default:
						require.ErrorIs(t, d.Reason, auth.ErrBadCredentials)
					}
				}
				require.NotZero(t, full)
				calls := f.verifier.calls.Load()
				require.LessOrEqual(t, calls, int64(64))
				require.ErrorIs(t, f.try(f.from("192.0.2.77"), `DE\tom`, "guess").Reason, auth.ErrBadPassword, "the fourth")
				for range 3 {
					require.ErrorIs(t, f.try(f.from("192.0.2.78"), `DE\tom`, "guess").Reason, auth.ErrThrottled)
				}
				require.Equal(t, calls+1, f.verifier.calls.Load())
				require.Equal(t, auth.Accept, f.try(known, `DE\bill`, "other").Verdict)
				time.Sleep(15 * time.Minute)
				require.Equal(t, auth.Accept, f.try(attacker, `DE\tom`, "secret").Verdict)
			})
		})
	}
}

// BSP-2.10-8: likewise for one source, whatever the accounts, but several times as
// often: it may be many users.
func TestThrottleBySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		r := f.from("192.0.2.1")
		for i := range 19 {
			r.Client = fmt.Sprint("client ", i)
			f.fail(r, fmt.Sprint("user", i), 1)
		}
		require.Equal(t, auth.Accept, f.try(r, `DE\ann`, `p:a\ß€`).Verdict)
		for i := range 1 {
			r.Client = fmt.Sprint("client ", i)
			f.fail(r, fmt.Sprint("user", i), 1)
		}
		require.Equal(t, auth.Forbid, f.try(r, `DE\tom`, "secret").Verdict)
		require.Equal(t, auth.Accept, f.try(f.from("192.0.2.2"), `DE\tom`, "secret").Verdict)
		time.Sleep(15 * time.Minute)
		require.Equal(t, auth.Accept, f.try(r, `DE\bill`, "other").Verdict)
	})
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		name, first, second string
		want                auth.Verdict
	}{
		{"IPv6 is counted by /64", "2001:db8::1", "2001:db8::2:2", auth.Forbid},
		{"another /64", "2001:db8::1", "2001:db8:0:1::1", auth.Accept},
		{"mapped IPv4", "::ffff:192.0.2.1", "192.0.2.1", auth.Forbid},
		{"zone", "fe80::1%eth0", "fe80::1%eth1", auth.Forbid},
		{"shared by many", "203.0.113.7", "203.0.113.7", auth.Accept},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *auth.Config) {
				cfg.MaxSourceFailures = 4
				cfg.SharedSources = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			})
			for i := range 4 {
				f.fail(f.from(c.first), fmt.Sprint("user", i), 1)
			}
			require.Equal(t, c.want, f.try(f.from(c.second), `DE\tom`, "secret").Verdict)
		})
	}
}

// The directory locks an account, whichever name it was called by.
func TestThrottleAcrossNames(t *testing.T) {
	f := newFixture(t, nil)
	for i, name := range []string{`DE\tom`, ` de\TOM `, "tom@de.example", "Tom"} {
		f.fail(f.from(fmt.Sprintf("192.0.2.%d", i)), name, 1)
	}
	require.Equal(t, auth.Forbid, f.try(f.from("198.51.100.1"), `DE\tom`, "secret").Verdict)
}

// BSP-2.10-8: somebody else's failures hold up neither an established session nor a
// right password from where the account signed in before, whatever the Contact.
func TestKnownUserIsNotHeldUp(t *testing.T) {
	f := newFixture(t, nil)
	tom := f.request("tom")
	answer := f.answer(tom, f.Check(tom), `DE\tom`, "secret")
	require.Equal(t, auth.Accept, f.Check(answer).Verdict)

	attacker := tom // even behind the same NAT
	attacker.Client, attacker.From = "attacker", "sip:attacker@example.com"
	f.fail(attacker, `DE\tom`, 3)
	for range 10 {
		d := f.try(attacker, `DE\tom`, "guess")
		require.Equal(t, auth.Forbid, d.Verdict)
		require.Positive(t, d.RetryAfter)
		require.Contains(t, d.Header[0].Value, "Too many failed attempts")
	}
	require.Equal(t, auth.Accept, f.Check(tom).Verdict, "session")
	require.Equal(t, auth.Accept, f.Check(answer).Verdict, "the session's credentials")
	tom.Client += " from another port"
	require.Equal(t, auth.Accept, f.try(tom, `DE\tom`, "secret").Verdict, "new credentials")
}

// A directory that locks accounts hears of MaxFailures, the known user's included:
// the last attempt is kept for him.
func TestKnownUserHasOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		tom := f.request("tom")
		require.Equal(t, auth.Accept, f.try(tom, `DE\tom`, "secret").Verdict)
		calls := f.verifier.calls.Load()
		for i := range 50 {
			f.try(f.from(fmt.Sprintf("192.0.2.%d", i)), `DE\tom`, "guess")
		}
		require.Equal(t, calls+3, f.verifier.calls.Load())
		require.ErrorIs(t, f.try(tom, `DE\tom`, "mistyped").Reason, auth.ErrBadPassword)
		require.Equal(t, auth.Forbid, f.try(tom, `DE\tom`, "secret").Verdict)
		require.Equal(t, calls+4, f.verifier.calls.Load())
		time.Sleep(15 * time.Minute)
		require.Equal(t, auth.Accept, f.try(tom, `DE\tom`, "secret").Verdict)
	})
}

// BSP-2.11-1, BSP-2.11-2: a controller has one account for all of its users, so
// that who knows the account's name must not be able to keep out those who come
// after the failures.
func TestKnownControllerIsNotHeldUp(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) {
		c.AMCC = auth.VerifierFunc(func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
			if string(c.Password.Reveal()) != "secret" {
				return auth.Identity{}, auth.ErrBadPassword
			}
			return auth.Identity{}, nil
		})
	})
	session := func(user, source string) auth.Request {
		return auth.Request{
			Client: "sip:" + user + "@example.com sip:fmc@192.0.2.1", From: "sip:" + user + "@example.com",
			Source: netip.MustParseAddr(source), Method: "SUBSCRIBE", AMCC: true,
		}
	}
	require.Equal(t, auth.Accept, f.try(session("tom", "192.0.2.1"), "amcc", "secret").Verdict)
	f.fail(session("tom", "203.0.113.1"), "amcc", 3)
	require.Equal(t, auth.Forbid, f.try(session("ann", "192.0.2.2"), "amcc", "secret").Verdict, "another machine")
	require.Equal(t, auth.Accept, f.try(session("ann", "192.0.2.1"), "amcc", "secret").Verdict)
}

// Where no directory locks accounts, nobody locks out a user: the failures of a
// source hold back that source, and a user who is known there has failures of his own.
func TestAccountsThatNobodyLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *auth.Config) { c.Verifier = unlocked{c.Verifier} })
		tom := f.from("192.0.2.1")
		tom.From = "sip:tom@example.com"
		require.Equal(t, auth.Accept, f.try(tom, `DE\tom`, "secret").Verdict)
		f.fail(f.from("192.0.2.1"), `DE\tom`, 4)
		start := time.Now()
		require.Equal(t, auth.Forbid, f.try(f.from("192.0.2.1"), `DE\tom`, "secret").Verdict)
		f.fail(tom, `DE\tom`, 1)
		tom.Client = "another port"
		require.Equal(t, auth.Accept, f.try(tom, `DE\tom`, "secret").Verdict)
		require.Zero(t, time.Since(start))

		for i := range 4 {
			f.fail(f.from(fmt.Sprintf("198.51.100.%d", i)), `DE\tom`, 1)
		}
		start = time.Now()
		require.Equal(t, auth.Accept, f.try(f.from("203.0.113.1"), `DE\tom`, "secret").Verdict, "a new device")
		require.Equal(t, time.Second, time.Since(start), "guesses from many sources are slow")
		f.fail(tom, `DE\tom`, 4)
		require.Equal(t, auth.Forbid, f.try(tom, `DE\tom`, "secret").Verdict)
	})
}

// Two accounts of the same name in two domains count as one, since they may be one.
// But a success of the one does not wipe out guesses at the other, which its
// directory counts.
func TestSuccessOfANamesake(t *testing.T) {
	f := newFixture(t, nil)
	f.verifier.passwords[`fr\tom`] = "mine"
	r := f.from("192.0.2.1")
	f.fail(r, `DE\tom`, 3)
	require.Equal(t, auth.Accept, f.try(r, `FR\tom`, "mine").Verdict)
	f.fail(r, `DE\tom`, 1)
	require.Equal(t, auth.Forbid, f.try(r, `DE\tom`, "secret").Verdict)
}

// What the directory says that an account is called counts as well as what was typed.
func TestSuccessUnderAnotherName(t *testing.T) {
	f := newFixture(t, nil)
	r := f.from("192.0.2.1")
	f.fail(r, `DE\tom`, 3)
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
		return auth.Identity{Account: `DE\tom`}, nil
	}
	require.Equal(t, auth.Accept, f.try(r, "tom@de.example", "secret").Verdict)
	f.verifier.override = nil
	f.fail(r, `DE\tom`, 3)
}

// BSX-8: while a directory hangs, a source and an account hold a part of the places
// for requests that wait. The rest of theirs is told to come again, and others go on.
func TestShareOfPlaces(t *testing.T) {
	for name, vary := range map[string]func(*auth.Request, int) string{
		"source": func(_ *auth.Request, i int) string { return fmt.Sprint("user", i) },
		"account": func(r *auth.Request, i int) string {
			r.Source = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			return "user"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nil)
				f.verifier.override = func(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
					if c.Name.User == "tom" {
						return auth.Identity{}, nil
					}
					<-ctx.Done()
					return auth.Identity{}, ctx.Err()
				}
				var wg sync.WaitGroup
				var busy atomic.Int64
				start := time.Now()
				for i := range 300 {
					r := f.from("192.0.2.1")
					account := vary(&r, i)
					r.Client = fmt.Sprint(i)
					answer := f.answer(r, f.Check(r), account, fmt.Sprint(i))
					wg.Go(func() {
						if d := f.Check(answer); errors.Is(d.Reason, auth.ErrBusy) && time.Since(start) == 0 && d.RetryAfter > 0 {
							busy.Add(1)
						}
					})
				}
				synctest.Wait()
				require.EqualValues(t, 300-128/4, busy.Load())
				require.Equal(t, 128/4, f.Stats().Pending)
				require.Equal(t, auth.Accept, f.try(f.request("tom"), `DE\tom`, "secret").Verdict)
				require.Zero(t, time.Since(start))
				wg.Wait()
			})
		})
	}
}

// BSP-4.3-7, BSX-10: a datagram with Basic credentials proves nothing of its source.
func TestBasicOfAnySource(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Basic = auth.Anywhere })
	r := f.from("192.0.2.1")
	for i := range 30 {
		r.Authorization = []string{fmt.Sprintf(`Basic username="DE\x%d:wrong"`, i)}
		require.ErrorIs(t, f.Check(r).Reason, auth.ErrUnknownAccount)
	}
	r.Authorization = nil
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	r.Connection = 1
	for i := range 20 {
		r.Authorization = []string{fmt.Sprintf(`Basic username="DE\y%d:wrong"`, i)}
		require.ErrorIs(t, f.Check(r).Reason, auth.ErrUnknownAccount)
	}
	require.ErrorIs(t, f.Check(r).Reason, auth.ErrThrottled)
}

// A success forgets the account's failures, and no others of the source: one
// good account must not wipe out guesses at others.
func TestSuccessForgets(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.MaxSourceFailures = 4 })
	r := f.from("192.0.2.1")
	f.fail(r, `DE\tom`, 3)
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	f.fail(r, `DE\bill`, 3)
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	f.fail(r, `DE\ann`, 1)
	require.Equal(t, auth.Forbid, f.try(r, `DE\ann`, `p:a\ß€`).Verdict)
}

// Parallel attempts do not pass before the first of them is counted, and those
// in excess wait for the result, rather than fail.
func TestParallelAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
			time.Sleep(time.Second)
			return auth.Identity{}, auth.ErrBadPassword
		}
		var requests []auth.Request
		for i := range 20 {
			r := f.from(fmt.Sprintf("192.0.2.%d", i))
			requests = append(requests, f.answer(r, f.Check(r), `DE\tom`, fmt.Sprint("guess", i)))
		}
		var mu sync.Mutex
		verdicts := make(map[auth.Verdict]int)
		var wg sync.WaitGroup
		for _, r := range requests {
			wg.Go(func() {
				d := f.Check(r)
				mu.Lock()
				defer mu.Unlock()
				verdicts[d.Verdict]++
			})
		}
		wg.Wait()
		require.EqualValues(t, 4, f.verifier.calls.Load())
		require.Equal(t, map[auth.Verdict]int{auth.Challenge: 4, auth.Forbid: 16}, verdicts)
	})
}

// BSP-2.10-10: only what the verifier refused counts.
func TestUnavailableDoesNotCount(t *testing.T) {
	f := newFixture(t, nil)
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
		return auth.Identity{}, context.DeadlineExceeded
	}
	for range 10 {
		require.Equal(t, auth.Unavailable, f.try(f.request("tom"), `DE\tom`, "secret").Verdict)
	}
	require.Zero(t, f.Stats().Failures)
}

func TestNoThrottle(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.MaxFailures = -1 })
	f.fail(f.request("tom"), `DE\tom`, 20)
	require.Equal(t, auth.Accept, f.try(f.request("tom"), `DE\tom`, "secret").Verdict)
}

// keyingVerifier knows which account a name belongs to, or does not.
type keyingVerifier struct {
	auth.Verifier
	key string
	err error
}

func (v *keyingVerifier) AccountKey(context.Context, auth.Name) (string, error) { return v.key, v.err }

// A verifier that knows the names of an account decides what counts together; and
// where it cannot find out, nothing is counted and nothing tried (BSP-2.10-9).
func TestAccountKeyer(t *testing.T) {
	v := &keyingVerifier{}
	f := newFixture(t, func(c *auth.Config) {
		v.Verifier = c.Verifier
		c.Verifier = v
	})
	v.key = "x"
	f.fail(f.from("192.0.2.1"), `DE\tom`, 2)
	f.fail(f.from("192.0.2.2"), `DE\bill`, 2)
	require.ErrorIs(t, f.try(f.from("192.0.2.3"), `DE\ann`, `p:a\ß€`).Reason, auth.ErrThrottled)
	v.key = "y"
	require.Equal(t, auth.Accept, f.try(f.from("192.0.2.3"), `DE\ann`, `p:a\ß€`).Verdict)

	v.err = context.DeadlineExceeded
	calls := f.verifier.calls.Load()
	d := f.try(f.from("192.0.2.4"), `DE\tom`, "wrong")
	require.Equal(t, auth.Unavailable, d.Verdict)
	require.ErrorIs(t, d.Reason, auth.ErrUnavailable)
	require.Equal(t, calls, f.verifier.calls.Load())
}
