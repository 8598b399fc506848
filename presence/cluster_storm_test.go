package presence_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
)

// Nodes come and die, writes are seen late, and clients speak to whichever node there is.
// Whatever the order: no CSeq comes twice or goes back in a dialog, two nodes never speak
// in one, nobody is signed out who has not, and in the end every watcher has the newest
// state (BSX-12).
func TestClusterStorm(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { bubble(t, func(t *testing.T) { storm(t, seed) }) })
	}
}

func storm(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t, "a", "b", "c")
	s.hub.delay = time.Duration(rng.IntN(3)) * 20 * time.Millisecond
	alive := []string{"a", "b", "c"}
	any := func() *world { return s.nodes[alive[rng.IntN(len(alive))]] }
	last := make(map[string]uint32)  // CSeq, by dialog
	shows := make(map[string]string) // the newest, by dialog
	look := func() {
		for _, name := range alive {
			for _, n := range s.nodes[name].net.take() {
				require.Greater(t, n.CSeq, last[n.CallID], "a CSeq comes twice, or goes back")
				last[n.CallID] = n.CSeq
				shows[n.CallID] = n.shown(t).note
				if last[n.CallID] > 1 && strings.HasPrefix(n.Header.Get("Subscription-State"), "active") {
					require.NotEqual(t, "signed out", n.shown(t).blustar)
				}
			}
		}
	}
	said := ""
	tom := any().client("tom", "192.0.2.7")
	own, _ := tom.subscribe("sip:tom@example.com")
	say := func(i int) {
		tom.w = any()
		text := fmt.Sprint("status ", i)
		if res := tom.status("", []string{"busy", "available"}[rng.IntN(2)], text); res.Status == 200 {
			said = text
		} else {
			require.Equal(t, 503, res.Status)
		}
	}
	say(0)
	time.Sleep(time.Second)
	var watches []*sub
	for i := range 4 {
		watch, res := any().client("ann", fmt.Sprint("192.0.2.", 10+i)).subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		watches = append(watches, watch)
	}
	refresh := func(w *sub) {
		w.e.w = any()
		if status := w.refresh().Status; status != 200 {
			require.Equal(t, 503, status)
		}
	}
	for i := range 30 {
		switch n := rng.IntN(10); {
		case n < 5:
			say(i + 1)
		case n < 8:
			refresh(append(watches, own)[rng.IntN(5)])
		case len(alive) > 1 && rng.IntN(2) == 0:
			look()
			k := rng.IntN(len(alive))
			dead := alive[k]
			alive = append(alive[:k:k], alive[k+1:]...)
			heir := alive[rng.IntN(len(alive))]
			s.kill(dead)
			if rng.IntN(2) == 0 {
				say(100 + i)
			}
			time.Sleep(time.Duration(rng.IntN(12)) * time.Second)
			s.inherit(dead, heir)
		case len(alive) < 3:
			name := fmt.Sprint("n", i)
			s.start(name)
			alive = append(alive, name)
		}
		time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
		look()
	}
	time.Sleep(2 * presence.ResumeSpread)
	look()
	for _, w := range watches {
		require.Equal(t, said, shows[w.callID])
	}
	for _, name := range alive {
		require.Len(t, s.nodes[name].server.Publications(), 1)
	}
	for _, w := range append(watches, own) { // all are there, once
		n := 0
		for _, name := range alive {
			for _, sub := range s.nodes[name].server.Subscriptions() {
				if sub.ID == w.toTag {
					n++
				}
			}
		}
		require.Equal(t, 1, n, w.callID)
	}
}
