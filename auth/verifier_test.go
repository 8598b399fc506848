package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// Reasons differ in logs and metrics, and are the same 401 to the client.
func TestReasons(t *testing.T) {
	for label, reason := range map[string]error{
		"unknown_account": auth.ErrUnknownAccount, "bad_password": auth.ErrBadPassword, "disabled": auth.ErrAccountDisabled,
		"account_expired": auth.ErrAccountExpired, "password_expired": auth.ErrPasswordExpired, "must_change": auth.ErrMustChange,
		"locked": auth.ErrAccountLocked, "not_permitted": auth.ErrNotPermitted, "bad_credentials": auth.ErrBadCredentials,
	} {
		t.Run(label, func(t *testing.T) {
			var refused []auth.Event
			f := newFixture(t, func(c *auth.Config) {
				c.OnDecision = func(e auth.Event) {
					if errors.Is(e.Reason, auth.ErrBadCredentials) {
						refused = append(refused, e)
					}
				}
			})
			f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
				return auth.Identity{}, fmt.Errorf("directory: code 49: %w", reason)
			}
			d := f.try(f.request("tom"), `DE\tom`, "secret")
			require.ErrorIs(t, d.Reason, reason)
			require.ErrorIs(t, d.Reason, auth.ErrBadCredentials)
			require.Equal(t, label, auth.Reason(d.Reason))
			require.Len(t, key(t, d), auth.KeyLength)
			require.Len(t, refused, 1)
			require.Equal(t, `de\tom`, refused[0].Account)
			require.ErrorIs(t, refused[0].Reason, reason)
		})
	}
	require.Equal(t, "", auth.Reason(nil))
	require.Equal(t, "other", auth.Reason(errors.New("x")))
	require.Equal(t, "throttled", auth.Reason(auth.ErrThrottled))
}

// BSP-2.10-9: a directory that is down is a 503 with Retry-After, never a 401.
func TestVerifierDown(t *testing.T) {
	down := errors.New("connection refused")
	f := newFixture(t, func(c *auth.Config) { c.RetryAfter = 7 * time.Second })
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
		return auth.Identity{}, down
	}
	d := f.try(f.request("tom"), `DE\tom`, "secret")
	require.Equal(t, auth.Unavailable, d.Verdict)
	require.Equal(t, 503, d.Verdict.StatusCode())
	require.Equal(t, 7*time.Second, d.RetryAfter)
	require.ErrorIs(t, d.Reason, down)
	require.ErrorIs(t, d.Reason, auth.ErrUnavailable)

	// The key that the client has is good for its next try.
	f.verifier.override = nil
	r := f.request("bill")
	answer := f.answer(r, f.Check(r), `DE\bill`, "other")
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) { return auth.Identity{}, down }
	require.Equal(t, auth.Unavailable, f.Check(answer).Verdict)
	f.verifier.override = nil
	require.Equal(t, auth.Accept, f.Check(answer).Verdict)
}

// BSP-2.10-9: a verifier that hangs is given up, whether it minds its context or
// not, and delays nobody with a session.
func TestVerifierHangs(t *testing.T) {
	for _, minds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, nil)
			require.Equal(t, auth.Accept, f.try(f.request("bill"), `DE\bill`, "other").Verdict)
			f.verifier.override = func(ctx context.Context, _ auth.Credentials) (auth.Identity, error) {
				if minds {
					<-ctx.Done()
					return auth.Identity{}, ctx.Err()
				}
				time.Sleep(time.Hour)
				return auth.Identity{Account: "late"}, nil
			}
			start := time.Now()
			r := f.request("tom")
			answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
			done := make(chan auth.Decision, 1)
			go func() { done <- f.Check(answer) }()
			synctest.Wait()
			require.Equal(t, 1, f.Stats().Verifying)
			require.Equal(t, auth.Accept, f.Check(f.request("bill")).Verdict)
			require.Zero(t, time.Since(start), "nobody with a session waits")

			require.Equal(t, auth.Unavailable, (<-done).Verdict)
			require.Equal(t, 10*time.Second, time.Since(start))
			time.Sleep(2 * time.Hour)
			require.Zero(t, f.Stats().Verifying)
			require.Zero(t, f.Stats().Failures)
		})
	}
}

// A directory that hangs keeps nobody waiting who does not need it: controllers
// and Digest clients have local accounts.
func TestHungDirectoryIsNotForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := localAccounts(t)
		f := newFixture(t, func(c *auth.Config) {
			c.AMCC, c.Digest, c.MaxVerifications, c.MaxPending = local, local, 5, 20
		})
		f.verifier.override = func(ctx context.Context, _ auth.Credentials) (auth.Identity, error) {
			<-ctx.Done()
			return auth.Identity{}, ctx.Err()
		}
		var wg sync.WaitGroup
		for i := range 5 {
			r := f.from("192.0.2.1")
			r.Client = fmt.Sprint("client ", i)
			answer := f.answer(r, f.Check(r), "user", fmt.Sprint("secret", i))
			wg.Go(func() { f.Check(answer) })
		}
		synctest.Wait()
		require.Equal(t, 4, f.Stats().Verifying)
		require.Equal(t, 5, f.Stats().Pending)

		start := time.Now()
		amcc := f.from("192.0.2.1")
		amcc.AMCC = true
		require.Equal(t, auth.Accept, f.try(amcc, "amcc", "amccpw").Verdict)
		standard := f.from("192.0.2.1")
		standard.Digest = true
		answer := respond(t, standard, challenges(t, f.Check(standard))[0], `DE\tom`, "secret", 1)
		require.Equal(t, auth.Accept, f.Check(answer).Verdict)
		require.Zero(t, time.Since(start))
		wg.Wait()
	})
}

// The host may end the wait earlier.
func TestCheckEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		f.verifier.override = func(ctx context.Context, _ auth.Credentials) (auth.Identity, error) {
			<-ctx.Done()
			return auth.Identity{}, ctx.Err()
		}
		r := f.request("tom")
		answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := f.Guard.Check(ctx, answer)
		require.Equal(t, auth.Unavailable, d.Verdict)
		require.ErrorIs(t, d.Reason, context.DeadlineExceeded)
		time.Sleep(time.Minute)
	})
}

// BSX-4: verifications under way and those who wait for them are bounded.
func TestVerificationsAreBounded(t *testing.T) {
	for name, edit := range map[string]func(*auth.Config){
		"MaxVerifications": func(c *auth.Config) { c.MaxVerifications = 2 },
		"MaxPending":       func(c *auth.Config) { c.MaxPending = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, edit)
				f.verifier.override = func(ctx context.Context, _ auth.Credentials) (auth.Identity, error) {
					<-ctx.Done()
					return auth.Identity{}, ctx.Err()
				}
				var wg sync.WaitGroup
				for i := range 2 {
					r := f.from(fmt.Sprintf("192.0.2.%d", i))
					answer := f.answer(r, f.Check(r), fmt.Sprint("user", i), "secret")
					wg.Go(func() { f.Check(answer) })
				}
				synctest.Wait()
				d := f.try(f.from("192.0.2.99"), "user99", "secret")
				require.Equal(t, auth.Unavailable, d.Verdict)
				require.ErrorIs(t, d.Reason, auth.ErrBusy)
				require.NotZero(t, d.RetryAfter)
				wg.Wait()
			})
		})
	}
}

// A verifier's panic is that request's 503, and its value is not logged.
func TestVerifierPanics(t *testing.T) {
	f := newFixture(t, nil)
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) { panic("boom") }
	d := f.try(f.request("tom"), `DE\tom`, "secret")
	require.Equal(t, auth.Unavailable, d.Verdict)
	require.NotContains(t, d.Reason.Error(), "boom")
	f.verifier.override = nil
	require.Equal(t, auth.Accept, f.try(f.request("tom"), `DE\tom`, "secret").Verdict)
}

// Requests with the same credentials ask once: a controller signs in a thousand
// users with one account (BSP-2.11-2), and one wrong password is one failure.
func TestSharedVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *auth.Config) { c.MaxPending = 2000 })
		f.verifier.override = func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
			time.Sleep(time.Second)
			if string(c.Password.Reveal()) != "secret" {
				return auth.Identity{}, auth.ErrBadPassword
			}
			return auth.Identity{Account: c.Name.String()}, nil
		}
		for i, password := range []string{"secret", "wrong"} {
			want := []auth.Verdict{auth.Accept, auth.Challenge}[i]
			var wg sync.WaitGroup
			for j := range 500 {
				r := f.from("192.0.2.1")
				r.Client = fmt.Sprint("client ", i, j)
				answer := f.answer(r, f.Check(r), `DE\tom`, password)
				wg.Go(func() {
					if got := f.Check(answer).Verdict; got != want {
						t.Errorf("%d: verdict %v, want %v", j, got, want)
					}
					if want == auth.Accept && f.Check(r).Verdict != auth.Accept {
						t.Errorf("%d: no session of its own", j)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, i+1, f.verifier.calls.Load())
		}
		require.Equal(t, 2, f.Stats().Failures, "one account, and one source")
	})
}

// Names come to the verifier as typed, and identities are normalized.
func TestNames(t *testing.T) {
	for typed, want := range map[string]auth.Name{
		`DE\Tom`:           {Domain: "DE", User: "Tom"},
		` DE \ Tom `:       {Domain: "DE", User: "Tom"},
		"Tom@de.example":   {User: "Tom@de.example"},
		"tom":              {User: "tom"},
		`\tom`:             {User: "tom"},
		`DE\tom@x.example`: {Domain: "DE", User: "tom@x.example"},
		`DE\Jürgen Ö'Neil`: {Domain: "DE", User: "Jürgen Ö'Neil"},
	} {
		got, err := auth.ParseName(typed)
		require.NoError(t, err, typed)
		require.Equal(t, want, got)
		again, err := auth.ParseName(got.String())
		require.NoError(t, err)
		require.Equal(t, want, again)
	}
	require.Equal(t, `de\tom`, auth.Name{Domain: "DE", User: "TOM"}.Account())
}

// BSP-2.4-7.
func TestSameAccount(t *testing.T) {
	tom := auth.Identity{Account: `de\tom`, ID: "4711"}
	for _, c := range []struct {
		identity    auth.Identity
		account, id string
		want        bool
	}{
		{tom, "", "4711", true},
		{tom, `DE\TOM`, "", true},
		{tom, `DE\TOM`, "4712", true},
		{tom, "tom", "", true},
		{tom, `FR\tom`, "", false},
		{tom, `DE\tomas`, "4712", false},
		{tom, "", "", false},
		{auth.Identity{}, "", "", false},
		{auth.Identity{}, "tom", "", false},
		{auth.Identity{Account: "tom"}, `DE\tom`, "", false},
		{auth.Identity{Account: "tom@de.example"}, "TOM@DE.example", "", true},
	} {
		require.Equal(t, c.want, auth.SameAccount(c.identity, c.account, c.id), "%v %q %q", c.identity, c.account, c.id)
	}
}
