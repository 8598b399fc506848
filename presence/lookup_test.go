package presence_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// flaky is a directory that can be down, or hang.
type flaky struct {
	directory.Directory
	state atomic.Int32 // 0 up, 1 down, 2 hanging
	calls atomic.Int32
}

func (f *flaky) Lookup(ctx context.Context, a directory.Address) (directory.Entry, error) {
	f.calls.Add(1)
	switch f.state.Load() {
	case 1:
		return directory.Entry{}, errors.New("directory down")
	case 2:
		<-ctx.Done()
		return directory.Entry{}, ctx.Err()
	}
	return f.Directory.Lookup(ctx, a)
}

func flakyWorld(t *testing.T) (*world, *flaky) {
	f := &flaky{}
	w := newWorld(t, func(c *presence.Config) {
		f.Directory = c.Directory
		c.Directory = f
	})
	return w, f
}

// BSP-2.1-8: while the directory is down a subscription stands and is "unknown";
// it becomes right by itself.
func TestDirectoryDown(t *testing.T) {
	for _, state := range []int32{1, 2} {
		bubble(t, func(t *testing.T) {
			w, dir := flakyWorld(t)
			require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", busyLine))
			dir.state.Store(state)
			began := time.Now()
			s, res := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			require.Equal(t, 200, res.Status)
			require.LessOrEqual(t, time.Since(began), 4*time.Second)
			require.Equal(t, shown{"sip:tom@example.com", "other:unknown", "", "unknown", ""}, s.one().shown(t))
			time.Sleep(30 * time.Second)
			require.Equal(t, 200, s.refresh().Status)
			require.Empty(t, w.net.take())
			dir.state.Store(0)
			time.Sleep(time.Minute)
			synctest.Wait()
			n := s.one()
			require.Equal(t, "In a call", n.shown(t).note)
			require.Equal(t, 1, w.server.Stats().Watches)
			calls := dir.calls.Load()
			time.Sleep(3 * time.Minute)
			require.Equal(t, calls, dir.calls.Load(), "it does not ask on")
		})
	}
}

// BSP-2.1-8: a client that came while the directory was down is tied to its user
// when it is back.
func TestClientOfTheDownTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, dir := flakyWorld(t)
		dir.state.Store(1)
		tom := w.client("tom", "192.0.2.8")
		own, _ := tom.subscribe("sip:tom@example.com")
		require.Zero(t, w.server.Stats().Clients, "nobody knows whose client it is")
		res := tom.status("", "busy", "")
		require.Equal(t, 503, res.Status)
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		dir.state.Store(0)
		time.Sleep(10 * time.Second)
		w.net.take()
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, "gam", watcher.one().shown(t).services)
		require.Equal(t, 200, tom.status("", "busy", "").Status)
		require.Equal(t, 1, w.server.Stats().Clients, "the same client")
		require.Equal(t, 200, own.end().Status)
		list := watcher.of(w.net.take())
		require.Equal(t, "signed out", list[len(list)-1].shown(t).blustar)
	})
}

// BSP-4.1-1: a list that was its client's own when it was opened stays so, even where
// what it begins with by then turns out to be another user's, once the directory is back:
// its end is the client's.
func TestOwnListOfTheDownTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, dir := flakyWorld(t)
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		list, _ := w.client("tom", "192.0.2.8").list("sip:tom@example.com", "sip:ann@example.com")
		dir.state.Store(1)
		require.Equal(t, 200, list.again(resourceLists("sip:bob@example.com"), "Expires: 300", "Content-Type: application/resource-lists+xml").Status)
		dir.state.Store(0)
		time.Sleep(time.Minute)
		require.Equal(t, 1, w.server.Stats().Clients)
		w.net.take()
		require.Equal(t, 200, list.end().Status)
		require.Equal(t, "other:signed out", watcher.one().shown(t).activity)
		require.Zero(t, w.server.Stats().Clients)
	})
}

// A hanging directory delays only what needs it, and the look-ups under way are
// bounded.
func TestHangingDirectoryIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &flaky{}
		w := newWorld(t, func(c *presence.Config) {
			f.Directory, c.Directory, c.MaxLookups = c.Directory, f, 2
		})
		f.Directory = c0(t)
		s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		tom := w.client("tom", "192.0.2.8")
		tag := etag(tom.status("", "busy", "1"))
		w.net.take()
		f.state.Store(2)
		done := make(chan *sipx.Response, 3)
		for range 3 {
			e := w.standard("bob", "192.0.2.9")
			req := e.request("SUBSCRIBE", "sip:192.0.2.1", "<sip:ann@example.com>", "hang", 1, "", "Event: presence")
			go func() { done <- w.send(req) }()
		}
		synctest.Wait()
		require.Len(t, done, 1, "the third was not kept waiting")
		began := time.Now()
		require.Equal(t, 200, s.refresh().Status)
		require.Zero(t, time.Since(began))
		require.Equal(t, 503, tom.status(tag, "busy", "2").Status)
		for range 3 {
			require.Equal(t, 200, (<-done).Status)
		}
	})
}

// BSX-8: look-ups never hold all the requests that the stack handles at a time.
func TestMaxLookupsIsBelowTheHandlers(t *testing.T) {
	s, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}, MaxHandlers: 40})
	require.NoError(t, err)
	defer s.Shutdown(t.Context())
	cfg := presence.Config{Sender: s, Directory: c0(t), MaxLookups: 40}
	_, err = presence.New(cfg)
	require.ErrorContains(t, err, "MaxLookups: 40: not below the 40 requests that are handled at a time")
	for _, most := range []int{0, 39} {
		cfg.MaxLookups = most
		server, err := presence.New(cfg)
		require.NoError(t, err)
		require.NoError(t, server.Shutdown(t.Context()))
	}
}

func c0(t *testing.T) directory.Directory {
	dir, err := directory.NewMemory(users)
	require.NoError(t, err)
	return dir
}

// An address that gets an entry later is found at the next refresh.
func TestEntryAppears(t *testing.T) {
	missing := true
	w := newWorld(t, func(c *presence.Config) {
		real := c.Directory
		c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
			if missing {
				return directory.Entry{}, directory.ErrNotFound
			}
			return real.Lookup(ctx, a)
		})
	})
	require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", busyLine))
	s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	require.Empty(t, s.one().doc(t).Devices)
	missing = false
	require.Equal(t, 200, s.refresh().Status)
	require.Equal(t, "In a call", s.one().shown(t).note)
}

// A changed entry is taken over when it is seen: its new device is supervised,
// the old one no longer.
func TestEntryChanges(t *testing.T) {
	entry := users[0]
	w := newWorld(t, func(c *presence.Config) {
		c.Directory = directory.Func(func(context.Context, directory.Address) (directory.Entry, error) { return entry, nil })
	})
	feed := w.server.Feed()
	require.NoError(t, feed.SetLine(t.Context(), "3000", busyLine))
	s, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	require.Equal(t, "other:signed out", s.one().shown(t).activity)
	entry.Lines = []string{"3000"}
	require.NoError(t, w.server.Reload(t.Context(), "tom@example.com"))
	require.Equal(t, "In a call", s.one().shown(t).note)
	require.NoError(t, feed.SetLine(t.Context(), "2719", busyLine))
	require.Empty(t, w.net.take())
}
