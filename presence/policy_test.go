package presence_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/sipx"
)

// views is a policy by watcher and user that a test changes.
type views struct {
	mu    sync.Mutex
	sight map[string]consolidation.Sight // by address and ID
}

func (v *views) Sight(_ context.Context, w presence.Watcher, whom directory.Entry) (consolidation.Sight, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sight[w.Address+" "+whom.ID], nil
}

func (v *views) set(watcher, user string, s consolidation.Sight) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sight["sip:"+watcher+"@example.com "+user] = s
}

// Words that only some views may show. Each is in what one source says of tom.
const (
	wordPrivate = "CANARYPRIVATE" // subject of a private appointment
	wordSubject = "CANARYSUBJECT" // subject of another
	wordForward = "CANARYFORWARD" // destination of his line
	wordNote    = "CANARYNOTE"    // what he wrote
)

// excluded are the words that a view must not show.
func excluded(s consolidation.Sight) []string {
	switch s {
	case consolidation.SightOwn:
		return nil
	case consolidation.SightOthers:
		return []string{wordPrivate}
	case consolidation.SightNoDetails:
		return []string{wordPrivate, wordSubject}
	case consolidation.SightNoLines:
		return []string{wordPrivate, wordForward}
	}
	return []string{wordPrivate, wordSubject, wordForward, wordNote}
}

// BSX-16: no watcher ever receives a byte that its view excludes, over random
// policies, dialects, lists of both dialects (of them RLMI), refreshes, changes of the
// user and changes of policy; and watcher information tells of watchers alone.
func TestViews(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		actions := rapid.SliceOfN(rapid.IntRange(0, 6), 12, 36).Draw(rt, "actions")
		pick := rapid.SliceOfN(rapid.IntRange(0, 999), 64, 64).Draw(rt, "choices")
		next := func(n int) int { c := pick[0]; pick = append(pick[1:], c/7+1); return c % n }
		bubble(t, func(t *testing.T) {
			policy := &views{sight: map[string]consolidation.Sight{}}
			w := newWorld(t, func(c *presence.Config) { c.Policy = policy })
			now := time.Now()
			feed := w.server.Feed()
			require.NoError(t, feed.SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{
				{ID: "1", State: "busy", Subject: wordPrivate, Private: true, From: now.Add(-time.Hour), End: now.Add(9 * time.Hour)},
				{ID: "2", State: "busy", Subject: wordSubject, From: now.Add(-time.Hour), End: now.Add(9 * time.Hour)},
			}}))
			subs, last, saw := map[string]*sub{}, map[string]map[string]string{}, map[string]consolidation.Sight{}
			asked := "" // who is shown everything again in this step
			info, res := w.standard("tom", "192.0.2.8").winfo("sip:tom@example.com")
			require.Equal(t, 200, res.Status)
			// No view shows that something has changed which it does not show: neither by a
			// NOTIFY that nobody asked for, nor by a time in one.
			check := func() {
				sent := w.net.take()
				for _, n := range info.of(sent) {
					require.Equal(t, "application/watcherinfo+xml", n.Header.Get("Content-Type"))
					for _, word := range excluded(consolidation.SightBlocked) {
						require.NotContains(t, string(n.Body), word)
					}
				}
				for who, s := range subs {
					policy.mu.Lock()
					sight := policy.sight["sip:"+who+"@example.com tom"]
					policy.mu.Unlock()
					for _, n := range s.of(sent) {
						for _, word := range excluded(sight) {
							require.NotContains(t, string(n.Body), word, "%s sees %d", who, sight)
						}
						for entity, doc := range bodiesOf(t, n) {
							before, known := last[who][entity]
							if known && who != asked {
								require.NotEqual(t, timeless(before), timeless(doc), "%s sees %d", who, sight)
							}
							if known && sight >= consolidation.SightBusyOrNot && timeless(before) == timeless(doc) && saw[who] == sight {
								require.Equal(t, before, doc, "%s sees %d", who, sight)
							}
							last[who][entity] = doc
						}
						saw[who] = sight
					}
				}
			}
			for i, action := range append([]int{0, 1, 2}, actions...) {
				watcher := []string{"ann", "bob", "eve"}[next(3)]
				sight := consolidation.Sight(next(int(consolidation.SightBlocked) + 1))
				asked = ""
				switch s := subs[watcher]; {
				case action == 0:
					require.NoError(t, feed.SetLine(t.Context(), "2719", presence.LineState{
						State: []aa.LineState{aa.LineIdle, aa.LineBusy}[next(2)], Forward: wordForward + fmt.Sprint(i)}))
				case action == 1:
					status := []string{"available", "available", "busy", "away", string(aa.StatusDoNotDisturb)}[next(5)]
					require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", status, []string{"", wordNote + fmt.Sprint(i)}[next(2)]).Status)
				case action == 2 && next(2) == 0:
					body := pidfBody("open", "<rpid:meeting/>", wordNote+fmt.Sprint(i))
					require.Equal(t, 200, w.standard("tom", "192.0.2.9").publish("", body).Status)
				case action == 2:
					asked = watcher
					policy.set(watcher, "tom", sight)
					w.server.ApplyPolicy(t.Context())
				case s != nil:
					asked = watcher
					require.Equal(t, 200, s.refresh().Status)
				default:
					asked, last[watcher] = watcher, map[string]string{}
					e := w.standard(watcher, "192.0.2.30")
					if next(2) == 0 {
						e = w.client(watcher, "192.0.2.30")
					}
					switch next(3) {
					case 0:
						subs[watcher], _ = e.list("sip:tom@example.com", "sip:bob@example.com")
					case 1:
						subs[watcher], _ = e.eventList("sip:tom@example.com", "sip:bob@example.com")
					default:
						subs[watcher], _ = e.subscribe("sip:tom@example.com")
					}
				}
				check()
				time.Sleep(6 * time.Second)
				check() // lists that waited
			}
		})
	})
}

// bodiesOf are the documents in a NOTIFY, by entity.
func bodiesOf(t require.TestingT, n *notify) map[string]string {
	shown := map[string]string{}
	if strings.HasPrefix(n.Header.Get("Content-Type"), "application/pidf+xml") {
		shown[n.doc(t).Entity] = string(n.Body)
		return shown
	}
	message, err := related.Decode(pidf.Decoder{}, n.Header.Get("Content-Type"), n.Body)
	require.NoError(t, err)
	for _, r := range message.List.Resources {
		for _, i := range r.Instances {
			part, ok := message.Part(i.CID)
			require.True(t, ok)
			shown[r.URI] = string(part.Body)
		}
	}
	return shown
}

// timeless is a document without its times.
func timeless(doc string) string { return times.ReplaceAllString(doc, "") }

var times = regexp.MustCompile(`[0-9]{4}-[0-9-]+T[0-9:.]+Z`)

// BSX-16: a change of policy takes effect on who watches, and each view shows what it
// may.
func TestApplyPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		policy := &views{sight: map[string]consolidation.Sight{}}
		w := newWorld(t, func(c *presence.Config) { c.Policy = policy })
		require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote).Status)
		watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Contains(t, string(watcher.one().Body), wordNote)
		policy.set("ann", "tom", consolidation.SightBusyOrNot)
		w.server.ApplyPolicy(t.Context())
		n := watcher.one()
		require.NotContains(t, string(n.Body), wordNote)
		require.Equal(t, "other:available", n.shown(t).activity)
		policy.set("ann", "tom", consolidation.SightRefused)
		w.server.ApplyPolicy(t.Context())
		require.Contains(t, watcher.one().state(), "terminated;reason=rejected")
		_, res := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 403, res.Status)
	})
}

// eventList opens a list subscription of RFC 4662.
func (e *endpoint) eventList(uris ...string) (*sub, *sipx.Response) {
	return e.open("sip:rls@example.com", resourceLists(uris...),
		"Expires: 300", "Supported: eventlist", "Content-Type: application/resource-lists+xml")
}

// BSX-16: each resource of an event list is shown in its watcher's view of it, and a
// change of policy sends that resource alone. Nobody may see another's watchers, not
// even who may see everything else.
func TestViewsInLists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		policy := &views{sight: map[string]consolidation.Sight{}}
		w := newWorld(t, func(c *presence.Config) { c.Policy = policy })
		require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote).Status)
		require.Equal(t, 200, w.client("ann", "192.0.2.9").status("", "available", wordNote+"2").Status)
		policy.set("bob", "tom", consolidation.SightBusyOrNot)
		policy.set("eve", "tom", consolidation.SightOwn)
		policy.set("eve", "ann", consolidation.SightRefused)
		notes := func(n *notify) map[string]string {
			shown := map[string]string{}
			_, docs := listOf(t, n)
			for _, doc := range docs {
				shown[doc.Entity] = shownOf(doc).note
			}
			return shown
		}
		bob, _ := w.standard("bob", "192.0.2.30").eventList("sip:tom@example.com", "sip:ann@example.com")
		eve, _ := w.standard("eve", "192.0.2.31").eventList("sip:tom@example.com", "sip:ann@example.com")
		sent := w.net.take()
		require.Equal(t, map[string]string{"sip:tom@example.com": "Available", "sip:ann@example.com": wordNote + "2"}, notes(bob.of(sent)[0]))
		require.Equal(t, map[string]string{"sip:tom@example.com": wordNote, "sip:ann@example.com": ""}, notes(eve.of(sent)[0]))

		time.Sleep(time.Minute)
		policy.set("bob", "tom", consolidation.SightOthers)
		w.server.ApplyPolicy(t.Context())
		sent = w.net.take()
		require.Empty(t, eve.of(sent))
		require.Equal(t, map[string]string{"sip:tom@example.com": wordNote}, notes(bob.of(sent)[0]))

		_, res := w.standard("eve", "192.0.2.31").winfo("sip:tom@example.com")
		require.Equal(t, 403, res.Status)
	})
}

// judge is a policy that a test makes of a function.
type judge func(w presence.Watcher, whom directory.Entry) consolidation.Sight

func (f judge) Sight(_ context.Context, w presence.Watcher, whom directory.Entry) (consolidation.Sight, error) {
	return f(w, whom), nil
}

// BSX-16: the policy is told what the directory says of the watcher, as far as that is
// the watcher; a refresh asks it again; and while the directory cannot tell who the
// watcher is, nothing is shown, and what was shown goes on.
func TestPolicyByEntry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		entries := slices.Clone(users)
		entries[1].Groups = []string{"Actors"}
		var asks error // what the directory says of bob, if anything
		guard := &gate{}
		w := newWorld(t, func(c *presence.Config) {
			c.Guard = guard
			c.Directory = directory.Func(func(_ context.Context, a directory.Address) (directory.Entry, error) {
				for _, e := range entries {
					if slices.Contains(e.SIP, a.Value) && (e.ID != "bob" || asks == nil) {
						return e, nil
					}
				}
				return directory.Entry{}, cmp.Or(asks, directory.ErrNotFound)
			})
			c.Policy = judge(func(w presence.Watcher, _ directory.Entry) consolidation.Sight {
				switch {
				case w.Entry == nil:
					return consolidation.SightRefused
				case slices.Contains(w.Entry.Groups, "Actors"):
					return consolidation.SightOthers
				}
				return consolidation.SightBusyOrNot
			})
		})
		guard.decision = as(`DE\tom`)
		require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote).Status)
		subscribe := func(user, account string) (*sub, *sipx.Response) {
			guard.decision = as(account)
			return w.standard(user, "192.0.2.30").subscribe("sip:tom@example.com")
		}
		refresh := func(s *sub, account string) int {
			guard.decision = as(account)
			return s.refresh().Status
		}
		ann, _ := subscribe("ann", `DE\ann`)
		require.Contains(t, string(ann.one().Body), wordNote)
		bob, _ := subscribe("bob", `DE\bob`)
		require.NotContains(t, string(bob.one().Body), wordNote)
		_, res := subscribe("nobody", `DE\ann`)
		require.Equal(t, 403, res.Status, "there is no such entry")

		// Who changes groups sees so from the next refresh on.
		entries[1].Groups, entries[2].Groups = nil, []string{"Actors"}
		require.Equal(t, 200, refresh(ann, `DE\ann`))
		require.NotContains(t, string(ann.one().Body), wordNote)
		require.Equal(t, 200, refresh(bob, `DE\bob`))
		require.Contains(t, string(bob.one().Body), wordNote)

		asks = errors.New("the directory is down")
		require.Equal(t, 200, refresh(bob, `DE\bob`))
		require.Contains(t, string(bob.one().Body), wordNote, "as before")
		other, _ := subscribe("bob", `DE\bob`)
		require.Equal(t, "other:unknown", other.one().shown(t).activity)
		w.server.ApplyPolicy(t.Context())
		require.Equal(t, "other:unknown", bob.one().shown(t).activity)

		asks = directory.ErrNotFound
		require.Equal(t, 403, refresh(bob, `DE\bob`))
		require.Contains(t, bob.one().state(), "terminated;reason=rejected")
	})
}

// BSX-16: who writes an address into From that the directory does not have is known by the
// account: a policy that names addresses or groups meets them, in both dialects, at each
// refresh and when it changes. A printed client, which does so, sees what it may (BSP-4.1-1).
func TestPolicyByAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		guard, denied := &gate{}, "ann@example.com"
		w := newWorld(t, func(c *presence.Config) {
			c.Guard = guard
			c.Policy = judge(func(w presence.Watcher, _ directory.Entry) consolidation.Sight {
				if w.Entry != nil && slices.Contains(w.Entry.SIP, denied) {
					return consolidation.SightRefused
				}
				return consolidation.SightOthers
			})
		})
		guard.decision = as(`DE\tom`)
		require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote).Status)
		for _, account := range []string{`de\ann`, `DE\ANN`} {
			guard.decision = as(account)
			for _, from := range []string{"ann", "nobody", "99999"} {
				_, res := w.client(from, "192.0.2.30").subscribe("sip:tom@example.com")
				require.Equal(t, 403, res.Status, "%s as %s", account, from)
				_, res = w.standard(from, "192.0.2.31").subscribe("sip:tom@example.com")
				require.Equal(t, 403, res.Status, "%s as %s", account, from)
			}
		}
		guard.decision = as(`de\bob`)
		bob, _ := w.client("99999", "192.0.2.32").subscribe("sip:tom@example.com")
		require.Contains(t, string(bob.one().Body), wordNote)
		second, _ := w.standard("99999", "192.0.2.33").subscribe("sip:tom@example.com")
		require.Contains(t, string(second.one().Body), wordNote)
		guard.decision = as(`DE\unlisted`) // an account without an entry
		_, res := w.client("99998", "192.0.2.34").subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		denied = "bob@example.com"
		guard.decision = as(`DE\bob`)
		require.Equal(t, 403, second.refresh().Status)
		w.server.ApplyPolicy(t.Context())
		require.Contains(t, bob.one().state(), "terminated;reason=rejected")
	})
}

// BSX-16: the last NOTIFY of who is refused tells nothing that the watcher has not seen.
func TestRefusedSeesNothingNewer(t *testing.T) {
	for name, watcher := range map[string]func(*world) *endpoint{
		"BluStar":  func(w *world) *endpoint { return w.client("ann", "192.0.2.30") },
		"Standard": func(w *world) *endpoint { return w.standard("ann", "192.0.2.30") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				policy := &views{sight: map[string]consolidation.Sight{}}
				w := newWorld(t, func(c *presence.Config) { c.Policy = policy })
				tom := w.client("tom", "192.0.2.8")
				require.Equal(t, 200, tom.status("", "available", "before").Status)
				ann, _ := watcher(w).subscribe("sip:tom@example.com")
				require.Contains(t, string(ann.one().Body), "before")
				// Its NOTIFY gets no answer, so that the next one waits.
				w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, nil })
				require.Equal(t, 200, tom.status("", "busy", "first").Status)
				held := ann.one()
				require.Equal(t, 200, tom.status("", "busy", wordNote).Status)
				policy.set("ann", "tom", consolidation.SightRefused)
				w.server.ApplyPolicy(t.Context())
				w.net.answering(nil)
				held.done.HandleResponse(held.Request, sipx.NewResponse(200), nil)
				last := ann.one()
				require.Contains(t, last.state(), "terminated;reason=rejected")
				require.NotContains(t, string(last.Body), wordNote)
			})
		})
	}
}

// BSP-3.2-6: who is not the user any more, because the entry has another account now, does
// not see what is the user's own from the next refresh on, without a policy too.
func TestOwnSightEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		entries := slices.Clone(users)
		guard := &gate{decision: as(`de\tom`)}
		w := newWorld(t, func(c *presence.Config) {
			c.Guard = guard
			c.Directory = directory.Func(func(_ context.Context, a directory.Address) (directory.Entry, error) {
				for _, e := range entries {
					if slices.Contains(e.SIP, a.Value) {
						return e, nil
					}
				}
				return directory.Entry{}, directory.ErrNotFound
			})
		})
		now := time.Now()
		require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{
			{ID: "1", State: "busy", Subject: wordPrivate, Private: true, From: now.Add(-time.Hour), End: now.Add(9 * time.Hour)}}}))
		for _, e := range []*endpoint{w.client("99999", "192.0.2.30"), w.standard("99999", "192.0.2.31")} {
			entries[0].Account = `DE\tom`
			s, _ := e.subscribe("sip:tom@example.com")
			require.Contains(t, string(s.one().Body), wordPrivate)
			entries[0].Account = `DE\successor`
			_, res := w.standard("99998", "192.0.2.32").subscribe("sip:tom@example.com") // somebody's look-up finds out
			require.Equal(t, 200, res.Status)
			require.Equal(t, 200, s.refresh().Status)
			require.NotContains(t, string(s.one().Body), wordPrivate)
		}
	})
}

// BSP-3.2-6: an account that is spelled like the ID of another's entry is not that other,
// and who is known by an ID alone is not the account of that name.
func TestAccountSpelledLikeAnID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		guard := &gate{}
		w := newWorld(t, func(c *presence.Config) { c.Guard = guard })
		now := time.Now()
		require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{
			{ID: "1", State: "busy", Subject: wordPrivate, Private: true, From: now.Add(-time.Hour), End: now.Add(time.Hour)}}}))
		for _, c := range []struct {
			id  auth.Identity
			own bool
		}{
			{auth.Identity{Account: "tom"}, false},
			{auth.Identity{Account: `de\tom`}, true},
			{auth.Identity{ID: "TOM"}, true},
			{auth.Identity{ID: `de\tom`}, false},
			{auth.Identity{ID: "id:tom"}, false},
		} {
			guard.decision = auth.Decision{Verdict: auth.Accept, Identity: c.id}
			for _, e := range []*endpoint{w.client("99999", "192.0.2.30"), w.standard("99999", "192.0.2.31")} {
				s, res := e.subscribe("sip:tom@example.com")
				require.Equal(t, 200, res.Status)
				require.Equal(t, c.own, strings.Contains(string(s.one().Body), wordPrivate), c.id)
				w.server.ApplyPolicy(t.Context())
				require.Equal(t, 200, s.refresh().Status)
				for _, n := range s.of(w.net.take()) {
					require.Equal(t, c.own, strings.Contains(string(n.Body), wordPrivate), c.id)
				}
				require.Equal(t, 200, s.end().Status)
			}
		}
	})
}

// BSX-16: who is blocked sees the same document whatever the user does, and that of an address
// that nobody has.
func TestBlockedTellsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *presence.Config) {
			c.Policy = judge(func(w presence.Watcher, _ directory.Entry) consolidation.Sight {
				if w.Address == "sip:ann@example.com" {
					return consolidation.SightBlocked
				}
				return consolidation.SightOthers
			})
		})
		for _, e := range []*endpoint{w.client("ann", "192.0.2.30"), w.standard("ann", "192.0.2.31")} {
			fetch := func(user string) string {
				s, _ := e.subscribe("sip:"+user+"@example.com", "Expires: 0")
				return strings.ReplaceAll(string(s.one().Body), user+"@", "USER@")
			}
			before := fetch("tom")
			require.NotEmpty(t, before)
			time.Sleep(time.Minute)
			require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote).Status)
			require.Equal(t, before, fetch("tom"), "it does not tell that something has changed")
			require.Equal(t, before, fetch("nobody"), "nor whether there is such a user")
		}
	})
}

// BSX-16: who sees whether a user is busy sees not even that something else has changed:
// of two documents the bytes are the same.
func TestBusyOrNotTellsNoMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *presence.Config) {
			c.Policy = judge(func(presence.Watcher, directory.Entry) consolidation.Sight { return consolidation.SightBusyOrNot })
		})
		tom := w.client("tom", "192.0.2.8")
		require.Equal(t, 200, tom.status("", "available", "").Status)
		for _, e := range []*endpoint{w.client("ann", "192.0.2.30"), w.standard("ann", "192.0.2.31")} {
			fetch := func() string {
				s, _ := e.subscribe("sip:tom@example.com", "Expires: 0")
				return string(s.one().Body)
			}
			before := fetch()
			for i := range 3 {
				time.Sleep(time.Minute)
				require.Equal(t, 200, tom.status("", "available", fmt.Sprint(wordNote, i)).Status)
				require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineIdle, Forward: fmt.Sprint(wordForward, i)}))
				require.Equal(t, before, fetch())
			}
			require.Equal(t, 200, tom.status("", "busy", "").Status)
			require.NotEqual(t, before, fetch())
			require.Equal(t, 200, tom.status("", "available", "").Status)
		}
	})
}

// A change of policy while somebody begins to watch is not missed.
func TestPolicyChangesMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var w *world
		sight := consolidation.SightOthers
		w = newWorld(t, func(c *presence.Config) {
			c.Policy = judge(func(presence.Watcher, directory.Entry) consolidation.Sight {
				defer func() {
					if sight == consolidation.SightOthers {
						sight = consolidation.SightBusyOrNot
						w.server.ApplyPolicy(t.Context())
					}
				}()
				return sight
			})
		})
		require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote).Status)
		ann, _ := w.standard("ann", "192.0.2.30").subscribe("sip:tom@example.com")
		require.NotContains(t, string(ann.one().Body), wordNote)
	})
}

// BSX-6, RFC 4480 §3: activities with from and until come and go by themselves, and
// watchers of the RFCs see them as they were published.
func TestTimedActivities(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		now := time.Now().UTC()
		at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
		body := strings.Replace(pidfBody("open", "<rpid:holiday/>", ""), "<rpid:activities>",
			`<rpid:activities from="`+at(time.Minute)+`" until="`+at(2*time.Minute)+`">`, 1)
		require.Equal(t, 200, w.standard("tom", "192.0.2.8").publish("", body).Status)
		watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, "other:available", watcher.one().shown(t).activity)
		time.Sleep(time.Minute)
		require.Equal(t, "holiday", watcher.one().shown(t).activity)
		time.Sleep(time.Minute)
		require.Equal(t, "other:available", watcher.one().shown(t).activity)
	})
}
