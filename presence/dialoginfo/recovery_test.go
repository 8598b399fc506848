package dialoginfo_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/sipx"
)

// TestRestart shows that values recover by themselves after the PBX has forgotten
// its subscriptions, and that the first to notice tells the others (BSX-2).
func TestRestart(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		lamps := make(map[string]*lamp)
		for i := range 50 {
			dn := fmt.Sprint(200 + i)
			r.state[dn] = full("confirmed")
			lamps[dn] = r.watch(dn)
			require.Equal(t, "busy", lamps[dn].shown())
			time.Sleep(2 * time.Second) // they refresh at different times
		}
		time.Sleep(90 * time.Second)
		r.seen()
		r.restart()
		r.set(func() {
			for dn := range r.state {
				r.state[dn] = full()
			}
		})
		start := time.Now()
		for len(r.seen()) == 0 {
			time.Sleep(time.Second)
		}
		require.Less(t, time.Since(start), 225*time.Second)
		time.Sleep(2 * time.Second)
		for dn, l := range lamps {
			require.Equal(t, "idle", l.shown(), dn)
			l.running(t)
		}
	})
}

// TestForgottenAtOnce shows that a PBX that forgets each subscription is not
// flooded: that is left to the back-off of the caller.
func TestForgottenAtOnce(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		l := r.watch("200")
		require.Equal(t, 200, r.endOf("200", "terminated;reason=deactivated"))
		err := l.result(t)
		var ended *dialoginfo.EndedError
		require.ErrorAs(t, err, &ended)
		require.Equal(t, "deactivated", ended.Reason)
		require.Equal(t, "idle unknown", l.shown())
		require.Len(t, r.seen(), 1)
	})
}

// TestTerminated shows what becomes of a subscription that the PBX ends after it
// has lasted (RFC 6665 §4.1.3).
func TestTerminated(t *testing.T) {
	for state, test := range map[string]struct {
		after time.Duration // of the next SUBSCRIBE; negative: MonitorLine returns
		shown string
	}{
		"terminated;reason=deactivated":              {0, "busy"},
		"terminated;reason=deactivated;retry-after=": {0, "busy"},
		"terminated;reason=timeout":                  {0, "busy"},
		"Terminated ; Reason=\"timeout\"":            {0, "busy"},
		"terminated":                                 {0, "busy"},
		"terminated;reason=vendor":                   {0, "busy"},
		"terminated;reason=probation":                {0, "busy"},
		"terminated;reason=probation;retry-after=60": {60 * time.Second, "unknown busy"},
		"terminated;reason=giveup;retry-after=10":    {10 * time.Second, "unknown busy"},
		"terminated;reason=rejected":                 {-1, "unknown"},
		"terminated;reason=noresource":               {-1, "unknown"},
		"terminated;reason=invariant;retry-after=5":  {-1, "unknown"},
	} {
		t.Run(state, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, r *rig) {
				r.state["200"] = full("confirmed")
				l := r.watch("200")
				time.Sleep(40 * time.Second)
				require.Equal(t, "busy", l.shown())
				first := r.seen()[0]
				ended := time.Now()
				require.Equal(t, 200, r.endOf("200", state))
				if test.after < 0 {
					require.ErrorContains(t, l.result(t), "ended the subscription")
					require.Equal(t, test.shown, l.shown())
					require.Empty(t, r.seen())
					return
				}
				time.Sleep(test.after + test.after/5 + time.Second)
				require.Equal(t, test.shown, l.shown())
				next := r.seen()
				require.Len(t, next, 1)
				require.NotEqual(t, first.CallID, next[0].CallID, "a new dialog")
				require.GreaterOrEqual(t, next[0].at.Sub(ended), test.after)
			})
		})
	}
}

// TestRefused shows the outcome of a first SUBSCRIBE that is refused.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		status int
		is     error
	}{
		{489, dialoginfo.ErrNoDialogPackage},
		{401, dialoginfo.ErrUnauthorized},
		{407, dialoginfo.ErrUnauthorized},
		{403, nil}, {404, nil}, {481, nil}, {423, nil}, {500, nil}, {503, nil}, {302, nil},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, r *rig) {
				r.play(status(test.status))
				l := r.watch("200")
				err := l.result(t)
				var failure *dialoginfo.StatusError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, test.status, failure.Status)
				if test.is != nil {
					require.ErrorIs(t, err, test.is)
				}
				require.NotErrorIs(t, err, dialoginfo.ErrNoNotify)
				require.Equal(t, "unknown", l.shown())
				require.Len(t, r.seen(), 1)
			})
		})
	}
}

// TestRefusedForGood shows that a device that the PBX does not let us watch rests
// for longer than any back-off (RFC 6665 §4.1.3), and no other does.
func TestRefusedForGood(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.play(status(489))
		require.ErrorIs(t, r.watch("200").result(t), dialoginfo.ErrNoDialogPackage)
		r.play(nil)
		require.Equal(t, "idle", r.watch("201").shown())
		r.seen()
		l := r.watch("200")
		for range 14 {
			time.Sleep(time.Minute)
			for _, req := range r.seen() {
				require.Equal(t, "201", req.To.URI.User)
			}
		}
		time.Sleep(time.Minute)
		require.Equal(t, "idle", l.shown())

		require.Equal(t, 200, r.endOf("200", "terminated;reason=rejected"))
		require.ErrorContains(t, l.result(t), "rejected")
		l = r.watch("200")
		require.Empty(t, l.shown())
		l.stop()
		require.NoError(t, l.result(t), "while it rests")
	})
}

func TestRetryAfter(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.play(status(503, field("Retry-After", "20 (restarting);duration=3")))
		l := r.watch("200")
		time.Sleep(19 * time.Second)
		require.Len(t, r.seen(), 1)
		r.play(nil)
		time.Sleep(5 * time.Second)
		require.Len(t, r.seen(), 1)
		require.Equal(t, "unknown idle", l.shown())
	})
}

func TestMinExpires(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.play(func(req *sipx.Request) *sipx.Response {
			if asked, _ := sipx.Seconds(req.Header.Get("Expires")); asked > 0 && asked < 600 {
				return sipx.NewResponse(423, field("Min-Expires", "600"))
			}
			return nil
		})
		l := r.watch("200")
		require.Equal(t, 600*time.Second, l.last(t).Lifetime)
		require.Len(t, r.seen(), 2)
		time.Sleep(481 * time.Second)
		refresh := r.seen()
		require.Len(t, refresh, 1, "it is remembered")
		r.play(status(423, field("Min-Expires", "99999999")))
		// The next refresh is due within 480 s of the last, when the dialog has at least
		// 120 s left: it lasts, so the refresh is tried again.
		time.Sleep(time.Until(refresh[0].at.Add(481 * time.Second)))
		require.NotEmpty(t, r.seen())
		l.running(t)
	})
}

// TestRetryAfterOnRefresh shows that a refresh waits as long as it is told to. A
// dialog that does not last so long is given up, and its state with it (BSX-2).
func TestRetryAfterOnRefresh(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		l := r.watch("200")
		r.seen()
		r.play(status(503, field("Retry-After", "40")))
		time.Sleep(241 * time.Second)
		first := r.seen()
		require.Len(t, first, 1)
		r.play(nil)
		time.Sleep(time.Until(first[0].at.Add(41 * time.Second)))
		second := r.seen()
		require.Len(t, second, 1)
		require.GreaterOrEqual(t, second[0].at.Sub(first[0].at), 40*time.Second)
		l.running(t)

		r.state["200"] = full("confirmed")
		require.Equal(t, 200, r.tell("200", full("confirmed")))
		require.Equal(t, "idle busy", l.shown())
		r.play(status(503, field("Retry-After", "600")))
		time.Sleep(241 * time.Second)
		third := r.seen()
		require.Len(t, third, 1)
		require.Equal(t, "unknown", l.shown())
		l.running(t) // who calls again would not wait
		r.play(nil)
		time.Sleep(time.Until(third[0].at.Add(600 * time.Second)))
		require.Empty(t, r.seen())
		time.Sleep(62 * time.Second)
		require.Len(t, r.seen(), 1)
		require.Equal(t, "busy", l.shown())
	})
}

// TestRefreshFails shows that a dialog is kept for as long as it lasts where a
// refresh fails for a reason that may pass (RFC 6665 §4.1.2.2).
func TestRefreshFails(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full("confirmed")
		l := r.watch("200")
		r.seen()
		r.play(status(500))
		time.Sleep(245 * time.Second)
		l.running(t)
		require.GreaterOrEqual(t, len(r.seen()), 2)
		r.play(nil)
		time.Sleep(40 * time.Second) // the pauses have grown
		require.Len(t, r.seen(), 1)
		require.Equal(t, 300*time.Second, l.last(t).Lifetime)
		require.Equal(t, "busy", l.shown())
		require.Equal(t, 200, r.tell("200", full()))

		r.network.Blackhole("192.0.2.1", true)
		gone := time.Now()
		for range 400 {
			time.Sleep(time.Second)
			if l.mu.Lock(); l.ended {
				l.mu.Unlock()
				break
			}
			l.mu.Unlock()
		}
		require.ErrorIs(t, l.result(t), sipx.ErrTimeout)
		require.Less(t, time.Since(gone), 340*time.Second)
		require.LessOrEqual(t, l.last(t).Lifetime, 300*time.Second)
	})
}

// TestGoneOnRefresh shows the answers that end a subscription.
func TestGoneOnRefresh(t *testing.T) {
	for _, code := range []int{404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, r *rig) {
				l := r.watch("200")
				r.play(func(req *sipx.Request) *sipx.Response {
					if req.To.Tag() != "" {
						return sipx.NewResponse(code)
					}
					return nil
				})
				r.seen()
				time.Sleep(241 * time.Second)
				requests := r.seen()
				require.Len(t, requests, 2)
				require.NotEqual(t, requests[0].CallID, requests[1].CallID)
				l.running(t)
				r.play(nil)
			})
		})
	}
}

func TestNoNotify(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.silent = true
		l := r.watch("200")
		time.Sleep(31 * time.Second)
		l.running(t)
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, l.result(t), dialoginfo.ErrNoNotify)
		requests := r.seen()
		require.Len(t, requests, 2)
		require.Equal(t, "0", requests[1].Header.Get("Expires"))
	})
}

func TestStackClosed(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		l := r.watch("200")
		require.NoError(t, r.own.Shutdown(t.Context()))
		time.Sleep(241 * time.Second)
		require.ErrorIs(t, l.result(t), sipx.ErrStackClosed)
	})
}

// guard makes the PBX ask for a password.
type guard struct {
	code   int
	old    bool // the next nonce is called stale
	refuse bool // whatever comes
	tried  int  // answers that it has seen
}

func (g *guard) check(req *sipx.Request) *sipx.Response {
	challenge, answer := "WWW-Authenticate", "Authorization"
	if g.code == 407 {
		challenge, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	stale := g.old
	if req.Header.Get(answer) != "" {
		g.tried++
		if g.old = false; !stale && !g.refuse {
			return nil
		}
	}
	return sipx.NewResponse(g.code, field(challenge, fmt.Sprintf(`Digest realm="pbx", nonce="%d", stale=%v`, g.tried, stale)))
}

func password(word string) func(*dialoginfo.Config) {
	return func(c *dialoginfo.Config) {
		c.Username, c.Password = "blf", auth.NewSecret([]byte(word))
	}
}

func TestDigest(t *testing.T) {
	for _, code := range []int{401, 407} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			run(t, setup{config: password("s3cret")}, func(t *testing.T, r *rig) {
				g := &guard{code: code}
				r.play(g.check)
				r.state["200"] = full("confirmed")
				l := r.watch("200")
				require.Equal(t, "busy", l.shown())
				require.Len(t, r.seen(), 2)
				r.set(func() { g.old = true })
				time.Sleep(241 * time.Second)
				require.Len(t, r.seen(), 3, "a nonce that was too old is not held against us")
				l.running(t)
				l.stop()
				require.NoError(t, l.result(t))
				end := r.seen()
				require.Len(t, end, 2, "the end is challenged too")
				require.Equal(t, "0", end[1].Header.Get("Expires"))
			})
		})
	}
}

// TestWrongPassword shows that credentials which the PBX refuses are tried once,
// and then not for a minute, whatever the device, so that the PBX need not lock
// us out.
func TestWrongPassword(t *testing.T) {
	run(t, setup{config: password("wrong-w0rd")}, func(t *testing.T, r *rig) {
		g := &guard{code: 401, refuse: true}
		r.play(g.check)
		err := r.watch("200").result(t)
		require.ErrorIs(t, err, dialoginfo.ErrUnauthorized)
		require.NotContains(t, fmt.Sprintf("%v %+v", err, r.monitor), "wrong-w0rd")
		require.Equal(t, 1, g.tried)
		require.ErrorIs(t, r.watch("201").result(t), dialoginfo.ErrUnauthorized)
		require.Equal(t, 1, g.tried)
		time.Sleep(61 * time.Second)
		require.ErrorIs(t, r.watch("200").result(t), dialoginfo.ErrUnauthorized)
		require.Equal(t, 2, g.tried)
	})
}

// TestEndOfContext shows that MonitorLine returns at once whatever it is doing.
func TestEndOfContext(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.network.Blackhole("192.0.2.1", true)
		l := r.watch("200")
		l.stop()
		require.NoError(t, l.result(t), "while a SUBSCRIBE is under way")
		r.network.Blackhole("192.0.2.1", false)

		r.play(status(503, field("Retry-After", "100")))
		l = r.watch("200")
		l.running(t)
		l.stop()
		require.NoError(t, l.result(t), "while waiting")
		r.play(nil)

		r.network.Blackhole("192.0.2.1", false)
		l = r.watch("201")
		time.Sleep(100 * time.Second)
		r.network.Blackhole("192.0.2.1", true)
		time.Sleep(141 * time.Second)
		l.stop()
		require.NoError(t, l.result(t), "while a refresh is under way")
		time.Sleep(6 * time.Second)
		r.network.Blackhole("192.0.2.1", false)
	})
}

// TestCSeqRestart shows that a PBX whose NOTIFYs cannot be taken any more, as its CSeq
// starts anew in the dialog, does not keep a lamp lit: its state is not prolonged, and a
// new dialog brings the true one (BSX-2, RFC 3261 §12.2.2, RFC 6665 §4.1.2).
func TestCSeqRestart(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*subscriber) // of the dialog at the PBX
		status int               // how its NOTIFYs are answered from then on
		told   bool              // it tells that the device is idle
	}{
		"and a NOTIFY that says so":      {func(d *subscriber) { d.seq = 0 }, 500, true},
		"and nothing but refreshes":      {func(d *subscriber) { d.seq = 0 }, 500, false},
		"just below":                     {func(d *subscriber) { d.seq -= 2 }, 500, true},
		"repeated once":                  {func(d *subscriber) { d.seq-- }, 200, true},
		"the same number ever again":     {func(d *subscriber) { d.seq-- }, 200, true},
		"with another tag":               {func(d *subscriber) { d.tag = "other" }, 481, true},
		"with another tag, and silently": {func(d *subscriber) { d.tag, d.seq = "other", 0 }, 481, false},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, setup{}, func(t *testing.T, r *rig) {
				r.state["200"] = full("confirmed")
				l := r.watch("200")
				for range 50 {
					require.Equal(t, 200, r.tell("200", full("confirmed")))
				}
				time.Sleep(40 * time.Second)
				require.Equal(t, "busy", l.shown())
				first := r.seen()[0].CallID

				r.set(func() {
					test.change(r.dialogs[r.callID("200")])
					r.state["200"] = full()
				})
				if name == "the same number ever again" {
					r.play(func(req *sipx.Request) *sipx.Response {
						r.set(func() {
							if d := r.dialogs[req.CallID]; d != nil {
								d.seq = 50
							}
						})
						return nil
					})
				}
				started := time.Now()
				if test.told {
					require.Equal(t, test.status, r.tell("200", full()))
				}
				for l.shown() != "idle" {
					require.Less(t, time.Since(started), 300*time.Second, "within one refresh interval")
					time.Sleep(time.Second)
				}
				l.running(t)
				requests := r.seen()
				require.LessOrEqual(t, len(requests), 4, "and no storm")
				require.Equal(t, name == "repeated once", first == requests[len(requests)-1].CallID, "a new dialog, where the old one does not heal")
				r.play(nil)

				time.Sleep(time.Hour)
				for _, req := range r.seen() {
					require.Equal(t, requests[len(requests)-1].CallID, req.CallID, "which lasts")
				}
			})
		})
	}
}

// TestOvertaken shows that a NOTIFY which was overtaken by a newer one costs a refresh
// and nothing else.
func TestOvertaken(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full("confirmed")
		l := r.watch("200")
		time.Sleep(10 * time.Second)
		r.seen()
		r.mu.Lock()
		id := r.callID("200")
		r.mu.Unlock()
		older := r.build(id, "active;expires=100", "")
		require.Equal(t, 200, r.tell("200", full("confirmed")))
		require.Equal(t, 500, r.send(older))
		time.Sleep(time.Minute)
		requests := r.seen()
		require.Len(t, requests, 1)
		require.Equal(t, id, requests[0].CallID)
		require.Equal(t, "busy", l.shown())
	})
}
