package deadline_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/deadline"
)

type expirer struct {
	deadline.Item
	f func()
}

func (e *expirer) Expired() { e.f() }

// Items are told in the order of their times, once, whatever the order in which
// they were set, moved and removed.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q deadline.Queue
		r := rand.New(rand.NewPCG(1, 2))
		start := time.Now()
		var told []time.Duration
		var want []time.Duration
		for range 1000 {
			e := &expirer{}
			e.f = func() { told = append(told, time.Since(start)) }
			q.Set(&e.Item, e, start.Add(time.Duration(r.IntN(1000))*time.Second))
			switch r.IntN(3) {
			case 0:
				q.Remove(&e.Item)
			case 1:
				at := time.Duration(1+r.IntN(1000)) * time.Second
				q.Set(&e.Item, e, start.Add(at))
				want = append(want, at)
			default:
				at := time.Duration(1+r.IntN(1000)) * time.Second
				q.Remove(&e.Item)
				q.Set(&e.Item, e, start.Add(at))
				want = append(want, at)
			}
		}
		require.Equal(t, len(want), q.Len())
		time.Sleep(2000 * time.Second)
		synctest.Wait()
		slices.Sort(want)
		require.Equal(t, want, told)
		require.Zero(t, q.Len())
		q.Stop()
	})
}

// An item may be set again while it is being told, and after Stop nobody is told.
func TestAgainAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q deadline.Queue
		n := 0
		e := &expirer{}
		e.f = func() {
			n++
			q.Set(&e.Item, e, time.Now().Add(time.Second))
		}
		q.Set(&e.Item, e, time.Now())
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 4, n)
		q.Stop()
		q.Set(&e.Item, e, time.Now())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 4, n)
		require.Zero(t, q.Len())
	})
}

// A process that was stopped finds its deadlines past, while what would have moved
// them waits in a socket: that gets a second to arrive.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q deadline.Queue
		var mu sync.Mutex
		var told []string
		names := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(told)
		}
		late := func(name string) *expirer {
			e := &expirer{f: func() {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, name)
			}}
			q.Set(&e.Item, e, time.Now().Add(2*time.Second))
			return e
		}
		stopped := &expirer{f: func() { time.Sleep(10 * time.Second) }}
		q.Set(&stopped.Item, stopped, time.Now().Add(time.Second))
		late("gone")
		kept, removed := late("kept"), late("removed")
		time.Sleep(11900 * time.Millisecond)
		require.Empty(t, names())
		q.Set(&kept.Item, kept, time.Now().Add(time.Minute))
		q.Remove(&removed.Item)
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"gone"}, names())
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"gone", "kept"}, names())
		q.Stop()
	})
}

func BenchmarkSet(b *testing.B) {
	var q deadline.Queue
	list := make([]expirer, 100_000)
	start := time.Now().Add(time.Hour)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		e := &list[i%len(list)]
		q.Set(&e.Item, e, start.Add(time.Duration(i)))
		i++
	}
	q.Stop()
}
