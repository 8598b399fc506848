package auth_test

import (
	"context"
	"errors"
	"net/netip"
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
