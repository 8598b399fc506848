package presence_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// TestSoak has a crowd of watchers come, refresh, go and die over a network that
// loses every twentieth packet, while what they watch changes all the time. In
// the end every living watcher holds the newest state, and neither memory nor
// goroutines have grown (BSX-3, BSX-4). BLUSTAR_SOAK=10m runs it for so long,
// with 10,000 subscriptions; without it takes some seconds.
func TestSoak(t *testing.T) {
	crowd, lasting := 1000, 3*time.Second
	if long := os.Getenv("BLUSTAR_SOAK"); long != "" {
		var err error
		lasting, err = time.ParseDuration(long)
		require.NoError(t, err)
		crowd = 10_000
	} else if testing.Short() {
		t.Skip("takes some seconds")
	}
	const perUser, perSecond = 10, 100 // watchers of a user, changes
	goroutines := runtime.NumGoroutine()
	f := newCrowd(t, crowd/perUser)
	newest := make([]string, crowd/perUser)
	changes := 0
	change := func(user int) {
		changes++
		newest[user] = strconv.Itoa(changes)
		require.NoError(t, f.server.Feed().SetLine(t.Context(), "2"+strconv.Itoa(user), presence.LineState{State: aa.LineBusy, Forward: newest[user]}))
	}
	for user := range newest {
		change(user)
	}
	join := func(user int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.subscribe(&member{user: user}, 300)
	}
	full := func() bool { return f.settled(newest) }
	f.loss.Store(5)
	for i := range crowd {
		join(i % len(newest))
		if i%1000 == 999 {
			require.Eventually(t, full, time.Minute, 20*time.Millisecond)
		}
	}

	died, began := 0, time.Now()
	var early uint64
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for beat := 0; time.Since(began) < lasting; beat++ {
		<-tick.C
		change(rand.IntN(len(newest)))
		if beat%10 == 0 {
			died += f.churn(crowd/100, join)
		}
		if early == 0 && time.Since(began) > lasting/3 {
			early = heap()
		}
	}
	late := heap()
	f.loss.Store(0)
	require.Eventually(t, full, 90*time.Second, 100*time.Millisecond, "every living watcher holds the newest state")
	// The dead are found out by the next thing that they are told.
	f.mu.Lock()
	f.booted = true
	f.mu.Unlock()
	for user := range newest {
		change(user)
	}
	living := func() (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, w := range f.watched {
			if !w.isDead() && !w.left {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return f.server.Stats().Subscriptions == living() }, 90*time.Second, 100*time.Millisecond)
	require.Eventually(t, full, time.Minute, 100*time.Millisecond)
	require.Equal(t, crowd, living())
	require.Zero(t, f.refused, "requests of living watchers that were refused")
	t.Logf("%d subscriptions, %d changes, %d watchers died; heap %.1f MB after a third, %.1f MB at the end",
		crowd, changes, died, float64(early)/1e6, float64(late)/1e6)
	require.Less(t, late, early+early/10+4<<20, "the heap is flat")

	f.mu.Lock()
	for _, w := range f.watched {
		if !w.isDead() && !w.left {
			w.left = true
			f.subscribe(w, 0)
		}
	}
	f.mu.Unlock()
	require.Eventually(t, func() bool { return living() == 0 && f.server.Stats() == presence.Stats{} }, time.Minute, 20*time.Millisecond)
	f.close(t)
	goroutines++ // Eventually asks from one of its own
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines }, 10*time.Second, 20*time.Millisecond)
}

// churn has n watchers do something: most refresh, some leave, some die; each of
// those is followed by another. It returns how many died.
func (f *crowd) churn(n int, join func(user int)) (died int) {
	var followed []int
	f.mu.Lock()
	for id, w := range f.watched { // in random order
		if w.isDead() && time.Since(w.dead) > time.Minute {
			delete(f.watched, id) // the server has found out long ago
			continue
		}
		if n == 0 {
			break
		}
		if w.isDead() || w.left || w.asking || w.cseq == 0 {
			continue
		}
		n--
		switch rand.IntN(20) {
		case 0:
			w.dead = time.Now()
			died++
			followed = append(followed, w.user)
		case 1:
			w.left = true
			f.subscribe(w, 0)
			followed = append(followed, w.user)
		default:
			f.subscribe(w, 300)
		}
	}
	f.mu.Unlock()
	for _, user := range followed {
		join(user)
	}
	return died
}
