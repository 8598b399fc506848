package ews_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/ews"
)

// live returns a monitor of one mailbox whose stream lives, and was polled since.
func live(t *testing.T, e *fakeews.Server, cfg ews.Config) *watch {
	w := start(t, monitor(t, cfg), tom)
	passes(2 * time.Minute)
	require.Contains(t, e.Operations(), "GetStreamingEvents")
	passes(3 * time.Minute)
	require.Empty(t, e.Operations(), "nothing to ask")
	return w
}

// TestServerDies: BSX-15, BSX-2. What was known while the stream lived fades within its lifetime once the server
// is gone, silent or not; and comes back with the server.
func TestServerDies(t *testing.T) {
	for name, dies := range map[string]func(*fakeews.Server){
		"gone": func(e *fakeews.Server) { e.With(func() { e.Down = true }); e.Cut() },
		"silent": func(e *fakeews.Server) {
			e.Intercept(func(_ http.ResponseWriter, r *http.Request, _ *fakeews.Request) bool {
				<-r.Context().Done()
				return true
			})
			e.With(func() { e.Mute = true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				e.Add(tom, in("a", 2*time.Hour))
				dial := e.Serve(t)
				m := monitor(t, config(dial))
				kept := keep(t, m, tom)
				passes(5 * time.Minute)
				require.True(t, kept.shown())

				died := time.Now()
				dies(e)
				for kept.shown() {
					passes(time.Second)
					require.Less(t, time.Since(died), 11*time.Minute)
				}
				t.Log("faded after", time.Since(died))
				kept.mu.Lock()
				require.NotEmpty(t, kept.errs)
				kept.mu.Unlock()
				passes(time.Hour)
				require.False(t, kept.shown())

				back := time.Now()
				e.Intercept(nil)
				e.With(func() { e.Down, e.Mute = false, false })
				for !kept.shown() {
					passes(time.Second)
					require.Less(t, time.Since(back), 2*time.Minute)
				}
				t.Log("back after", time.Since(back))
				passes(2 * time.Minute)
				e.Operations()
				e.Change(tom, func(b *fakeews.Mailbox) { b.Items = nil })
				passes(betweenQuestions)
				require.Equal(t, []string{"FindItem"}, e.Operations(), "the stream as well")
				kept.stop()
			})
		})
	}
}

// kept is a monitor that is called again where it ends, as the presence server does.
type kept struct {
	stop func()

	mu    sync.Mutex
	at    time.Time
	value presence.CalendarState
	errs  []error
}

func keep(t *testing.T, m *ews.Monitor, mail string) *kept {
	k := new(kept)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
			began := time.Now()
			err := m.MonitorCalendar(ctx, mail, func(s presence.CalendarState) {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.at, k.value = time.Now(), s
			})
			k.mu.Lock()
			k.errs = append(k.errs, err)
			k.mu.Unlock()
			if time.Since(began) > time.Minute {
				pause = time.Second
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}()
	k.stop = func() { cancel(); <-done }
	return k
}

// shown reports whether the value still lasts.
func (k *kept) shown() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.at.IsZero() && time.Since(k.at) < k.value.Lifetime
}

// TestStreamFaults: what befalls a stream costs no change, and the server is not flooded.
func TestStreamFaults(t *testing.T) {
	tests := []struct {
		name   string
		before func(e *fakeews.Server) func(http.ResponseWriter, *http.Request, *fakeews.Request) bool
		within time.Duration // a change is seen
		most   int           // requests in 10 minutes
	}{
		{"subscriptions lost", nil, 90 * time.Second, 6},
		{"closed at once", func(e *fakeews.Server) func(http.ResponseWriter, *http.Request, *fakeews.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
				if q.Operation != "GetStreamingEvents" {
					return false
				}
				fakeews.Envelope(w, streamed(`<m:ConnectionStatus>Closed</m:ConnectionStatus>`))
				return true
			}
		}, 90 * time.Second, 40},
		{"refused", func(e *fakeews.Server) func(http.ResponseWriter, *http.Request, *fakeews.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
				if q.Operation != "GetStreamingEvents" {
					return false
				}
				fakeews.Fault(w, "ErrorAccessDenied", "")
				return true
			}
		}, 90 * time.Second, 40},
		{"too many subscriptions", func(e *fakeews.Server) func(http.ResponseWriter, *http.Request, *fakeews.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
				if q.Operation != "Subscribe" {
					return false
				}
				fakeews.Fault(w, "ErrorExceededSubscriptionCount", "")
				return true
			}
		}, 90 * time.Second, 20},
		{"subscriptions never found", func(e *fakeews.Server) func(http.ResponseWriter, *http.Request, *fakeews.Request) bool {
			return func(_ http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
				if q.Operation == "GetStreamingEvents" {
					e.With(func() { clear(e.Subscriptions) })
				}
				return false
			}
		}, 90 * time.Second, 40},
		{"a page of HTML", func(e *fakeews.Server) func(http.ResponseWriter, *http.Request, *fakeews.Request) bool {
			return func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
				if q.Operation != "GetStreamingEvents" {
					return false
				}
				w.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(w, "<html><p>Sign in</html>")
				return true
			}
		}, 90 * time.Second, 60},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				e.Add(tom, in("a", 2*time.Hour))
				w := live(t, e, config(e.Serve(t)))
				if tt.before != nil {
					e.Intercept(tt.before(e))
				}
				e.Restart() // the mailbox server, whose memory has the subscriptions
				passes(3 * time.Minute)
				e.Operations()
				passes(10 * time.Minute)
				_, ended := w.ended()
				require.False(t, ended, "the calendar itself can be read")
				asked := e.Operations()
				require.LessOrEqual(t, len(asked), tt.most, "%v", asked)
				e.Change(tom, func(b *fakeews.Mailbox) { b.Items = append(b.Items, in("b", 0)) })
				passes(tt.within)
				require.Equal(t, []string{"b", "a"}, w.ids())
				w.stop()
			})
		})
	}
}

func streamed(content string) string {
	return `<m:GetStreamingEventsResponse><m:ResponseMessages><m:GetStreamingEventsResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>` +
		content + `</m:GetStreamingEventsResponseMessage></m:ResponseMessages></m:GetStreamingEventsResponse>`
}

// TestOneOfMany: one subscription that is gone does not cost the others theirs.
func TestOneOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		m := monitor(t, config(e.Serve(t)))
		var all []*watch
		for i := range 5 {
			mail := fmt.Sprintf("user%d@example.com", i)
			e.Add(mail, in("a", 0))
			all = append(all, start(t, m, mail))
		}
		passes(5 * time.Minute)
		e.Operations()
		e.With(func() {
			for id, s := range e.Subscriptions {
				if s.Mail == "user3@example.com" {
					delete(e.Subscriptions, id)
				}
			}
		})
		passes(40 * time.Minute) // until the stream is opened anew
		asked := e.Requests()
		subscribed := 0
		for _, q := range asked {
			if q.Operation == "Subscribe" {
				subscribed++
				require.Equal(t, "user3@example.com", q.As)
			}
		}
		require.Equal(t, 1, subscribed)
		for i := range 5 {
			e.Change(fmt.Sprintf("user%d@example.com", i), func(b *fakeews.Mailbox) { b.Items = append(b.Items, in("b", 0)) })
		}
		passes(betweenQuestions)
		for _, w := range all {
			require.Len(t, w.ids(), 2)
			w.stop()
		}
	})
}

// TestOneNeverSubscribed: one mailbox that gets no subscription, even the first, does not keep the others from theirs.
func TestOneNeverSubscribed(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"an error": func(w http.ResponseWriter, _ *http.Request) { fakeews.Fault(w, "ErrorInternalServerError", "") },
		"nothing":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"HTML":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				m := monitor(t, config(e.Serve(t)))
				e.Intercept(func(w http.ResponseWriter, r *http.Request, q *fakeews.Request) bool {
					if q.Operation != "Subscribe" || q.As != "user0@example.com" {
						return false
					}
					answer(w, r)
					return true
				})
				var all []*watch
				for i := range 4 {
					mail := fmt.Sprintf("user%d@example.com", i)
					e.Add(mail, in("a", 0))
					all = append(all, start(t, m, mail))
				}
				passes(5 * time.Minute)
				e.With(func() {
					require.Len(t, e.Streams, 1)
					for l := range e.Streams {
						require.Len(t, l.IDs, 3)
					}
				})
				for i, w := range all {
					_, ended := w.ended()
					require.False(t, ended, i)
					w.stop()
				}
			})
		})
	}
}

// TestGroups: as many mailboxes share a stream as may, and who finds no room in one is polled.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		cfg := config(e.Serve(t))
		cfg.Limits.Group, cfg.Limits.Streams = 3, 2
		m := monitor(t, cfg)
		var all []*watch
		for i := range 8 {
			mail := fmt.Sprintf("user%d@example.com", i)
			e.Add(mail, in("a", 0))
			all = append(all, start(t, m, mail))
		}
		passes(5 * time.Minute)
		e.With(func() {
			require.Len(t, e.Streams, 2)
			for l := range e.Streams {
				require.Len(t, l.IDs, 3)
			}
		})
		e.Operations()
		passes(10 * time.Minute)
		var polled []string
		for _, q := range e.Requests() {
			require.Equal(t, "FindItem", q.Operation)
			polled = append(polled, q.As)
		}
		slices.Sort(polled)
		require.Equal(t, []string{"user6@example.com", "user7@example.com"}, slices.Compact(polled))

		all[0].stop()
		all[1].stop()
		passes(90 * time.Second)
		e.With(func() {
			n := 0
			for l := range e.Streams {
				n += len(l.IDs)
			}
			require.GreaterOrEqual(t, n, 6, "room that is there again is used")
		})
		for _, w := range all {
			w.stop()
		}
	})
}

// TestNotForUs: a mailbox that is not there, or not for us, is an error that names it and what to do, and costs
// nobody else anything.
func TestNotForUs(t *testing.T) {
	for code, want := range map[string]struct {
		err  error
		text string
	}{
		"ErrorNonExistentMailbox":    {ews.ErrNoMailbox, tom},
		"ErrorAccessDenied":          {ews.ErrNoAccess, tom},
		"ErrorImpersonateUserDenied": {ews.ErrNoAccess, "ApplicationImpersonation"},
	} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				e.Add(tom).Fails = code
				e.Add("meg@example.com", in("a", 0))
				m := monitor(t, config(e.Serve(t)))
				w := start(t, m, tom)
				err, ended := w.ended()
				require.True(t, ended)
				require.ErrorIs(t, err, want.err)
				require.ErrorContains(t, err, want.text)
				e.Operations()
				for range 50 {
					passes(time.Minute)
					w = start(t, m, tom)
					require.ErrorIs(t, w.err, want.err)
				}
				require.Empty(t, e.Operations(), "not asked again within an hour")
				other := start(t, m, "meg@example.com")
				require.Equal(t, []string{"a"}, other.ids())
				other.stop()
			})
		})
	}
	t.Run("no address", func(t *testing.T) {
		for _, mail := range []string{"", "tom", "@example.com", "tom@", "a\r\nX: y@example.com", "a b@example.com"} {
			require.ErrorIs(t, monitor(t, config(nil)).MonitorCalendar(t.Context(), mail, nil), ews.ErrNoMailbox, mail)
		}
	})
}

// TestPausesAreShared: a server that says when to come back is asked by nobody before; a mailbox whose own budget
// is spent waits alone.
func TestPausesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		cfg := config(e.Serve(t))
		cfg.Polling = true
		m := monitor(t, cfg)
		const meg = "meg@example.com"
		e.Add(tom, in("a", 0))
		e.Add(meg, in("a", 0))
		both := []*watch{start(t, m, tom), start(t, m, meg)}
		e.Intercept(func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
			if q.As == tom {
				fakeews.Busy(w, 5*time.Minute)
			}
			return q.As == tom
		})
		passes(90 * time.Second)
		e.Requests()
		passes(200 * time.Second)
		for _, q := range e.Requests() {
			require.Equal(t, meg, q.As)
		}
		passes(5 * time.Minute)

		e.Intercept(func(w http.ResponseWriter, _ *http.Request, _ *fakeews.Request) bool {
			w.Header().Set("Retry-After", "300")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		for len(e.Requests()) > 0 { // of before
		}
		for len(e.Requests()) == 0 {
			passes(time.Second)
		}
		passes(290 * time.Second)
		require.Empty(t, e.Requests())
		e.Intercept(nil)
		passes(3 * time.Minute)
		require.NotEmpty(t, e.Requests())
		for _, w := range both {
			_, ended := w.ended()
			require.False(t, ended)
			w.stop()
		}
	})
}

// TestOneBadAppointment costs only itself.
func TestOneBadAppointment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Add(tom, in("a", 0))
		e.Intercept(func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
			e.Say(w, q, fakeews.Success("FindItem", `<m:RootFolder IncludesLastItemInRange="true"><t:Items>`+
				`<t:CalendarItem><t:ItemId Id="1"/><t:Subject>no time</t:Subject></t:CalendarItem>`+
				`<t:CalendarItem><t:ItemId Id="2"/><t:Subject>odd &#x0;&#xB; characters &#xFFFF;</t:Subject><t:Start>`+fakeews.Zulu(time.Now())+`</t:Start><t:End>`+
				time.Now().Add(time.Hour).In(time.FixedZone("", 3600)).Format(time.RFC3339)+`</t:End></t:CalendarItem>`+
				`<t:CalendarItem><t:ItemId Id="3"/><t:Start>yesterday</t:Start><t:End>today</t:End></t:CalendarItem></t:Items></m:RootFolder>`))
			return true
		})
		w := start(t, monitor(t, config(e.Serve(t))), tom)
		require.Equal(t, []string{"2"}, w.ids())
		got := w.last().Appointments[0]
		require.Equal(t, "odd    characters", got.Subject)
		require.Equal(t, time.Hour, got.End.Sub(got.From))
		w.stop()
		require.True(t, errors.Is(w.err, context.Canceled))
	})
}
