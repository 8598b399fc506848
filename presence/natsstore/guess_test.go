package natsstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/natsstore"
)

// Three nodes over a real NATS are asked about one account by many at the same moment: four
// wrong passwords reach the directory, which would lock it at the fifth, and no more later; a
// sign-in leaves nothing behind. Challenges are answered at other nodes than those that sent them
// (BSP-2.10-3, BSP-2.10-8, BSX-12).
func TestGuesses(t *testing.T) {
	nats := start(t)
	dir, err := directory.NewMemory(nil)
	require.NoError(t, err)
	var wrong atomic.Int64
	verifier := auth.VerifierFunc(func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
		if string(c.Password.Reveal()) == "right" {
			return auth.Identity{Account: c.Name.String()}, nil
		}
		wrong.Add(1)
		return auth.Identity{}, auth.ErrBadPassword
	})
	var guards []*auth.Guard
	var stores []*natsstore.Store
	var store *natsstore.Store
	for i := range 3 {
		store = open(t, natsstore.Config{Conn: connect(t, nats), Node: fmt.Sprint("node ", i)})
		guard, err := auth.New(auth.Config{Verifier: verifier, MaxPending: 1000})
		require.NoError(t, err)
		server, err := presence.New(presence.Config{Sender: &peer{}, Directory: dir, Store: store, Guard: guard})
		require.NoError(t, err)
		t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
		require.NoError(t, server.Restore(t.Context()))
		guards, stores = append(guards, guard), append(stores, store)
	}
	for _, s := range stores {
		require.Eventually(t, func() bool { return len(s.Living()) == 3 }, time.Minute, 10*time.Millisecond)
	}
	try := func(from, g *auth.Guard, i int, account, password string) auth.Decision {
		r := auth.Request{Client: fmt.Sprint("client ", i), From: "sip:a@example.com", Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		c, err := auth.NewCredentials(account, []byte(password))
		if assert.NoError(t, err) {
			r.Rauth, err = c.Encrypt(auth.Tuz{}, from.Check(t.Context(), r).Header[0].Value)
			assert.NoError(t, err)
		}
		return g.Check(t.Context(), r)
	}
	var all sync.WaitGroup
	for i := range 8 { // at each node twice as many as may
		for n, g := range guards {
			all.Go(func() {
				if d := try(g, g, i+70*n, `DE\tom`, fmt.Sprint("guess ", n, i)); !errors.Is(d.Reason, auth.ErrThrottled) {
					assert.ErrorIs(t, d.Reason, auth.ErrBadPassword)
				}
			})
			all.Go(func() {
				assert.Equal(t, auth.Accept, try(guards[(n+1)%3], g, 20+i+70*n, fmt.Sprint(`DE\ann`, n, i), "right").Verdict)
			})
		}
	}
	all.Wait()
	require.EqualValues(t, 4, wrong.Load())
	for i := range 9 {
		require.ErrorIs(t, try(guards[i%3], guards[i%3], 40+i, "tom@de.example", "guess").Reason, auth.ErrThrottled)
	}
	left := func() (n int) {
		require.NoError(t, store.Load(t.Context(), func(r presence.Record) error {
			if r.Kind == "failures" {
				n++
			}
			return nil
		}))
		return n
	}
	require.Eventually(t, func() bool { return left() == 5 }, time.Minute, 10*time.Millisecond, "of tom, and of the four sources")
}
