package subscriber_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// A notifier accepts SUBSCRIBEs, or answers as its script says.
type notifier struct {
	requests []*sipx.Request
	script   func(*sipx.Request) (*sipx.Response, error) // nil, or a nil response and error: 200; errHang: never
}

var errHang = errors.New("hang")

func (n *notifier) Send(req *sipx.Request, h sipx.ResponseHandler) {
	n.requests = append(n.requests, req)
	if n.script != nil {
		if res, err := n.script(req); err == errHang {
			return
		} else if res != nil || err != nil {
			h.HandleResponse(req, res, err)
			return
		}
	}
	res := sipx.NewResponse(200, field("Expires", req.Header.Get("Expires")))
	res.ToTag = "n"
	h.HandleResponse(req, res, nil)
}

func (n *notifier) Contact(sipx.Flow) string { return "<sip:192.0.2.7>" }

func (n *notifier) last() *sipx.Request { return n.requests[len(n.requests)-1] }

// A watcher notes what it is told.
type watcher struct {
	bodies []string
	losses []subscriber.Loss
	hold   chan struct{} // not nil: what is done with a NOTIFY waits for it
	giveUp bool
}

func (w *watcher) Request(*sipx.Request, bool, time.Duration) {}
func (w *watcher) Accepted()                                  {}
func (w *watcher) Read(req *sipx.Request, _ subscriber.SubscriptionState) (string, func() (*sipx.Response, func())) {
	return "", func() (*sipx.Response, func()) {
		return sipx.NewResponse(200), func() {
			if w.hold != nil {
				<-w.hold
			}
			w.bodies = append(w.bodies, string(req.Body))
		}
	}
}

func (w *watcher) Lost(l subscriber.Loss) error {
	w.losses = append(w.losses, l)
	if w.giveUp {
		return l.Err
	}
	return nil
}

// keep runs f with a subscription that runs, in a bubble.
func keep(t *testing.T, waits bool, f func(*testing.T, *notifier, *watcher, *subscriber.Subscription, func(uint32, string) int)) {
	synctest.Test(t, func(t *testing.T) {
		n, w, routes := &notifier{}, &watcher{}, &subscriber.Routes{}
		s := subscriber.New(subscriber.Config{
			Sender: n, Routes: routes, Turns: make(chan struct{}, 1), Event: "presence",
			From: tom, To: ann, Target: ann, Expires: 300 * time.Second, Waits: waits, Log: slog.New(slog.DiscardHandler),
		}, w)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = s.Run(ctx) }()
		defer func() {
			cancel()
			<-s.Done()
		}()
		synctest.Wait()
		f(t, n, w, s, func(cseq uint32, body string) int {
			req := notify(n.last(), "n", cseq)
			req.Body = []byte(body)
			var answer sipxtest.Recorder
			if !routes.Serve(ctx, &answer, req) {
				return 481
			}
			return answer.Response().Status
		})
	})
}

// BSX-7: a host that takes its time holds up its own NOTIFYs for two seconds each, and
// those that cannot wait are to come again.
func TestSlowWatcher(t *testing.T) {
	keep(t, false, func(t *testing.T, n *notifier, w *watcher, s *subscriber.Subscription, notify func(uint32, string) int) {
		w.hold = make(chan struct{})
		started := time.Now()
		require.Equal(t, 200, notify(1, "one"), "it was answered before")
		require.Equal(t, 503, notify(2, "two"))
		require.Equal(t, 4*time.Second, time.Since(started))
		close(w.hold)
		require.Equal(t, 200, notify(2, "two"))
		require.Equal(t, []string{"one", "two"}, w.bodies)
	})
}

// Who asks hears of a failure alone, and what was to be changed is undone.
func TestAsk(t *testing.T) {
	keep(t, true, func(t *testing.T, n *notifier, w *watcher, s *subscriber.Subscription, notify func(uint32, string) int) {
		time.Sleep(time.Hour)
		require.Empty(t, n.requests, "it waits for that")
		require.NoError(t, s.Ask(t.Context(), 300*time.Second, nil))
		require.Equal(t, 200, notify(1, "one"))

		state := "before"
		change := func() func() {
			state = "after"
			return func() { state = "before" }
		}
		n.script = func(*sipx.Request) (*sipx.Response, error) { return sipx.NewResponse(403), nil }
		var failure *subscriber.Failure
		require.ErrorAs(t, s.Ask(t.Context(), 300*time.Second, change), &failure)
		require.Equal(t, 403, failure.Status)
		require.Equal(t, "before", state)

		n.script = func(*sipx.Request) (*sipx.Response, error) { return nil, errHang }
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Ask(ctx, 300*time.Second, change), context.DeadlineExceeded)
		require.Equal(t, "before", state)
		require.Empty(t, w.losses)

		n.script = nil
		require.NoError(t, s.Ask(t.Context(), 300*time.Second, change), "nothing is held up by what hangs")
		require.Equal(t, "after", state)
		s.Leave()
		require.NoError(t, s.Ask(t.Context(), 0, nil))
		require.Equal(t, "0", n.last().Header.Get("Expires"))
		time.Sleep(time.Hour)
		require.Equal(t, "0", n.last().Header.Get("Expires"), "nothing is tried again")
	})
}

// RFC 3261 §12.2.2, RFC 6665 §4.1.2: what is refused is asked for again, and then in a new
// dialog.
func TestNotifierThatLosesCount(t *testing.T) {
	keep(t, false, func(t *testing.T, n *notifier, w *watcher, s *subscriber.Subscription, notify func(uint32, string) int) {
		require.Equal(t, 200, notify(50, "one"))
		time.Sleep(time.Minute)
		first := n.last()
		require.Equal(t, 500, notify(1, "two"))
		synctest.Wait()
		require.Len(t, n.requests, 2, "a refresh")
		require.Zero(t, s.Confirmed())
		require.Equal(t, 500, notify(2, "two"))
		time.Sleep(subscriber.TimerN)
		synctest.Wait()
		require.Len(t, n.requests, 3)
		require.NotEqual(t, first.CallID, n.last().CallID)
		require.Equal(t, 200, notify(3, "two"))
		require.Equal(t, 300*time.Second, s.Confirmed())
		require.Len(t, w.losses, 1)
		require.ErrorIs(t, w.losses[0].Err, subscriber.ErrStuck)
	})
}

// Who is held by a Watcher that wants no more is told so.
func TestOver(t *testing.T) {
	keep(t, true, func(t *testing.T, n *notifier, w *watcher, s *subscriber.Subscription, notify func(uint32, string) int) {
		w.giveUp = true
		require.NoError(t, s.Ask(t.Context(), 300*time.Second, nil))
		time.Sleep(subscriber.TimerN + time.Second)
		<-s.Done()
		require.ErrorIs(t, w.losses[0].Err, subscriber.ErrNoNotify)
		require.ErrorIs(t, s.Ask(t.Context(), 300*time.Second, nil), subscriber.ErrOver)
		s.Farewell()
		require.Equal(t, "0", n.last().Header.Get("Expires"))
		s.Forget()
	})
}
