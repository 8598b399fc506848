// Package authtest holds implementations of package auth's interfaces against
// their contracts.
package authtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// StoreLimit is the bound of each kind that TestStore asks of the stores it
// tests.
const StoreLimit = 8

// Options say how a store is tested.
type Options struct {
	// Sleep waits for records to expire. In a synctest bubble that is
	// time.Sleep. nil leaves the tests of expiry out.
	Sleep func(time.Duration)
	// Lifetime is the one of the records that are to expire, for stores that
	// cannot do with a short one. Default: a minute.
	Lifetime time.Duration
}

// TestStore holds a store against the contract of [auth.Store]. newStore returns
// an empty one, bounded to [StoreLimit] records of each kind, and is called once
// for each part of the suite.
func TestStore(t *testing.T, newStore func(testing.TB) auth.Store, o Options) {
	if o.Lifetime == 0 {
		o.Lifetime = time.Minute
	}
	s := suite{o}
	for name, test := range map[string]func(*testing.T, auth.Store){
		"NotFound": s.notFound, "PutGet": s.putGet, "Swap": s.swap, "Delete": s.delete, "Kinds": s.kinds,
		"Bound": s.bound, "Values": s.values, "Concurrent": s.concurrent, "Expiry": s.expiry,
	} {
		run := func(t *testing.T) { test(t, newStore(t)) }
		if name == "Expiry" && o.Sleep == nil {
			continue
		}
		if o.Sleep != nil {
			// Within a bubble there are no subtests.
			run(t)
			continue
		}
		t.Run(name, run)
	}
}

type suite struct{ Options }

// key is of the form that the guard uses.
func key(i int) string { return fmt.Sprintf("key-%020d", i) }

func (suite) notFound(t *testing.T, s auth.Store) {
	_, err := s.Get(t.Context(), auth.KindSession, key(1))
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func (s suite) putGet(t *testing.T, store auth.Store) {
	ctx := t.Context()
	require.NoError(t, store.Put(ctx, auth.KindSession, key(1), "one", s.Lifetime))
	first, err := store.Get(ctx, auth.KindSession, key(1))
	require.NoError(t, err)
	require.Equal(t, "one", first.Value)
	require.NotZero(t, first.Revision)

	require.NoError(t, store.Put(ctx, auth.KindSession, key(1), "two", s.Lifetime))
	second, err := store.Get(ctx, auth.KindSession, key(1))
	require.NoError(t, err)
	require.Equal(t, "two", second.Value)
	require.NotEqual(t, first.Revision, second.Revision)
}

func (s suite) swap(t *testing.T, store auth.Store) {
	ctx := t.Context()
	require.ErrorIs(t, store.Swap(ctx, auth.KindFailure, key(1), "x", s.Lifetime, 99), auth.ErrConflict)
	require.NoError(t, store.Swap(ctx, auth.KindFailure, key(1), "one", s.Lifetime, 0))
	require.ErrorIs(t, store.Swap(ctx, auth.KindFailure, key(1), "x", s.Lifetime, 0), auth.ErrConflict)

	r, err := store.Get(ctx, auth.KindFailure, key(1))
	require.NoError(t, err)
	require.NoError(t, store.Swap(ctx, auth.KindFailure, key(1), "two", s.Lifetime, r.Revision))
	require.ErrorIs(t, store.Swap(ctx, auth.KindFailure, key(1), "x", s.Lifetime, r.Revision), auth.ErrConflict)

	// A deleted and rewritten record must not have its old revision.
	require.NoError(t, store.Delete(ctx, auth.KindFailure, key(1)))
	require.NoError(t, store.Put(ctx, auth.KindFailure, key(1), "three", s.Lifetime))
	require.ErrorIs(t, store.Swap(ctx, auth.KindFailure, key(1), "x", s.Lifetime, r.Revision), auth.ErrConflict)
	r, err = store.Get(ctx, auth.KindFailure, key(1))
	require.NoError(t, err)
	require.Equal(t, "three", r.Value)
}

func (s suite) delete(t *testing.T, store auth.Store) {
	ctx := t.Context()
	require.NoError(t, store.Delete(ctx, auth.KindKnown, key(1)))
	require.NoError(t, store.Put(ctx, auth.KindKnown, key(1), "one", s.Lifetime))
	require.NoError(t, store.Delete(ctx, auth.KindKnown, key(1)))
	_, err := store.Get(ctx, auth.KindKnown, key(1))
	require.ErrorIs(t, err, auth.ErrNotFound)
}

func (s suite) kinds(t *testing.T, store auth.Store) {
	ctx := t.Context()
	for _, kind := range auth.Kinds() {
		require.NoError(t, store.Put(ctx, kind, key(1), string(kind), s.Lifetime))
	}
	for _, kind := range auth.Kinds() {
		r, err := store.Get(ctx, kind, key(1))
		require.NoError(t, err)
		require.Equal(t, string(kind), r.Value)
	}
	_, err := store.Get(ctx, "other", key(1))
	require.Error(t, err)
}

// BSX-4: nothing is unbounded; the record written longest ago goes.
func (s suite) bound(t *testing.T, store auth.Store) {
	ctx := t.Context()
	for i := range StoreLimit {
		require.NoError(t, store.Put(ctx, auth.KindChallenge, key(i), "x", s.Lifetime))
	}
	require.NoError(t, store.Put(ctx, auth.KindSession, key(99), "other kind", s.Lifetime))
	require.NoError(t, store.Put(ctx, auth.KindChallenge, key(0), "again", s.Lifetime))
	require.NoError(t, store.Put(ctx, auth.KindChallenge, key(StoreLimit), "one more", s.Lifetime))
	for i := range StoreLimit + 1 {
		_, err := store.Get(ctx, auth.KindChallenge, key(i))
		if i == 1 {
			require.ErrorIs(t, err, auth.ErrNotFound)
		} else {
			require.NoError(t, err, i)
		}
	}
}

// Values are bytes, not only text.
func (s suite) values(t *testing.T, store auth.Store) {
	for _, v := range []string{"", "\x00\xff\n\"", string(make([]byte, 2048))} {
		require.NoError(t, store.Put(t.Context(), auth.KindSession, key(1), v, s.Lifetime))
		r, err := store.Get(t.Context(), auth.KindSession, key(1))
		require.NoError(t, err)
		require.Equal(t, v, r.Value)
	}
}

// Of writers that compare and set, each write counts.
func (s suite) concurrent(t *testing.T, store auth.Store) {
	const writers, writes = 4, 25
	ctx := t.Context()
	require.NoError(t, store.Put(ctx, auth.KindFailure, key(1), "", s.Lifetime))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < writes; {
				r, err := store.Get(ctx, auth.KindFailure, key(1))
				if err == nil {
					err = store.Swap(ctx, auth.KindFailure, key(1), r.Value+"x", s.Lifetime, r.Revision)
				}
				if err == nil {
					done++
				}
			}
		})
	}
	wg.Wait()
	r, err := store.Get(ctx, auth.KindFailure, key(1))
	require.NoError(t, err)
	require.Len(t, r.Value, writers*writes)
}

func (s suite) expiry(t *testing.T, store auth.Store) {
	ctx := t.Context()
	require.NoError(t, store.Put(ctx, auth.KindSession, key(1), "short", s.Lifetime))
	require.NoError(t, store.Put(ctx, auth.KindSession, key(2), "long", 4*s.Lifetime))
	require.NoError(t, store.Put(ctx, auth.KindSession, key(3), "prolonged", s.Lifetime))
	require.NoError(t, store.Put(ctx, auth.KindSession, key(3), "prolonged", 4*s.Lifetime))
	old, err := store.Get(ctx, auth.KindSession, key(1))
	require.NoError(t, err)

	s.Sleep(s.Lifetime + s.Lifetime/2)
	_, err = store.Get(ctx, auth.KindSession, key(1))
	require.ErrorIs(t, err, auth.ErrNotFound)
	require.ErrorIs(t, store.Swap(ctx, auth.KindSession, key(1), "x", s.Lifetime, old.Revision), auth.ErrConflict)
	require.NoError(t, store.Swap(ctx, auth.KindSession, key(1), "x", s.Lifetime, 0))
	for _, k := range []string{key(2), key(3)} {
		_, err = store.Get(ctx, auth.KindSession, k)
		require.NoError(t, err)
	}
}
