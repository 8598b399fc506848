package presence_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/sipx"
)

// hanging is each interface of a host, and hangs in one of them, where tom is
// concerned. It minds no context: that is the worst a host can do.
type hanging struct {
	directory.Directory
	presence.MemoryStore
	on   atomic.Bool
	held atomic.Int32  // calls that hang
	free chan struct{} // closed in the end
}

func (h *hanging) call(tom bool) {
	if tom && h.on.Load() {
		h.held.Add(1)
		<-h.free
	}
}

func (h *hanging) Lookup(ctx context.Context, a directory.Address) (directory.Entry, error) {
	h.call(a.Value == "tom@example.com")
	return h.Directory.Lookup(ctx, a)
}

func (h *hanging) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	h.call(true)
	return h.MemoryStore.Apply(ctx, batch)
}

func (h *hanging) Forward(_ context.Context, user directory.Entry, _ string) error {
	h.call(user.ID == "tom")
	return nil
}

func (h *hanging) Check(_ context.Context, r auth.Request) auth.Decision {
	h.call(r.From == "sip:tom@example.com")
	return auth.Decision{Verdict: auth.Accept}
}

func (h *hanging) Verify(context.Context, auth.Credentials) (auth.Identity, error) {
	h.call(true)
	return auth.Identity{Account: "tom"}, nil
}

func (h *hanging) Sight(_ context.Context, _ presence.Watcher, whom directory.Entry) (consolidation.Sight, error) {
	h.call(whom.ID == "tom")
	return consolidation.SightOthers, nil
}

func (h *hanging) MonitorLine(ctx context.Context, dn string, _ func(presence.LineState)) error {
	h.call(dn == "2719")
	<-ctx.Done()
	return nil
}

func (h *hanging) MonitorCalendar(ctx context.Context, mail string, _ func(presence.CalendarState)) error {
	h.call(mail == "tom@example.com")
	<-ctx.Done()
	return nil
}

func (h *hanging) MonitorExternal(ctx context.Context, user directory.Entry, _ func(presence.ExternalState)) error {
	h.call(user.ID == "tom")
	<-ctx.Done()
	return nil
}

func (h *hanging) match(_ *consolidation.Claim, st *consolidation.State) bool {
	h.call(st.Entry.(*directory.Entry).ID == "tom")
	return false
}

// Handle is that of a slog.Handler.
func (h *hanging) Handle(context.Context, slog.Record) error { h.call(true); return nil }
func (h *hanging) Enabled(context.Context, slog.Level) bool  { return true }
func (h *hanging) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h *hanging) WithGroup(string) slog.Handler             { return h }

// BSX-7: a host that hangs in one of its interfaces holds up what waits for it, and
// nothing else. Requests of strangers and of other users are answered at once, their
// watchers are told, what expires does, and nothing holds up the goroutine that reads the
// network. Shutdown keeps its five seconds, and the last NOTIFYs leave first: before it waits for
// anything but a store, which has half of the time.
func TestHangingHost(t *testing.T) {
	watch := func(w *world) { w.standard("bob", "192.0.2.20").subscribe("sip:tom@example.com") }
	publish := func(w *world) { w.client("tom", "192.0.2.21").status("", "busy", "") }
	for name, tt := range map[string]struct {
		configure func(c *presence.Config, h *hanging)
		provoke   func(w *world) // has the server call the host
		last      time.Duration  // the last NOTIFYs leave by then
	}{
		"directory": {func(c *presence.Config, h *hanging) { c.Directory = h }, watch, 0},
		"guard":     {func(c *presence.Config, h *hanging) { c.Guard = h }, publish, 0},
		"verifier of a guard": {func(c *presence.Config, h *hanging) {
			guard, err := auth.New(auth.Config{
				Verifier: h, Mode: auth.ModeOptional, Capable: func(userAgent string) bool { return strings.Contains(userAgent, "signs in") },
			})
			require.NoError(t, err)
			c.Guard = guard
		}, func(w *world) {
			tom := w.client("tom", "192.0.2.21")
			tom.agent += " signs in"
			tom.signIn(`DE\tom`, tom.status("", "busy", ""))
			tom.status("", "busy", "")
		}, 0},
		"policy": {func(c *presence.Config, h *hanging) { c.Policy = h }, watch, 0},
		"forwarding": {func(c *presence.Config, h *hanging) { c.Forward = h },
			func(w *world) { w.client("tom", "192.0.2.21").forward("tel:6894", "") }, 0},
		"line monitor":     {func(c *presence.Config, h *hanging) { c.Lines = h }, watch, 0},
		"calendar monitor": {func(c *presence.Config, h *hanging) { c.Calendar = h }, watch, 0},
		"external monitor": {func(c *presence.Config, h *hanging) { c.External = h }, watch, 0},
		"rule": {func(c *presence.Config, h *hanging) {
			c.Rules = append([]consolidation.Rule{{Name: "host", Match: h.match, Status: consolidation.StatusBusy}}, consolidation.DefaultRules()...)
		}, publish, 0},
		"hook for changes": {func(c *presence.Config, h *hanging) {
			c.Hooks.Changed = func(x presence.Change) { h.call(x.Entity == "sip:tom@example.com") }
		}, publish, 0},
		"hook for requests": {func(c *presence.Config, h *hanging) {
			c.Hooks.Request = func(method string, _ int, _ time.Duration) { h.call(method == "MESSAGE") }
		}, func(w *world) {
			w.send(w.client("tom", "192.0.2.21").request("MESSAGE", "sip:192.0.2.1", "<sip:tom@example.com>", "m", 1, ""))
		}, 0},
		"logger": {func(c *presence.Config, h *hanging) { c.Logger = slog.New(h) }, publish, 0},
		"store":  {func(c *presence.Config, h *hanging) { c.Store = h }, publish, 2500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := &hanging{free: make(chan struct{})}
				w := newWorld(t, func(c *presence.Config) {
					h.Directory = c.Directory
					tt.configure(c, h)
				})
				require.NoError(t, w.server.Restore(t.Context()))
				ann := w.client("ann", "192.0.2.7")
				own, _ := ann.subscribe("sip:ann@example.com")
				tag := etag(ann.status("", "available", ""))
				watcher, _ := w.standard("bob", "192.0.2.9").subscribe("sip:ann@example.com")
				bob, _ := w.client("bob", "192.0.2.10").subscribe("sip:bob@example.com", "Expires: 60")
				watchesBob, _ := w.standard("ann", "192.0.2.11").subscribe("sip:bob@example.com")
				settle()
				time.Sleep(time.Second) // the store has it

				h.on.Store(true)
				var gaveUp atomic.Bool
				go func() { tt.provoke(w); gaveUp.Store(true) }()
				time.Sleep(time.Second)
				settle()
				require.Positive(t, h.held.Load(), "the host hangs")
				w.net.take()

				w.atOnce(func() {
					require.Equal(t, 200, w.options().Status)
					require.Equal(t, 200, ann.status(tag, "busy", "now").Status)
					require.Equal(t, "now", watcher.one().note(t))
					require.Equal(t, 200, own.refresh().Status)
					_, res := w.standard("bob", "192.0.2.12").subscribe("sip:ann@example.com")
					require.Equal(t, 200, res.Status)
					require.Len(t, w.net.take(), 1)
				})

				time.Sleep(61 * time.Second)
				sent := w.net.take()
				require.Len(t, bob.of(sent), 1, "it has expired")
				require.Equal(t, "terminated;reason=timeout", bob.of(sent)[0].state())
				require.Len(t, watchesBob.of(sent), 1)
				require.Equal(t, "other:signed out", watchesBob.of(sent)[0].shown(t).activity)

				// What the network says is taken at once, and ends what it ends.
				w.net.hold()
				phone := w.standard("ann", "192.0.2.13")
				phone.flow = tcp(13)
				overTCP, _ := phone.subscribe("sip:ann@example.com")
				gone, _ := w.standard("bob", "192.0.2.14").subscribe("sip:ann@example.com")
				n := gone.one()
				w.atOnce(func() {
					n.fail(481)
					w.server.FlowClosed(phone.flow)
				})
				require.Equal(t, 481, gone.refresh().Status)
				require.Equal(t, 481, overTCP.refresh().Status)
				w.net.answering(nil)
				w.net.take()

				began := time.Now()
				live := len(w.server.Subscriptions())
				require.GreaterOrEqual(t, live, 4)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_ = w.server.Shutdown(ctx) // says what held it up
				require.LessOrEqual(t, time.Since(began), 5*time.Second)
				last := 0
				for _, n := range w.net.take() {
					require.Equal(t, "terminated;reason=deactivated", n.state())
					require.LessOrEqual(t, n.at.Sub(began), tt.last)
					last++
				}
				require.Equal(t, live, last)
				close(h.free)
				synctest.Wait()
				require.True(t, gaveUp.Load())
			})
		})
	}
}

// BSX-7: with StoreAlways, SUBSCRIBE and PUBLISH wait for a store that hangs, five
// seconds, and are 503. What is not to be stored does not wait.
func TestHangingStoreAlways(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := &hanging{free: make(chan struct{})}
		w := newWorld(t, func(c *presence.Config) { c.Store, c.StoreAlways = h, true })
		require.NoError(t, w.server.Restore(t.Context()))
		watcher, _ := w.standard("bob", "192.0.2.9").subscribe("sip:ann@example.com")
		w.net.take()
		h.on.Store(true)
		began := time.Now()
		answered := make(chan *sipx.Response)
		go func() { answered <- w.client("ann", "192.0.2.7").status("", "busy", "") }()
		settle()
		w.atOnce(func() {
			require.Equal(t, 200, w.options().Status)
			require.Equal(t, 481, (&sub{e: watcher.e, uri: watcher.uri, callID: "none", toTag: "none"}).refresh().Status)
		})
		require.Equal(t, 503, (<-answered).Status)
		require.Equal(t, 5*time.Second, time.Since(began))
		w.atOnce(func() { require.Equal(t, 503, w.client("ann", "192.0.2.7").status("", "away", "").Status) })
		close(h.free)
		h.on.Store(false)
		time.Sleep(time.Second)
		require.Equal(t, 200, watcher.refresh().Status)
	})
}

// Config.Decorate and Hooks.Notify must not block. Where one does, it holds up the
// dialogs that show the user, or who brings the answer to a NOTIFY. Requests that have
// nothing to do with those are answered, and later all goes on.
func TestHangingWhereItMustNot(t *testing.T) {
	for name, configure := range map[string]func(*presence.Config, *hanging){
		"decorate": func(c *presence.Config, h *hanging) {
			c.Decorate = func(d presence.Decoration) { h.call(d.Entry.ID == "tom") }
		},
		"hook for NOTIFYs": func(c *presence.Config, h *hanging) {
			c.Hooks.Notify = func(int, time.Duration, error) { h.call(h.held.Load() == 0) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := &hanging{free: make(chan struct{})}
				w := newWorld(t, func(c *presence.Config) { configure(c, h) })
				ann := w.client("ann", "192.0.2.7")
				own, _ := ann.subscribe("sip:ann@example.com")
				tag := etag(ann.status("", "available", ""))
				watcher, _ := w.standard("bob", "192.0.2.9").subscribe("sip:ann@example.com")
				held, _ := w.standard("bob", "192.0.2.20").subscribe("sip:tom@example.com")
				w.net.take()
				h.on.Store(true)
				go w.client("tom", "192.0.2.21").status("", "busy", "at last")
				settle()
				require.Positive(t, h.held.Load(), "the host hangs")
				w.net.take()
				w.atOnce(func() {
					require.Equal(t, 200, w.options().Status)
					require.Equal(t, 200, ann.status(tag, "busy", "now").Status)
					require.Equal(t, "now", watcher.one().note(t))
					require.Equal(t, 200, own.refresh().Status)
				})
				h.on.Store(false)
				close(h.free)
				require.Equal(t, 200, held.refresh().Status)
				list := held.of(w.net.take())
				require.Equal(t, "at last", list[len(list)-1].note(t))
			})
		})
	}
}

// BSX-7: a Config.Decorate that hangs holds up the dialogs that show its user. Shutdown
// ends all others first, and returns when its context ends. It runs without a bubble, whose
// clock stands while a goroutine waits for a lock.
func TestShutdownDecorateHangs(t *testing.T) {
	for name, stored := range map[string]bool{"without a store": false, "with a store": true} {
		t.Run(name, func(t *testing.T) {
			h := &hanging{free: make(chan struct{})}
			w := newWorld(t, func(c *presence.Config) {
				c.Decorate = func(d presence.Decoration) { h.call(d.Entry.ID == "tom") }
				if stored {
					c.Store = &h.MemoryStore
				}
			})
			require.NoError(t, w.server.Restore(t.Context()))
			var held, free []*sub
			for i := range 20 { // in turns
				watcher := w.standard("bob", fmt.Sprintf("192.0.2.%d", 20+i))
				tom, _ := watcher.subscribe("sip:tom@example.com")
				ann, _ := watcher.subscribe("sip:ann@example.com")
				held, free = append(held, tom), append(free, ann)
			}
			require.Eventually(t, func() bool { return w.server.Stats().UnderWay == 0 }, time.Minute, time.Millisecond)
			w.net.take()
			h.on.Store(true)
			published := make(chan struct{})
			tom := w.client("tom", "192.0.2.200")
			go func() { defer close(published); tom.status("", "busy", "at last") }()
			require.Eventually(t, func() bool { return h.held.Load() > 0 }, time.Minute, time.Millisecond)

			ctx, cancel := context.WithCancel(t.Context())
			if stored { // which waits for half of the time, at most, and may leave the dialogs as they are
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			ended := make(chan error)
			go func() { ended <- w.server.Shutdown(ctx) }()
			if !stored {
				var sent []*notify
				require.Eventually(t, func() bool {
					sent = append(sent, w.net.take()...)
					return len(sent) >= len(free)
				}, time.Minute, time.Millisecond)
				for i := range free {
					require.Empty(t, held[i].of(sent))
					require.Len(t, free[i].of(sent), 1)
					require.Equal(t, "terminated;reason=deactivated", free[i].of(sent)[0].state())
				}
				cancel()
			}
			require.ErrorIs(t, <-ended, ctx.Err())
			close(h.free)
			<-published
		})
	}
}

// options asks as a stranger.
func (w *world) options() *sipx.Response {
	w.Helper()
	return w.send(w.standard("eve", "192.0.2.66").request("OPTIONS", "sip:192.0.2.1", "<sip:192.0.2.1>", "o", 1, ""))
}

// atOnce requires that f takes no time, and waits for nothing but what goes on.
func (w *world) atOnce(f func()) {
	w.Helper()
	began, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		require.Zero(w, time.Since(began))
	case <-time.After(time.Hour):
		w.Fatal("it hangs")
	}
}
