package source_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/presence/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reading is a value with its own lifetime.
type reading struct {
	text     string
	lifetime time.Duration
}

func config() source.Config[reading] {
	return source.Config[reading]{
		Name:     "reading",
		Equal:    func(a, b reading) bool { return a.text == b.text },
		Lifetime: func(r reading) time.Duration { return r.lifetime },
	}
}

func newTable(t *testing.T, cfg source.Config[reading]) *source.Table[reading] {
	table, err := source.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, table.Shutdown(context.Background())) })
	return table
}

// counter counts how often it is told.
type counter struct{ n atomic.Int32 }

func (c *counter) Changed() { c.n.Add(1) }

// BSX-2: a value has an owner and a lifetime, after which it is unknown; those who
// listen are told of both.
func TestValueFades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, config())
		var told counter
		src, err := table.Join("k", &told)
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, table.Set("k", reading{"a", 10 * time.Second}))
		v, known := src.Read()
		require.True(t, known)
		require.Equal(t, source.Value[reading]{Value: reading{"a", 10 * time.Second}, Owner: source.Feed, Received: start, Changed: start, Expires: start.Add(10 * time.Second)}, v)
		time.Sleep(5 * time.Second)
		require.NoError(t, table.Set("k", reading{"a", 10 * time.Second}))
		v, _ = src.Read()
		require.Equal(t, start, v.Changed, "it is the same value")
		time.Sleep(9 * time.Second)
		synctest.Wait()
		_, known = src.Read()
		require.True(t, known, "it was confirmed")
		time.Sleep(time.Second)
		synctest.Wait()
		_, known = table.Get("k")
		require.False(t, known)
		require.EqualValues(t, 3, told.n.Load())
		src.Leave(&told)
		require.Empty(t, table.Keys())
	})
}

// BSX-4: the table is bounded, and what nobody needs is forgotten.
func TestBound(t *testing.T) {
	cfg := config()
	cfg.Max = 2
	table := newTable(t, cfg)
	require.NoError(t, table.Set("a", reading{}))
	var l counter
	src, err := table.Join("b", &l)
	require.NoError(t, err)
	require.ErrorIs(t, table.Set("c", reading{}), source.ErrTooMany)
	src.Leave(&l)
	require.NoError(t, table.Set("c", reading{}))
	require.True(t, table.Clear("a"))
	require.False(t, table.Clear("a"))
	require.Equal(t, []string{"c"}, table.Keys())
}

// BSP-2.1-6, BSX-2: the monitor runs while somebody watches and a linger time longer;
// where it fails it is started again, and its value stays for the grace time only.
func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		var fail atomic.Bool
		cfg := config()
		cfg.Linger, cfg.Grace = 20*time.Second, 30*time.Second
		cfg.Monitor = func(ctx context.Context, key string, update func(reading)) error {
			runs.Add(1)
			if fail.Load() {
				return errors.New("no answer")
			}
			update(reading{text: key})
			stop := time.NewTicker(time.Second)
			defer stop.Stop()
			for {
				select {
				case <-ctx.Done():
					update(reading{text: "late"})
					return ctx.Err()
				case <-stop.C:
					if fail.Load() {
						return errors.New("no answer")
					}
				}
			}
		}
		table := newTable(t, cfg)
		var told counter
		src, err := table.Join("k", &told)
		require.NoError(t, err)
		src.Watch()
		src.Watch()
		synctest.Wait()
		v, _ := src.Read()
		require.Equal(t, reading{text: "k"}, v.Value)
		require.Equal(t, source.Monitored, v.Owner)
		require.EqualValues(t, 1, runs.Load(), "one for all who watch")

		fail.Store(true)
		time.Sleep(29 * time.Second)
		_, known := src.Read()
		require.True(t, known, "within the grace time")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		_, known = src.Read()
		require.False(t, known)
		require.Less(t, runs.Load(), int32(8), "with back-off")
		fail.Store(false)
		time.Sleep(time.Minute)
		_, known = src.Read()
		require.True(t, known)

		src.Unwatch()
		src.Unwatch()
		time.Sleep(19 * time.Second)
		_, known = src.Read()
		require.True(t, known, "it lingers")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		_, known = src.Read()
		require.False(t, known, "nobody looks after it, and what the monitor says late does not count")
		src.Leave(&told)
	})
}

// share is who has the monitor of all keys, as a test says.
type share struct{ mine, last, wanted atomic.Bool }

func (s *share) Want(string)        { s.wanted.Store(true) }
func (s *share) Unwant(string) bool { s.wanted.Store(false); return s.last.Load() }
func (s *share) Mine(string) bool   { return s.mine.Load() }

// BSX-12: where others have the same monitors, one runs here while it is this table's to run.
// What is known stays when it comes or goes, in the first case for the grace time; and what
// it has said stays over what another one says that is about to end.
func TestOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var others share
		var changes, running atomic.Int32
		says := make(chan reading)
		cfg := config()
		cfg.Others, cfg.Changed = &others, func(string) { changes.Add(1) }
		cfg.Monitor = func(ctx context.Context, key string, update func(reading)) error {
			require.EqualValues(t, 1, running.Add(1), "one after the other")
			defer running.Add(-1)
			for {
				select {
				case r := <-says:
					update(r)
				case <-ctx.Done():
					time.Sleep(time.Second) // it takes its time
					update(reading{text: "late"})
					return nil
				}
			}
		}
		table := newTable(t, cfg)
		shows := func(want string) {
			t.Helper()
			synctest.Wait()
			v, known := table.Get("k")
			require.Equal(t, want, v.Value.text)
			require.Equal(t, want != "", known)
		}
		copied := func(text string, owner source.Owner, known bool) {
			v := source.Value[reading]{Value: reading{text: text}, Owner: owner}
			if !known {
				v = source.Value[reading]{}
			}
			require.NoError(t, table.Copy("k", v, func() bool { return false }))
		}
		var told counter
		src, err := table.Join("k", &told)
		require.NoError(t, err)
		src.Watch()
		require.True(t, others.wanted.Load())
		copied("other", source.Monitored, true)
		time.Sleep(time.Hour)
		shows("other")
		require.Zero(t, running.Load(), "it is another's")

		others.mine.Store(true)
		table.Decide("k")
		shows("other")
		require.False(t, table.Said("k"))
		time.Sleep(59 * time.Second)
		copied("its last", source.Monitored, true)
		time.Sleep(59 * time.Second)
		shows("its last")
		says <- reading{text: "mine"}
		shows("mine")
		require.True(t, table.Said("k"))
		require.EqualValues(t, 1, changes.Load())
		time.Sleep(time.Hour)
		shows("mine")
		copied("too late", source.Monitored, true)
		copied("", "", false)
		shows("mine")
		require.EqualValues(t, 3, changes.Load(), "others are to be told so")
		copied("fed", source.Feed, true)
		shows("fed")
		says <- reading{text: "mine"}
		shows("mine")

		others.mine.Store(false)
		table.Decide("k")
		others.mine.Store(true)
		table.Decide("k")
		shows("mine")
		time.Sleep(59 * time.Second)
		shows("mine")
		time.Sleep(2 * time.Second)
		shows("")

		says <- reading{text: "again"}
		shows("again")
		others.mine.Store(false)
		table.Decide("k")
		src.Unwatch()
		time.Sleep(time.Minute)
		shows("again")
		require.False(t, others.wanted.Load())
		table.Abandon("k")
		shows("")

		others.last.Store(true)
		src.Watch()
		copied("other", source.Monitored, true)
		src.Unwatch()
		time.Sleep(time.Minute)
		shows("")
		src.Leave(&told)
		require.Empty(t, table.Keys())
	})
}

// A monitor that says the same every few seconds is written down once, or as often as half of
// its lifetime is over.
func TestChangedIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Int32
		var lifetime atomic.Int64
		cfg := config()
		cfg.Changed = func(string) { changes.Add(1) }
		cfg.Monitor = func(ctx context.Context, key string, update func(reading)) error {
			for ctx.Err() == nil {
				update(reading{"same", time.Duration(lifetime.Load())})
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		table := newTable(t, cfg)
		var told counter
		src, err := table.Join("k", &told)
		require.NoError(t, err)
		src.Watch()
		time.Sleep(time.Hour - time.Second)
		require.EqualValues(t, 1, changes.Load())
		lifetime.Store(int64(10 * time.Minute))
		time.Sleep(time.Hour)
		require.EqualValues(t, 1+12, changes.Load())
		src.Unwatch()
		time.Sleep(time.Minute)
		src.Leave(&told)
	})
}

// What was held is taken over with what is left of its lifetime.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, config())
		require.NoError(t, table.Set("a", reading{"x", time.Minute}))
		require.NoError(t, table.Set("b", reading{"y", 0}))
		all := make(map[string]source.Value[reading])
		for _, key := range table.Keys() {
			all[key], _ = table.Get(key)
		}
		other := newTable(t, config())
		time.Sleep(40 * time.Second)
		for key, v := range all {
			require.NoError(t, other.Restore(key, v))
		}
		require.Equal(t, []string{"a", "b"}, other.Keys())
		time.Sleep(21 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"b"}, other.Keys())
		require.NoError(t, other.Restore("a", all["a"]), "it has faded: nothing happens")
		require.Equal(t, []string{"b"}, other.Keys())
	})
}
