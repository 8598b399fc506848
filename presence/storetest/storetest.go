// Package storetest shows that a [presence.Store] does what is promised of one. It is
// for the tests of those who write a store of their own.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
)

// Opener opens a store. Called again with the store before, it closes that one and
// opens what it has kept: a restart. It fails the test where it cannot.
type Opener func(t *testing.T, before presence.Store) presence.Store

// Run tests a store, which is empty when open is first called in each test.
func Run(t *testing.T, open Opener) {
	for name, test := range map[string]func(*testing.T, Opener){
		"KeepsOverARestart": keepsOverARestart,
		"Conditions":        conditions,
		"Expiry":            expiry,
		"OrderInABatch":     orderInABatch,
		"AnyBytes":          anyBytes,
		"LoadEndsWithError": loadEndsWithError,
		"ContextThatEnded":  contextThatEnded,
		"ManyAtOnce":        manyAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// all loads everything, by kind and key.
func all(t *testing.T, s presence.Store) map[string]presence.Record {
	t.Helper()
	records := make(map[string]presence.Record)
	require.NoError(t, s.Load(t.Context(), func(r presence.Record) error {
		r.Value = append([]byte{}, r.Value...)
		require.NotContains(t, records, r.Kind+"/"+r.Key)
		records[r.Kind+"/"+r.Key] = r
		return nil
	}))
	return records
}

func texts(records map[string]presence.Record) map[string]string {
	values := make(map[string]string)
	for key, r := range records {
		values[key] = string(r.Value)
	}
	return values
}

func apply(t *testing.T, s presence.Store, batch ...presence.Write) []uint64 {
	t.Helper()
	revisions, err := s.Apply(t.Context(), batch)
	require.NoError(t, err)
	require.Len(t, revisions, len(batch))
	return revisions
}

func put(kind, key, value string) presence.Write {
	return presence.Write{Kind: kind, Key: key, Value: []byte(value)}
}

// What was applied is there after a restart, and what was deleted is not.
func keepsOverARestart(t *testing.T, open Opener) {
	s := open(t, nil)
	require.Empty(t, all(t, s))
	expires := time.Now().Add(time.Hour)
	until := put("dialog", "b", "two")
	until.Expires = expires
	first := apply(t, s, put("dialog", "a", "one"), until, put("client", "a", "three"), put("client", "gone", "x"))
	apply(t, s, put("dialog", "a", "four"), presence.Write{Kind: "client", Key: "gone"},
		presence.Write{Kind: "client", Key: "never was"})

	s = open(t, s)
	records := all(t, s)
	require.Equal(t, map[string]string{"dialog/a": "four", "dialog/b": "two", "client/a": "three"}, texts(records))
	require.Zero(t, records["dialog/a"].Expires, "it does not expire")
	require.WithinDuration(t, expires, records["dialog/b"].Expires, time.Millisecond)
	require.Greater(t, records["dialog/a"].Revision, first[0])
	require.Equal(t, first[1], records["dialog/b"].Revision)
	require.Greater(t, apply(t, s, put("dialog", "b", "five"))[0], records["dialog/a"].Revision,
		"revisions rise over a restart")
}

// A write with a condition is carried out where the record is as it says, and leaves
// the others of its batch alone.
func conditions(t *testing.T, open Opener) {
	s := open(t, nil)
	when := func(w presence.Write, revision uint64) presence.Write {
		w.Conditional, w.Revision = true, revision
		return w
	}
	made := apply(t, s, when(put("k", "a", "one"), 0))[0]
	require.NotZero(t, made)
	require.Zero(t, apply(t, s, when(put("k", "a", "two"), 0))[0], "it is there already")
	require.Zero(t, apply(t, s, when(put("k", "a", "two"), made+1))[0])
	require.Zero(t, apply(t, s, when(presence.Write{Kind: "k", Key: "a"}, made+1))[0], "a deletion has a condition too")
	got := apply(t, s, when(put("k", "b", "x"), 7), put("k", "c", "three"), when(put("k", "a", "two"), made))
	require.Zero(t, got[0])
	require.Greater(t, got[1], made)
	require.Greater(t, got[2], made)
	require.Equal(t, map[string]string{"k/a": "two", "k/c": "three"}, texts(all(t, s)))

	s = open(t, s)
	require.Zero(t, apply(t, s, when(put("k", "a", "four"), made))[0])
	require.NotZero(t, apply(t, s, when(presence.Write{Kind: "k", Key: "a"}, got[2]))[0])
	require.NotZero(t, apply(t, s, when(put("k", "a", "anew"), 0))[0], "a deleted record is none")
}

// A record that has expired is not loaded, and is none for a condition.
func expiry(t *testing.T, open Opener) {
	s := open(t, nil)
	soon := put("k", "soon", "x")
	soon.Expires = time.Now().Add(20 * time.Millisecond)
	past := put("k", "past", "x")
	past.Expires = time.Now().Add(-time.Hour)
	late := put("k", "late", "x")
	late.Expires = time.Now().Add(time.Hour)
	apply(t, s, soon, past, late)
	require.NotContains(t, all(t, s), "k/past")
	require.Eventually(t, func() bool { return len(all(t, s)) == 1 }, time.Minute, time.Millisecond)
	fresh := put("k", "soon", "again")
	fresh.Conditional = true
	require.NotZero(t, apply(t, s, fresh)[0])
	s = open(t, s)
	require.Equal(t, map[string]string{"k/soon": "again", "k/late": "x"}, texts(all(t, s)))
}

// The last write of a batch for a record counts.
func orderInABatch(t *testing.T, open Opener) {
	s := open(t, nil)
	revisions := apply(t, s, put("k", "a", "one"), put("k", "a", "two"), put("k", "b", "one"),
		presence.Write{Kind: "k", Key: "b"},
		presence.Write{Kind: "k", Key: "c"}, put("k", "c", "three"))
	require.True(t, slices.IsSorted(revisions), "%v", revisions)
	require.Equal(t, map[string]string{"k/a": "two", "k/c": "three"}, texts(all(t, open(t, s))))
}

// Keys and values are any bytes; an empty value is a value.
func anyBytes(t *testing.T, open Opener) {
	s := open(t, nil)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	long := make([]byte, 64<<10)
	apply(t, s, put("k", string(every), string(every)), put("k", "empty", ""), put("k", "long", string(long)),
		put("k", "a/b", "1"), put("k:a", "b", "2"))
	records := all(t, open(t, s))
	require.Len(t, records, 5)
	require.Equal(t, string(every), string(records["k/"+string(every)].Value))
	require.NotNil(t, records["k/empty"].Value)
	require.Len(t, records["k/long"].Value, len(long))
}

// An error of the function that is loaded into ends the loading.
func loadEndsWithError(t *testing.T, open Opener) {
	s := open(t, nil)
	apply(t, s, put("k", "a", "1"), put("k", "b", "2"))
	enough := errors.New("enough")
	calls := 0
	require.ErrorIs(t, s.Load(t.Context(), func(presence.Record) error { calls++; return enough }), enough)
	require.Equal(t, 1, calls)
}

// With a context that has ended nothing is begun.
func contextThatEnded(t *testing.T, open Opener) {
	s := open(t, nil)
	apply(t, s, put("k", "a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Apply(ctx, []presence.Write{put("k", "b", "2")})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Load(ctx, func(presence.Record) error { return nil }), context.Canceled)
	require.Equal(t, map[string]string{"k/a": "1"}, texts(all(t, s)))
}

// Batches of several goroutines do not mix, while others load; of writes with the
// same condition one is carried out.
func manyAtOnce(t *testing.T, open Opener) {
	s := open(t, nil)
	const writers, rounds = 4, 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	want := make(map[string]string)
	wins := make(map[string]int)
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				key, turn := fmt.Sprintf("%d/%d", w, i%5), fmt.Sprintf("turn %d", i)
				contest := presence.Write{Kind: "contest", Key: turn, Value: []byte(key), Conditional: true}
				revisions, err := s.Apply(context.Background(), []presence.Write{put("own", key, turn), contest})
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("apply: %v", err)
				case revisions[1] != 0:
					wins[turn]++
				}
				want["own/"+key] = turn
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for range rounds {
			if err := s.Load(context.Background(), func(presence.Record) error { return nil }); err != nil {
				t.Errorf("load: %v", err)
			}
		}
	})
	wg.Wait()
	require.Len(t, wins, rounds)
	for turn, n := range wins {
		require.Equal(t, 1, n, turn)
	}
	got := texts(all(t, open(t, s)))
	maps.DeleteFunc(got, func(key, _ string) bool { return len(key) > 8 && key[:8] == "contest/" })
	require.Equal(t, want, got)
}
