package presence_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// BenchmarkDeadWatchers measures how late a change reaches each of the living
// watchers of one user over real sockets, where none and where 200 of 1,000 are
// dead: the dead cost their own queue only (BSP-4-4). A change comes every 50 ms
// at most, and the dead stay with the server for the 32 s that a NOTIFY may take.
func BenchmarkDeadWatchers(b *testing.B) {
	for _, dead := range []int{0, 200} {
		b.Run(strconv.Itoa(dead), func(b *testing.B) {
			const crowd = 1000
			f := newCrowd(b, 1)
			var late []time.Duration
			var changed time.Time
			newest, missing := []string{""}, 0
			all := make(chan struct{}, 1)
			f.heard = func(_ *member, value string) {
				if value == newest[0] && !changed.IsZero() {
					late = append(late, time.Since(changed))
					if missing--; missing == 0 {
						all <- struct{}{}
					}
				}
			}
			f.mu.Lock()
			for range crowd {
				f.subscribe(&member{}, 300)
			}
			f.mu.Unlock()
			require.Eventually(b, func() bool { return f.settled(newest) }, time.Minute, 10*time.Millisecond)
			f.mu.Lock()
			n := dead
			for _, w := range f.watched {
				if n--; n >= 0 {
					w.dead = time.Now()
				}
			}
			f.mu.Unlock()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			i := 0
			for b.Loop() {
				<-tick.C
				i++
				f.mu.Lock()
				newest[0], missing, changed = strconv.Itoa(i), crowd-dead, time.Now()
				f.mu.Unlock()
				require.NoError(b, f.server.Feed().SetLine(b.Context(), "20", presence.LineState{State: aa.LineBusy, Forward: newest[0]}))
				<-all
			}
			slices.Sort(late)
			b.ReportMetric(float64(late[len(late)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(late[len(late)*99/100].Microseconds())/1000, "p99-ms")
			f.mu.Lock()
			f.booted, changed = true, time.Time{}
			f.mu.Unlock()
			f.close(b)
		})
	}
}
