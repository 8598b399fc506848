package presence_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence"
)

// domain is a directory that knows tom's password, and locks nobody by itself.
type domain struct {
	guesses atomic.Int64 // that were wrong
	asked   atomic.Int64
}

func (d *domain) Verify(_ context.Context, c auth.Credentials) (auth.Identity, error) {
	d.asked.Add(1)
	time.Sleep(10 * time.Millisecond)
	if c.Name.User == "tom" && string(c.Password.Reveal()) == "canary secret" {
		return auth.Identity{Account: `de\tom`}, nil
	}
	d.guesses.Add(1)
	return auth.Identity{}, auth.ErrBadPassword
}

// guarded is a site whose nodes ask one directory.
type guardedSite struct {
	*site
	domain *domain
	guards map[string]*auth.Guard
}

func newGuardedSite(t *testing.T, names ...string) *guardedSite {
	s := &guardedSite{site: newSite(t), domain: &domain{}, guards: make(map[string]*auth.Guard)}
	for _, name := range names {
		s.join(name)
	}
	return s
}

func (s *guardedSite) join(name string) {
	var w *world
	guard, err := auth.New(auth.Config{
		Verifier: s.domain, MaxPending: 1000,
		KeepSession: func(r auth.SessionRecord) { w.server.KeepSession(r) },
	})
	require.NoError(s, err)
	s.guards[name] = guard
	w = s.start(name, func(c *presence.Config) { c.Guard = guard })
}

// seal is a request again, with credentials for the key of a 401.
func seal(t *testing.T, r auth.Request, d auth.Decision, password string) auth.Request {
	t.Helper()
	require.Equal(t, auth.Challenge, d.Verdict)
	c, err := auth.NewCredentials(`DE\tom`, []byte(password))
	require.NoError(t, err)
	r.Rauth, err = c.Encrypt(auth.Tuz{}, d.Header[0].Value)
	require.NoError(t, err)
	return r
}

func fromAddress(i int) auth.Request {
	return auth.Request{
		Client: fmt.Sprint("client ", i), From: "sip:tom@example.com", Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Method: "SUBSCRIBE",
	}
}

// Whoever goes round the nodes, all at the same moment, while nodes join and die, has four
// guesses in all, as at one node; a session is good at every node, and what is in the store is
// no password (BSP-2.10-7, BSP-2.10-8, BSX-12).
func TestClusterGuesses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newGuardedSite(t, "a", "b", "c")
		s.hub.delay = 20 * time.Millisecond
		tom := fromAddress(1)
		require.Equal(t, auth.Accept, s.guards["a"].Check(t.Context(), seal(t, tom, s.guards["a"].Check(t.Context(), tom), "canary secret")).Verdict)
		time.Sleep(time.Second)
		for name, g := range s.guards {
			d := g.Check(t.Context(), tom)
			require.Equal(t, auth.Accept, d.Verdict, name)
			require.Equal(t, `de\tom`, d.Identity.Account)
		}
		asked := s.domain.asked.Load()
		guess := func(names ...string) {
			var all sync.WaitGroup
			for i := range 30 {
				for n, name := range names {
					g, r := s.guards[name], fromAddress(10+i+70*n)
					answer := seal(t, r, g.Check(t.Context(), r), fmt.Sprint("canary guess ", n, i))
					all.Go(func() {
						if d := g.Check(t.Context(), answer); !errors.Is(d.Reason, auth.ErrThrottled) {
							assert.ErrorIs(t, d.Reason, auth.ErrBadPassword)
						}
					})
				}
			}
			all.Wait()
		}
		guess("a", "b", "c")
		require.EqualValues(t, 3, s.domain.guesses.Load(), "the last one is tom's")
		s.kill("a")
		s.inherit("a", "b")
		s.join("d")
		guess("b", "c", "d")
		require.EqualValues(t, 3, s.domain.guesses.Load())
		require.EqualValues(t, asked+3, s.domain.asked.Load())
		d := s.guards["d"]
		require.Equal(t, auth.Accept, d.Check(t.Context(), tom).Verdict)
		r := tom
		r.Client = "another of tom's"
		require.Equal(t, auth.Accept, d.Check(t.Context(), seal(t, r, d.Check(t.Context(), r), "canary secret")).Verdict)
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		n := 0
		for _, r := range s.hub.log {
			if require.NotContains(t, string(r.Value), "canary"); r.Kind == "failures" {
				require.NotContains(t, strings.ToLower(string(r.Value)), "tom")
				n++
			}
		}
		require.NotZero(t, n)
		require.Less(t, n, 50, "who is held back writes nothing")
	})
}

// The challenge of one node is answered at another, unless the first has died; a client that
// has its own at each node is let in by both (BSP-2.10-3, BSX-12).
func TestClusterChallenges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newGuardedSite(t, "a", "b", "c")
		check := func(name string, r auth.Request) auth.Decision { return s.guards[name].Check(t.Context(), r) }
		r := fromAddress(1)
		answer := seal(t, r, check("a", r), "canary secret")
		require.Equal(t, auth.Accept, check("b", answer).Verdict)
		require.Equal(t, auth.Accept, check("c", answer).Verdict)
		s.hub.mu.Lock()
		for _, call := range s.hub.calls {
			require.NotContains(t, call, answer.Rauth)
			require.NotContains(t, call, "canary")
		}
		s.hub.mu.Unlock()
		r = fromAddress(2)
		answer = seal(t, r, check("a", r), "canary secret")
		s.kill("a")
		again := check("b", answer)
		require.ErrorIs(t, again.Reason, auth.ErrWrongKey)
		require.Equal(t, auth.Accept, check("c", seal(t, r, again, "canary secret")).Verdict)
	})
}
