package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// BSP-2.10-8: a session has a lifetime, from its success on.
func TestSessionLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		r := f.request("tom")
		require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
		time.Sleep(8*time.Hour - time.Millisecond)
		require.Equal(t, auth.Accept, f.Check(r).Verdict)
		time.Sleep(time.Millisecond)
		require.Equal(t, auth.Challenge, f.Check(r).Verdict)
		require.EqualValues(t, 1, f.verifier.calls.Load())
	})
}

// BSP-2.10-8: the credentials that opened the session are accepted as long as it
// lasts, also after their key has gone, and others are checked.
func TestSessionProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		r := f.request("tom")
		answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
		require.Equal(t, auth.Accept, f.Check(answer).Verdict)
		time.Sleep(time.Hour)
		require.Equal(t, auth.Accept, f.Check(answer).Verdict)
		require.EqualValues(t, 1, f.verifier.calls.Load())

		require.Equal(t, auth.Challenge, f.try(r, `DE\tom`, "wrong").Verdict)
		require.Equal(t, auth.Accept, f.Check(r).Verdict, "somebody else's attempt does not end the session")
		require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
		require.EqualValues(t, 3, f.verifier.calls.Load())

		time.Sleep(8 * time.Hour)
		require.ErrorIs(t, f.Check(answer).Reason, auth.ErrWrongKey)
	})
}

// BSP-2.10-8: a session is of one client, and is used from where it was opened.
func TestSessionIsOfItsClient(t *testing.T) {
	for _, anySource := range []bool{false, true} {
		f := newFixture(t, func(c *auth.Config) { c.AnySource = anySource })
		r := f.request("tom")
		require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)

		other := r
		other.Client += ";other"
		require.Equal(t, auth.Challenge, f.Check(other).Verdict)

		moved := r
		moved.Source = netip.MustParseAddr("198.51.100.9")
		want := auth.Challenge
		if anySource {
			want = auth.Accept
		}
		require.Equal(t, want, f.Check(moved).Verdict)

		amcc := r
		amcc.AMCC = true
		require.Equal(t, auth.Challenge, f.Check(amcc).Verdict)
	}
}

// The last success decides whose session it is.
func TestSessionChangesHands(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")
	require.Equal(t, `de\tom`, f.try(r, `DE\tom`, "secret").Identity.Account)
	require.Equal(t, `de\bill`, f.try(r, `DE\bill`, "other").Identity.Account)
	require.Equal(t, `de\bill`, f.Check(r).Identity.Account)
}

// Identities come back from a session as they went in.
func TestSessionKeepsIdentity(t *testing.T) {
	f := newFixture(t, nil)
	want := auth.Identity{Account: `de\tom`, ID: "\x00\xffid", DN: "CN=Tom,DC=de"}
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) { return want, nil }
	r := f.request("tom")
	require.Equal(t, want, f.try(r, `DE\tom`, "secret").Identity)
	require.Equal(t, want, f.Check(r).Identity)
}

// Guards that share a store and a secret share sessions and challenges.
func TestSharedStore(t *testing.T) {
	store, err := auth.NewMemory(0, nil)
	require.NoError(t, err)
	share := func(c *auth.Config) {
		c.Store, c.Secret = store, auth.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	}
	one, two := newFixture(t, share), newFixture(t, share)
	r := one.request("tom")
	answer := one.answer(r, one.Check(r), `DE\tom`, "secret")
	require.Equal(t, auth.Accept, two.Check(answer).Verdict)
	require.Equal(t, auth.Accept, one.Check(r).Verdict)
	require.Equal(t, auth.Accept, one.Check(answer).Verdict)
	require.Zero(t, one.verifier.calls.Load())
}

// A session record that cannot be read, of another version say, is none.
func TestUnreadableSession(t *testing.T) {
	store := &corrupting{}
	f := newFixture(t, func(c *auth.Config) {
		memory, err := auth.NewMemory(0, nil)
		require.NoError(t, err)
		store.Store = memory
		c.Store = store
	})
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
		return auth.Identity{Account: "tom", ID: "id", DN: "dn"}, nil
	}
	r := f.request("tom")
	whole := 0
	for corrupt := range 48 {
		store.corrupt = func(v string) string { return v[:min(corrupt, len(v))] }
		require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
		if d := f.Check(r); d.Verdict == auth.Accept {
			require.Equal(t, auth.Identity{Account: "tom", ID: "id", DN: "dn"}, d.Identity)
			whole++
		}
	}
	require.Equal(t, 48-(2+32+4+3+3), whole, "only whole records are read")
	store.corrupt = func(v string) string { return "\x09" + v[1:] }
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	require.Equal(t, auth.Challenge, f.Check(r).Verdict)
	store.corrupt = func(v string) string { return v[:34] + "\xff\xff\xff\xff\xff" + v[34:] }
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	require.Equal(t, auth.Challenge, f.Check(r).Verdict)
}

// corrupting alters the sessions that are written to it.
type corrupting struct {
	auth.Store
	corrupt func(string) string
}

func (c *corrupting) Put(ctx context.Context, kind auth.Kind, key, value string, lifetime time.Duration) error {
	if kind == auth.KindSession {
		value = c.corrupt(value)
	}
	return c.Store.Put(ctx, kind, key, value, lifetime)
}

// Everything at once, for the race detector: nobody with the right password is
// refused, whatever his other clients do at the same time.
func TestManyAtOnce(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Cipher = auth.AESGCM{} })
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r := f.from("192.0.2.1")
			r.Client = fmt.Sprint("client ", i/2) // two goroutines each
			for range 50 {
				d := f.Check(r)
				for range 10 {
					if d.Verdict != auth.Challenge {
						break
					}
					c, _ := auth.NewCredentials(`DE\tom`, []byte("secret"))
					answer := r
					answer.Rauth, _ = c.Encrypt(f.cipher, d.Header[0].Value)
					d = f.Check(answer)
				}
				if d.Verdict != auth.Accept {
					t.Errorf("client %d: %v %v", i, d.Verdict, d.Reason)
				}
			}
			f.Stats()
		})
	}
	wg.Wait()
	require.Zero(t, f.Stats().Failures)
}

// BSP-2.10-9: a store that is down is a 503 as well, and lets nobody in.
func TestStoreDown(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Store = downStore{} })
	r := f.request("tom")
	for _, rauth := range []string{"", "AAAA"} {
		r.Rauth = rauth
		d := f.Check(r)
		require.Equal(t, auth.Unavailable, d.Verdict)
		require.ErrorIs(t, d.Reason, errDown)
		require.Equal(t, 5*time.Second, d.RetryAfter)
	}
	require.Equal(t, -1, f.Stats().Sessions)
}

var errDown = errors.New("store is down")

type downStore struct{}

func (downStore) Get(context.Context, auth.Kind, string) (auth.Record, error) {
	return auth.Record{}, errDown
}
func (downStore) Put(context.Context, auth.Kind, string, string, time.Duration) error { return errDown }
func (downStore) Swap(context.Context, auth.Kind, string, string, time.Duration, uint64) error {
	return errDown
}
func (downStore) Delete(context.Context, auth.Kind, string) error { return errDown }
