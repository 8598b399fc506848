package presence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
)

// The store is away for all nodes, for longer than a deletion is remembered. They say
// nothing and change nothing meanwhile, and say so; when it is back they go on with what
// they had, and know what has changed (BSX-12).
func TestClusterStoreAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		tom := a.client("tom", "192.0.2.7")
		own, _ := tom.subscribe("sip:tom@example.com")
		require.Equal(t, 200, tom.status("", "busy", "").Status)
		watch, _ := b.client("ann", "192.0.2.8").subscribe("sip:tom@example.com")
		settle()
		require.NoError(t, a.server.Feed().SetLine(t.Context(), "4711", presence.LineState{State: "busy"}))
		settle()
		a.net.take()
		b.net.take()

		s.hub.leave(true, "a", "b")
		time.Sleep(time.Second)
		for _, w := range s.nodes {
			require.True(t, w.server.Stats().StoreFailing)
		}
		require.Equal(t, 503, tom.status("", "available", "").Status)
		require.Equal(t, "1", tom.status("", "available", "").Header.Get("Retry-After"))
		require.Equal(t, 503, watch.refresh().Status)
		require.ErrorIs(t, b.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: "busy"}), presence.ErrNotStored)
		s.hub.mu.Lock() // a deletion that no watch tells of
		delete(s.hub.records, [2]string{"line", "4711"})
		s.hub.mu.Unlock()
		time.Sleep(6 * time.Minute) // for longer than the subscriptions last, too
		require.Empty(t, a.net.take())
		require.Empty(t, b.net.take(), "nothing leaves")

		s.hub.leave(false, "a", "b")
		time.Sleep(2 * time.Second)
		require.Contains(t, watch.one().shown(t).activity, "busy", "what was due")
		for _, w := range s.nodes {
			require.False(t, w.server.Stats().StoreFailing)
			_, known := w.server.Feed().Line("2719")
			require.True(t, known)
			_, known = w.server.Feed().Line("4711")
			require.False(t, known, "a deletion that was missed")
			require.Len(t, w.server.Clients(), 1)
			require.Len(t, w.server.Publications(), 1)
		}
		require.Equal(t, 200, tom.status("", "available", "").Status)
		require.Equal(t, "available", watch.one().shown(t).blustar)
		require.Equal(t, 200, watch.refresh().Status)
		require.Equal(t, 200, own.refresh().Status)
		time.Sleep(301 * time.Second)
		require.Empty(t, b.server.Subscriptions())
		require.Empty(t, a.server.Subscriptions())
	})
}
