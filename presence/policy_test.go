package presence_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
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
// policies, dialects, lists, refreshes, changes of the user and changes of policy; and
// each is shown what it may see.
func TestViews(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		actions := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 12).Draw(rt, "actions")
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
			subs := map[string]*sub{}
			for i, action := range append([]int{0, 1, 2}, actions...) {
				watcher := []string{"ann", "bob", "eve"}[next(3)]
				sight := consolidation.Sight(next(int(consolidation.SightBlocked) + 1))
				switch s := subs[watcher]; {
				case action == 0:
					require.NoError(t, feed.SetLine(t.Context(), "2719", presence.LineState{State: aa.LineIdle, Forward: wordForward + fmt.Sprint(i)}))
				case action == 1:
					require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "available", wordNote+fmt.Sprint(i)).Status)
				case action == 2:
					policy.set(watcher, "tom", sight)
					w.server.ApplyPolicy(t.Context())
				case s != nil:
					require.Equal(t, 200, s.refresh().Status)
				default:
					e := w.standard(watcher, "192.0.2.30")
					if next(2) == 0 {
						e = w.client(watcher, "192.0.2.30")
					}
					if next(2) == 0 {
						subs[watcher], _ = e.list("sip:tom@example.com", "sip:bob@example.com")
					} else {
						subs[watcher], _ = e.subscribe("sip:tom@example.com")
					}
				}
				sent := w.net.take()
				for who, s := range subs {
					policy.mu.Lock()
					sight := policy.sight["sip:"+who+"@example.com tom"]
					policy.mu.Unlock()
					for _, n := range s.of(sent) {
						for _, word := range excluded(sight) {
							require.NotContains(t, string(n.Body), word, "%s sees %d", who, sight)
						}
					}
				}
				time.Sleep(time.Second)
			}
		})
	})
}

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
