package client_test

import (
	"context"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
)

// BSP-4.1-1: the own address first, then the list as §4.2 prints it.
func TestWatchSubscribesToItselfFirst(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann, "tel:200", "sip:ANN@example.com"))
		sent := s.seen("")
		require.Len(t, sent, 2)

		own := sent[0]
		require.Equal(t, "sip:192.0.2.1:5060", own.URI.String())
		require.Equal(t, tom, own.To.URI.String())
		require.Equal(t, tom, own.From.URI.String())
		require.Empty(t, own.To.Tag())
		require.Equal(t, "<sip:tom@192.0.2.7:5060>", own.Header.Get("Contact"))
		require.Equal(t, "presence", own.Header.Get("Event"))
		require.Equal(t, "300", own.Header.Get("Expires"))
		require.Contains(t, own.Header.Get("User-Agent"), "BluStar")
		require.Empty(t, own.Body)

		list := sent[1]
		require.Equal(t, "sip:rls@example.com", list.To.URI.String())
		require.Equal(t, "recipient-list-subscribe", list.Header.Get("Require"))
		require.Equal(t, "recipient-list", list.Header.Get("Content-Disposition"))
		require.Equal(t, "application/resource-lists+xml", list.Header.Get("Content-Type"))
		require.Equal(t, []string{ann, "tel:200"}, s.entities(list), "duplicates are dropped")
		require.Equal(t, []string{ann, "tel:200"}, c.Watched())

		require.Equal(t, []int{200, 200, 200}, s.told())
		require.ElementsMatch(t, []string{
			tom + ` busy "In a call" lines 2719=busy→6894 services global service`,
			ann + ` busy "In a call" lines 2719=busy→6894 services global service`,
			`tel:200 busy "In a call" lines 2719=busy→6894 services global service`,
		}, in.lines())
	})
}

// BSP-2.9-1: a refresh stays in its dialog, rises the CSeq, and has no body.
func TestRefreshBeforeExpiry(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		first := s.seen("SUBSCRIBE")
		for range 20 {
			started := time.Now()
			var refreshes []*sipx.Request
			for len(refreshes) < 2 {
				time.Sleep(time.Second)
				refreshes = append(refreshes, s.seen("SUBSCRIBE")...)
			}
			require.Less(t, time.Since(started), 300*8/10*time.Second+2*time.Second)
			for _, r := range refreshes {
				require.NotEmpty(t, r.To.Tag())
				require.Contains(t, []string{first[0].CallID, first[1].CallID}, r.CallID)
				require.Greater(t, r.CSeq, first[0].CSeq)
				require.Empty(t, r.Body)
				require.Equal(t, "sip:192.0.2.1:5060;transport=udp", r.URI.String(), "the dialog's target")
			}
			time.Sleep(70 * time.Second) // past the other's jitter
			s.seen("")
		}
		require.Len(t, in.lines(), 2, "nothing changed")
	})
}

// BSP-2.9-3: another list goes into a refresh.
func TestWatchReplacesTheList(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		_, dialog := s.open()
		s.seen("")
		in.take()
		require.NoError(t, c.Watch(t.Context(), "sip:joe@example.com"))
		sent := s.seen("")
		require.Len(t, sent, 1)
		require.Equal(t, dialog, sent[0].CallID)
		require.NotEmpty(t, sent[0].To.Tag())
		require.Equal(t, []string{"sip:joe@example.com"}, s.entities(sent[0]))
		require.Equal(t, "sip:joe@example.com", in.take()[0].Entity)

		s.play(status("SUBSCRIBE", 403))
		err := c.Watch(t.Context(), ann)
		failure := new(client.StatusError)
		require.ErrorAs(t, err, &failure)
		require.Equal(t, 403, failure.Status)
		require.Equal(t, []string{"sip:joe@example.com"}, c.Watched(), "a failure changes nothing")

		s.play(nil)
		s.seen("")
		require.NoError(t, c.Watch(t.Context()))
		sent = s.seen("")
		require.Equal(t, "0", sent[len(sent)-1].Header.Get("Expires"), "no addresses: the list ends")
		require.Empty(t, c.Watched())
	})
}

// A refresh that is answered 481 is followed by a new subscription at once
// (RFC 6665 §4.1.2.2), with the list.
func TestForgottenDialogIsOpenedAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		s.seen("")
		in.take()
		s.mu.Lock()
		clear(s.dialogs) // the server was started anew
		s.mu.Unlock()
		time.Sleep(250 * time.Second)
		sent := s.seen("SUBSCRIBE")
		require.Len(t, sent, 4)
		var lists int
		for _, r := range sent {
			if r.To.Tag() == "" && r.Body != nil {
				lists++
				require.Equal(t, []string{ann}, s.entities(r))
			}
		}
		require.Equal(t, 1, lists)
		require.Len(t, in.lines(), 2, "states come again")
	})
}

// What a subscriber does after the server has ended its subscription
// (RFC 6665 §4.1.3).
func TestTerminatedByTheServer(t *testing.T) {
	tests := []struct {
		state    string
		min, max time.Duration // until the next SUBSCRIBE; 0, 0: at once
		never    bool
	}{
		{state: "terminated;reason=deactivated"},
		{state: "terminated;reason=timeout"},
		{state: "terminated"},
		{state: "terminated;reason=unheard-of"},
		{state: "terminated;reason=unheard-of;retry-after=7", min: 7 * time.Second, max: 7 * time.Second},
		{state: "terminated;reason=probation;retry-after=30", min: 30 * time.Second, max: 30 * time.Second},
		{state: "terminated;reason=giveup;retry-after=2000000000", min: time.Hour, max: time.Hour},
		{state: "terminated;reason=giveup", min: 500 * time.Millisecond, max: 2 * time.Second},
		{state: "terminated;reason=rejected", never: true},
		{state: "terminated;reason=noresource", never: true},
		{state: "terminated;reason=invariant", never: true},
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
				require.NoError(t, c.SignIn(t.Context()))
				own, _ := s.open()
				time.Sleep(time.Minute)
				s.seen("")
				in.take()

				s.mu.Lock()
				s.silent = true
				s.mu.Unlock()
				s.notify(own, tt.state, "")
				ended := in.take()
				require.Len(t, ended, 1)
				require.Equal(t, client.Terminated, ended[0].State)
				require.Equal(t, tom, ended[0].Entity)
				require.True(t, ended[0].Own)
				if tt.never {
					time.Sleep(3 * time.Hour)
					require.Empty(t, s.seen("SUBSCRIBE"))
					require.NoError(t, c.SignIn(t.Context()), "the host may still want to")
					require.Len(t, s.seen("SUBSCRIBE"), 1)
					return
				}
				if tt.min > 0 {
					time.Sleep(tt.min - time.Millisecond)
					require.Empty(t, s.seen("SUBSCRIBE"))
					time.Sleep(tt.max - tt.min + time.Millisecond)
				}
				sent := s.seen("SUBSCRIBE")
				require.Len(t, sent, 1)
				require.NotEqual(t, own, sent[0].CallID, "a new dialog")
				require.Empty(t, sent[0].To.Tag())

				// The old dialog is over.
				s.told()
				s.notify(own, "active", busy(tom, "late"))
				require.Equal(t, []int{481}, s.told())
			})
		})
	}
}

// A server that ends every subscription as soon as it is made is not flooded.
func TestEndlessDeactivationIsBackedOffFrom(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.SignIn(t.Context()))
		attempts := 0
		for range 3600 {
			if own, _ := s.open(); own != "" {
				s.end(own, "deactivated")
				attempts++
			}
			time.Sleep(time.Second)
		}
		require.Greater(t, attempts, 10)
		require.Less(t, attempts, 40)
	})
}

// RFC 6665 §4.1.2.4: no NOTIFY within 32 s is no subscription.
func TestSubscriptionWithoutNotify(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		s.silent = true
		require.NoError(t, c.SignIn(t.Context()))
		first := s.seen("")
		time.Sleep(31 * time.Second)
		require.Empty(t, s.seen(""))
		s.mu.Lock()
		s.silent = false
		s.mu.Unlock()
		time.Sleep(4 * time.Second)
		sent := s.seen("")
		require.Len(t, sent, 1)
		require.NotEqual(t, first[0].CallID, sent[0].CallID)
		require.Len(t, in.lines(), 1)
	})
}

// A failing refresh is tried again with back-off, in the dialog while that lives
// and in a new one after; a server that is back finds its client.
func TestServerThatIsAwayForAWhile(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.SignIn(t.Context()))
		s.seen("")
		in.take()
		s.network.Blackhole("192.0.2.1", true)
		time.Sleep(2 * time.Hour)
		s.network.Blackhole("192.0.2.1", false)
		time.Sleep(6 * time.Minute)
		sent := s.seen("SUBSCRIBE")
		require.NotEmpty(t, sent)
		require.Empty(t, sent[0].To.Tag(), "the dialog has expired long ago")
		require.NotEmpty(t, in.lines())
	})
}

func TestShorterExpiryIsObeyed(t *testing.T) {
	t.Run("in the 200", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
			s.play(func(req *sipx.Request) *sipx.Response {
				res := sipx.NewResponse(200, field("Expires", "60"))
				res.ToTag = "x"
				return res
			})
			require.NoError(t, c.SignIn(t.Context()))
			s.seen("")
			time.Sleep(48 * time.Second)
			require.NotEmpty(t, s.seen("SUBSCRIBE"))
		})
	})
	t.Run("in a NOTIFY", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
			require.NoError(t, c.SignIn(t.Context()))
			own, _ := s.open()
			s.seen("")
			s.notify(own, "active;expires=60", "")
			time.Sleep(41 * time.Second)
			require.Empty(t, s.seen("SUBSCRIBE"))
			time.Sleep(8 * time.Second)
			require.Len(t, s.seen("SUBSCRIBE"), 1)
		})
	})
	t.Run("hostile", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
			require.NoError(t, c.SignIn(t.Context()))
			own, _ := s.open()
			s.seen("")
			for range 100 {
				s.notify(own, "active;expires=1", "")
			}
			require.Empty(t, s.seen("SUBSCRIBE"))
			time.Sleep(time.Second)
			require.Len(t, s.seen("SUBSCRIBE"), 1)
		})
	})
}

// A connection that breaks takes the server's memory of the client with it
// (BSP-2.3-1), so the client asks at once.
func TestLostConnection(t *testing.T) {
	change := func(cfg *client.Config) { cfg.Server.Params = ";transport=tcp" }
	run(t, change, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.SignIn(t.Context()))
		require.NoError(t, c.Publish(t.Context(), client.Publication{AsDefault: true}))
		sent := s.seen("")
		require.Equal(t, "<sip:tom@192.0.2.7:5060;transport=tcp>", sent[0].Header.Get("Contact"))
		require.Equal(t, "tcp", sent[0].Flow.Transport)
		s.stack.CloseFlow(s.stack.Flows()[0])
		sent = s.seen("")
		require.Len(t, sent, 2)
		require.ElementsMatch(t, []string{"SUBSCRIBE", "PUBLISH"}, []string{sent[0].Method, sent[1].Method})
	})
}

func TestFetch(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		s.play(func(req *sipx.Request) *sipx.Response {
			synctestNotify(s, req)
			return nil
		})
		n, err := c.Fetch(t.Context(), "tel:200")
		require.NoError(t, err)
		require.Equal(t, "tel:200", n.Entity)
		sent := s.seen("")
		require.Len(t, sent, 1)
		require.Equal(t, "0", sent[0].Header.Get("Expires"))
		require.Empty(t, in.lines(), "it goes to the caller")
		time.Sleep(time.Hour)
		require.Empty(t, s.seen(""), "once")

		s.play(nil)
		s.silent = true
		started := time.Now()
		_, err = c.Fetch(t.Context(), "tel:200")
		require.Error(t, err)
		require.Equal(t, 32*time.Second, time.Since(started))

		s.play(status("SUBSCRIBE", 404))
		_, err = c.Fetch(t.Context(), "tel:200")
		require.ErrorContains(t, err, "404")
	})
}

// synctestNotify has the state of a fetch told before its 200.
func synctestNotify(s *server, req *sipx.Request) {
	s.mu.Lock()
	s.dialogs[req.CallID] = &dialog{req: req, tag: "early"}
	s.mu.Unlock()
	s.notify(req.CallID, "terminated;reason=timeout", busy("tel:200", "In a call"))
}

// BSP-2.2-1, BSP-2.2-2: SignOut ends all three and waits for the last NOTIFYs.
func TestSignOut(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}))
		own, _ := s.open()
		s.seen("")
		in.take()
		s.play(func(req *sipx.Request) *sipx.Response {
			if req.Method == "PUBLISH" {
				go s.end(own, "deactivated")
			}
			return nil
		})
		require.NoError(t, c.SignOut(t.Context()))
		sent := s.seen("")
		require.Len(t, sent, 2, "the own subscription has ended with the publication")
		require.Equal(t, []string{"SUBSCRIBE", "PUBLISH"}, []string{sent[0].Method, sent[1].Method})
		for _, r := range sent {
			require.Equal(t, "0", r.Header.Get("Expires"))
		}
		require.Equal(t, "18762", sent[1].Header.Get("SIP-If-Match"))
		require.Empty(t, sent[1].Body)
		last := in.take()
		require.Len(t, last, 2)
		require.Equal(t, "timeout", last[0].Reason)
		require.Equal(t, "deactivated", last[1].Reason)

		time.Sleep(2 * time.Hour)
		require.Empty(t, s.seen(""), "deactivated by our own doing is not tried again")
		s.play(nil)
		require.NoError(t, c.Watch(t.Context(), ann), "and it can sign in again")
		require.Len(t, s.seen("SUBSCRIBE"), 2)
	})
}

func TestSignOutFromADeadServer(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		s.network.Blackhole("192.0.2.1", true)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		started := time.Now()
		require.ErrorIs(t, c.SignOut(ctx), context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(started))
		time.Sleep(time.Minute) // a request that was sent is repeated until its time is over
		s.network.Blackhole("192.0.2.1", false)
		s.seen("")
		time.Sleep(time.Hour)
		require.Empty(t, s.seen(""), "nothing is kept alive any more")
	})
}

func TestCloseIsFinal(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		require.NoError(t, c.Close(t.Context()))
		require.NoError(t, c.Close(t.Context()))
		require.ErrorIs(t, c.Watch(t.Context(), ann), client.ErrClosed)
		require.ErrorIs(t, c.Publish(t.Context(), client.Publication{}), client.ErrClosed)
		_, err := c.Fetch(t.Context(), ann)
		require.ErrorIs(t, err, client.ErrClosed)
		require.ErrorIs(t, c.Forward(t.Context(), ann), client.ErrClosed)
		require.ErrorIs(t, c.SignOut(t.Context()), client.ErrClosed)
		s.seen("")
		time.Sleep(2 * time.Hour)
		require.Empty(t, s.seen(""))
	})
}

// Abandon cuts a call short, and tells the server nothing.
func TestAbandon(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.SignIn(t.Context()))
		s.network.Blackhole("192.0.2.1", true)
		failed := make(chan error, 1)
		go func() { failed <- c.Watch(t.Context(), ann) }()
		synctest.Wait()
		c.Abandon()
		require.Error(t, <-failed)
		time.Sleep(time.Minute) // a request that was sent is repeated until its time is over
		s.network.Blackhole("192.0.2.1", false)
		s.seen("")
		time.Sleep(time.Hour)
		require.Empty(t, s.seen(""))
	})
}

// A server whose NOTIFYs cannot be taken any more, as its CSeq starts anew in the
// dialog, is asked for another, and a new dialog heals what that does not (BSX-3,
// RFC 3261 §12.2.2, RFC 6665 §4.1.2).
func TestCSeqRestart(t *testing.T) {
	for name, change := range map[string]func(*dialog){
		"own":          func(d *dialog) { d.seq = 0 },
		"list":         func(d *dialog) { d.seq = 0 },
		"own, the tag": func(d *dialog) { d.tag = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
				require.NoError(t, c.Watch(t.Context(), ann, "tel:200"))
				own, list := s.open()
				id, entity := own, tom
				if name == "list" {
					id, entity = list, ann
				}
				for range 20 {
					s.notify(id, "active;expires=300", busy(entity, "In a call"))
				}
				time.Sleep(time.Minute)
				s.seen("")
				in.take()
				s.told()

				s.mu.Lock()
				change(s.dialogs[id])
				s.mu.Unlock()
				s.notify(id, "active;expires=300", busy(entity, "Back"))
				require.NotEqual(t, []int{200}, s.told())
				require.Empty(t, in.take())
				time.Sleep(time.Minute)
				var opened int
				for _, req := range s.seen("SUBSCRIBE") {
					if req.To.Tag() == "" && req.To.URI.Host == "example.com" {
						opened++
						require.NotEqual(t, id, req.CallID)
					}
				}
				require.Equal(t, 1, opened, "a new dialog")
				require.NotEmpty(t, in.take(), "that tells the state")
				time.Sleep(time.Hour)
				for _, req := range s.seen("SUBSCRIBE") {
					require.NotEmpty(t, req.To.Tag(), "which lasts")
				}
			})
		})
	}
}

// BSX-13: where the server has forgotten one thing that the client keeps, the client
// asks for all of them.
func TestServerThatWasRestarted(t *testing.T) {
	for name, restart := range map[string]func(*server){
		"it ends one subscription":       func(*server) {},
		"it ends one that is young":      func(*server) {},
		"one refresh is answered 481":    func(*server) { time.Sleep(250 * time.Second) },
		"a connection is closed":         func(s *server) { s.stack.CloseFlow(s.stack.Flows()[0]) },
		"it was away until they expired": func(s *server) { s.away(10 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			change := func(cfg *client.Config) { cfg.Server.Params = ";transport=tcp" }
			run(t, change, func(t *testing.T, s *server, c *client.Client, in *inbox) {
				require.NoError(t, c.Watch(t.Context(), ann))
				require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, AsDefault: true}))
				if name != "it ends one that is young" {
					time.Sleep(40 * time.Second)
				}
				s.seen("")
				own, list := s.open()
				s.mu.Lock()
				maps.DeleteFunc(s.dialogs, func(id string, _ *dialog) bool { return id != own })
				s.mu.Unlock()
				var lost atomic.Bool
				s.play(func(req *sipx.Request) *sipx.Response {
					if req.Method == "PUBLISH" && lost.CompareAndSwap(false, true) {
						return sipx.NewResponse(412)
					}
					return nil
				})
				if strings.HasPrefix(name, "it ends") { // the last, since the client answers it at once
					s.notify(own, "terminated;reason=deactivated", "")
				}
				s.mu.Lock()
				delete(s.dialogs, own)
				s.mu.Unlock()
				restart(s)
				time.Sleep(4 * time.Second)
				opened, published := 0, 0
				for _, req := range s.seen("") {
					switch {
					case req.Method == "PUBLISH" && len(req.Body) > 0:
						published++
					case req.Method == "SUBSCRIBE" && req.To.Tag() == "":
						opened++
					}
				}
				require.Equal(t, 1, published)
				require.Equal(t, 2, opened)
				_, now := s.open()
				require.NotEqual(t, list, now)
			})
		})
	}
}

// BSX-13: a server that is restarted twice in a row is found twice.
func TestServerThatIsRestartedTwice(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, AsDefault: true}))
		for range 2 {
			time.Sleep(4 * time.Second)
			s.seen("")
			own, list := s.open()
			s.notify(own, "terminated;reason=deactivated", "")
			s.notify(list, "terminated;reason=deactivated", "")
			s.mu.Lock()
			clear(s.dialogs)
			s.mu.Unlock()
		}
		time.Sleep(20 * time.Second)
		published := 0
		for _, req := range s.seen("PUBLISH") {
			require.NotEmpty(t, req.Header.Get("SIP-If-Match"))
			published++
		}
		require.Equal(t, 1, published, "after the second time")
		own, list := s.open()
		require.NotEmpty(t, own)
		require.NotEmpty(t, list)
	})
}
