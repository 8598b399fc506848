package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
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

// sessions leaves out the records of who is known.
func sessions(keep func(auth.SessionRecord)) func(auth.SessionRecord) {
	return func(r auth.SessionRecord) {
		if !bytes.Contains(r.Value, []byte(`"known"`)) {
			keep(r)
		}
	}
}

// BSX-10: the sessions of an account that was removed end, those of others go on, and
// what was stored of them is to be forgotten.
func TestEndSessions(t *testing.T) {
	stored := make(map[string]time.Time)
	f := newFixture(t, func(c *auth.Config) {
		c.KeepSession = sessions(func(r auth.SessionRecord) { stored[r.Key] = r.Expires })
	})
	tom, bill := f.request("tom"), f.request("bill")
	second := tom
	second.Client += ";second"
	for _, r := range []auth.Request{tom, second} {
		require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	}
	require.Equal(t, auth.Accept, f.try(bill, `DE\bill`, "other").Verdict)
	asked := 0
	require.Equal(t, 2, f.EndSessions(func(id auth.Identity) bool {
		asked++
		return id.Account == `de\tom`
	}))
	require.Equal(t, 2, asked)
	require.Equal(t, auth.Challenge, f.Check(tom).Verdict)
	require.Equal(t, auth.Challenge, f.Check(second).Verdict)
	require.Equal(t, auth.Accept, f.Check(bill).Verdict)
	kept := slices.DeleteFunc(slices.Collect(maps.Values(stored)), time.Time.IsZero)
	require.Len(t, kept, 1)
	require.Equal(t, auth.Accept, f.try(tom, `DE\tom`, "secret").Verdict, "it may sign in, if it can")
}

// BSX-10: an impostor's session is not in the way of the user whose From, Contact and
// address it has: the host disowns it, and the user is asked.
func TestDisown(t *testing.T) {
	var stored auth.SessionRecord
	f := newFixture(t, func(c *auth.Config) { c.KeepSession = func(r auth.SessionRecord) { stored = r } })
	r := f.request("tom")
	require.Equal(t, auth.Accept, f.try(r, `DE\bill`, "other").Verdict)
	require.Equal(t, `de\bill`, f.Check(r).Identity.Account)
	d := f.Disown(t.Context(), r)
	require.Equal(t, auth.Challenge, d.Verdict)
	require.Equal(t, `de\bill`, f.Check(r).Identity.Account, "a datagram, which may be forged, ends nothing")
	answer := f.answer(r, d, `DE\tom`, "secret")
	require.Equal(t, `de\tom`, f.Check(answer).Identity.Account)
	require.True(t, stored.Expires.IsZero())
	require.Equal(t, auth.Forbid, f.Disown(t.Context(), answer).Verdict, "who says who they are is not asked again")
	require.Equal(t, auth.Challenge, f.Check(r).Verdict)

	r.Connection = 1
	require.Equal(t, auth.Accept, f.try(r, `DE\bill`, "other").Verdict)
	require.Equal(t, auth.Challenge, f.Disown(t.Context(), r).Verdict)
	require.True(t, stored.Expires.IsZero())
	require.Equal(t, auth.Challenge, f.Check(r).Verdict, "a connection is who it is")
}

// Two users with one From, Contact and address: a success of the other ends the
// session, so that nobody is taken for somebody else. Both are asked again.
func TestSessionOfTwoUsers(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")
	require.Equal(t, `de\tom`, f.try(r, `DE\tom`, "secret").Identity.Account)
	require.Equal(t, `de\bill`, f.try(r, `DE\bill`, "other").Identity.Account)
	require.Equal(t, auth.Challenge, f.Check(r).Verdict)
	require.Equal(t, `de\tom`, f.try(r, `DE\tom`, "secret").Identity.Account)
	require.Equal(t, `de\tom`, f.Check(r).Identity.Account)
}

// BSX-10: a session is bound to how its flow was protected. That of TLS is good on
// its connection alone, unless the very credentials come again over another one.
// Whoever forges a datagram has no use of any connection's session.
func TestSessionIsOfItsFlow(t *testing.T) {
	flows := map[string]func(*auth.Request){
		"udp":   func(*auth.Request) {},
		"tcp 1": func(r *auth.Request) { r.Connection = 1 },
		"tcp 2": func(r *auth.Request) { r.Connection = 2 },
		"tls 3": func(r *auth.Request) { r.Connection, r.Secure = 3, true },
		"tls 4": func(r *auth.Request) { r.Connection, r.Secure = 4, true },
	}
	for opened, open := range flows {
		for used, use := range flows {
			for _, anySource := range []bool{false, true} {
				f := newFixture(t, func(c *auth.Config) { c.AnySource = anySource })
				r := f.request("tom")
				open(&r)
				answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
				require.Equal(t, auth.Accept, f.Check(answer).Verdict)
				r = f.request("tom")
				use(&r)
				same := opened == used || opened[:3] == "tcp" && used[:3] == "tcp" || anySource && opened[:3] == used[:3]
				require.Equal(t, same, f.Check(r).Verdict == auth.Accept, "opened by %s, used by %s, %t", opened, used, anySource)
			}
		}
	}
	f := newFixture(t, nil)
	r := f.request("tom")
	flows["tls 3"](&r)
	answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
	require.Equal(t, auth.Accept, f.Check(answer).Verdict)
	flows["tls 4"](&r)
	flows["tls 4"](&answer)
	require.Equal(t, auth.Accept, f.Check(answer).Verdict, "the client is back")
	require.EqualValues(t, 1, f.verifier.calls.Load())
	require.Equal(t, auth.Accept, f.Check(r).Verdict)
	flows["tls 3"](&r)
	require.Equal(t, auth.Challenge, f.Check(r).Verdict)
}

// A challenge may be answered over another transport: large requests go over TCP
// (RFC 3261 §18.1.1).
func TestChallengeIsOfAnyFlow(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")
	answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
	answer.Connection = 7
	require.Equal(t, auth.Accept, f.Check(answer).Verdict)
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

// BSX-13: a session that was restored tells whether the password is still the one that opened it.
func TestRestoredSessionOfOldPassword(t *testing.T) {
	hash := func() string { return hashOfCost(t, 4) } // each has a salt of its own
	accounts := func(tom, ann string) *auth.LocalAccounts {
		l, err := auth.NewLocalAccounts([]auth.Account{{Account: "tom", PasswordHash: tom}, {Account: "ann", PasswordHash: ann}})
		require.NoError(t, err)
		return l
	}
	tomHash, annHash := hash(), hash()
	before, after := accounts(tomHash, annHash), accounts(hash(), annHash)
	kept := make(map[string]auth.SessionRecord)
	old := newFixture(t, func(c *auth.Config) {
		c.Verifier, c.KeepSession = before, sessions(func(r auth.SessionRecord) { kept[r.Key] = r })
	})
	requests := make(map[string]auth.Request)
	for _, user := range []string{"tom", "ann"} {
		requests[user] = old.request(user)
		d := old.try(requests[user], user, "secret")
		require.Equal(t, auth.Identity{Account: user}, d.Identity, "hosts do not see the stamp")
	}
	require.Zero(t, old.EndSessions(func(id auth.Identity) bool { return !before.HasAccount(id) }))
	f := newFixture(t, func(c *auth.Config) { c.Verifier = after })
	for _, record := range kept {
		require.NotContains(t, string(record.Value), tomHash[29:], "what a password could be guessed from")
		require.NotContains(t, string(record.Value), annHash[29:])
		require.NoError(t, f.RestoreSession(record))
	}
	require.Equal(t, 1, f.EndSessions(func(id auth.Identity) bool { return !after.HasAccount(id) }))
	require.Equal(t, auth.Challenge, f.Check(requests["tom"]).Verdict)
	require.Equal(t, auth.Accept, f.Check(requests["ann"]).Verdict)

	// Who signs in with the new password while the session of the old one is there has one.
	for _, record := range kept {
		require.NoError(t, f.RestoreSession(record))
	}
	require.Equal(t, auth.Accept, f.try(requests["tom"], "tom", "secret").Verdict)
	require.Zero(t, f.EndSessions(func(id auth.Identity) bool { return !after.HasAccount(id) }))
	require.Equal(t, auth.Accept, f.Check(requests["tom"]).Verdict)
}

// BSX-11: sessions go on in another guard, for what is left of their time. Nothing of
// the credentials is kept: the old X-BSS-rauth is not known there.
func TestRestoreSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := make(map[string]auth.SessionRecord)
		old := newFixture(t, func(c *auth.Config) {
			c.KeepSession = sessions(func(r auth.SessionRecord) { kept[r.Key] = r })
		})
		want := auth.Identity{Account: `de\tom`, ID: "\x00\xffid", DN: "CN=Tom,DC=de"}
		old.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) { return want, nil }
		r := old.request("tom")
		answer := old.answer(r, old.Check(r), `DE\tom`, "secret")
		require.Equal(t, auth.Accept, old.Check(answer).Verdict)
		secure := old.request("bill")
		secure.Secure, secure.Connection = true, 1
		require.Equal(t, auth.Accept, old.try(secure, `DE\tom`, "secret").Verdict)
		require.Len(t, kept, 1, "a session of TLS ends with its connection")

		time.Sleep(7 * time.Hour)
		f := newFixture(t, nil)
		for _, record := range kept {
			require.NoError(t, f.RestoreSession(record))
		}
		require.Equal(t, want, f.Check(r).Identity)
		require.ErrorIs(t, f.Check(answer).Reason, auth.ErrWrongKey)
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, want, f.Check(r).Identity)
		time.Sleep(time.Second)
		require.Equal(t, auth.Challenge, f.Check(r).Verdict)
		for _, record := range kept {
			require.NoError(t, f.RestoreSession(record))
			require.Zero(t, f.Stats().Sessions, "it has expired")

			record.Expires = time.Now().Add(1000 * time.Hour) // by a clock that was wrong
			require.NoError(t, f.RestoreSession(record))
			time.Sleep(8 * time.Hour)
			require.Zero(t, f.Stats().Sessions)
		}

		require.Equal(t, auth.Accept, old.try(r, `DE\tom`, "secret").Verdict)
		want.Account = `de\bill`
		require.Equal(t, auth.Accept, old.try(r, `DE\bill`, "other").Verdict)
		for _, record := range kept {
			require.True(t, record.Expires.IsZero(), "the session has ended early")
		}
	})
}

func TestRestoreSessionRefuses(t *testing.T) {
	f := newFixture(t, nil)
	const key, value = "AAAAAAAAAAAAAAAAAAAAAA", `{"v":1,"account":"tom"}`
	for _, r := range []auth.SessionRecord{
		{}, {Key: key}, {Key: "AAAA", Value: []byte(value)}, {Key: key + "AAAA", Value: []byte(value)}, {Key: "?" + key[1:], Value: []byte(value)},
		{Key: key, Value: []byte(`{"v":2,"account":"tom"}`)}, {Key: key, Value: []byte(`{"v":1}`)}, {Key: key, Value: []byte(`{"v":1,"known":"AAAA"}`)}, {Key: key, Value: []byte(value[:10])},
	} {
		r.Expires = time.Now().Add(time.Hour)
		require.ErrorContains(t, f.RestoreSession(r), "auth: ", "%v", r)
	}
	require.Zero(t, f.Stats().Sessions)
	require.NoError(t, f.RestoreSession(auth.SessionRecord{Key: key, Value: []byte(value), Expires: time.Now().Add(time.Hour)}))
	require.Equal(t, 1, f.Stats().Sessions)
	require.NoError(t, f.RestoreSession(auth.SessionRecord{Key: key}), "it has ended elsewhere")
	require.Zero(t, f.Stats().Sessions)
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
