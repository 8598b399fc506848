package presence_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// BSP-2.5-2: where only the tuples of a Standard publication change, only those
// whose documents show them are notified.
func TestUnchangedForOneDialect(t *testing.T) {
	w := newWorld(t)
	blu, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	rfc, _ := w.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
	desk := w.standard("tom", "192.0.2.8")
	body := pidfBody("open", "", "")
	tag := etag(desk.publish("", body))
	w.net.take()
	tag = etag(desk.publish(tag, strings.Replace(body, "0.8", "0.5", 1)))
	sent := w.net.take()
	n := rfc.of(sent)[0]
	require.Empty(t, blu.of(sent))

	// Tuples keep their IDs whatever other publications come and go.
	other := w.client("tom", "192.0.2.10")
	first := other.status("", "available", "")
	require.Equal(t, 200, desk.publish(tag, strings.Replace(body, "0.8", "0.5", 1)).Status)
	require.Empty(t, rfc.of(w.net.take()))
	other.status(etag(first), "busy", "")
	require.Equal(t, n.doc(t).Tuples[4].ID, rfc.one().doc(t).Tuples[4].ID)
}

// BSP-2.5-2, BSP-3.2-6: the subject of a private appointment is no change to
// those who do not see it.
func TestUnchangedForOthers(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	from := time.Now()
	for i, subject := range []string{"one", "two"} {
		require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{
			{ID: "1", State: aa.CalendarBusy, Subject: subject, Private: true, From: from, End: from.Add(time.Hour)},
		}}))
		require.Len(t, watcher.of(w.net.take()), 2-2*i)
	}
}

// BSP-2.5-2, BSP-3.2-7: a status that BluStar watchers are shown as busy, like the
// one before, is no change to them.
func TestUnchangedBusy(t *testing.T) {
	w := newWorld(t)
	blu, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	rfc, _ := w.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
	desk := w.standard("tom", "192.0.2.8")
	tag := etag(desk.publish("", pidfBody("open", "<rpid:busy/>", "x")))
	w.standard("tom", "192.0.2.10").publish("", pidfBody("open", "<rpid:away/>", "x"))
	w.net.take()
	require.Equal(t, 200, desk.publish(tag, "", "Expires: 0").Status)
	sent := w.net.take()
	require.Equal(t, "away", rfc.of(sent)[0].shown(t).activity)
	require.Empty(t, blu.of(sent))
}

// BSX-4: a client of an address that has no entry leaves nothing behind.
func TestNobodyLeavesNothing(t *testing.T) {
	w := newWorld(t)
	s, _ := w.client("nobody", "192.0.2.7").subscribe("sip:nobody@example.com")
	require.Equal(t, 1, w.server.Stats().Pending)
	require.Zero(t, w.server.Stats().Clients, "it is no user's")
	require.Equal(t, 200, s.end().Status)
	require.Equal(t, presence.Stats{}, w.server.Stats())
}

// A PUBLISH that newer ones of its client have overtaken is refused, however many
// of them come late.
func TestPublishOvertaken(t *testing.T) {
	w := newWorld(t)
	tom := w.client("tom", "192.0.2.8")
	tag := etag(tom.status("", "available", ""))
	for _, cseq := range []int{7, 5, 6} {
		req := tom.request("PUBLISH", "sip:192.0.2.1:5060", "<"+tom.from+">", "same", cseq, bluStarBody("busy", strings.Repeat("x", cseq)),
			"Expires: 3600", "Event: presence", "Content-Type: application/pidf+xml", "SIP-If-Match: "+tag)
		require.Equal(t, map[bool]int{true: 200, false: 500}[cseq == 7], w.send(req).Status)
	}
	view, err := w.server.Presence(t.Context(), "sip:tom@example.com")
	require.NoError(t, err)
	require.Equal(t, "xxxxxxx", view.Result.Note)
}

// RFC 4662 §5.2, BSX-3: what a list was told in a NOTIFY that was refused is told
// again, and only that; a list that was refused is listed again.
func TestListTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.hold()
		s, _ := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", resourceLists("sip:tom@example.com", "sip:bob@example.com"),
			"Expires: 300", "Supported: eventlist", "Content-Type: application/resource-lists+xml")
		list := func(n *notify) *related.Message {
			r, err := related.Decode(pidf.Decoder{}, n.Header.Get("Content-Type"), n.Body)
			require.NoError(t, err)
			return r
		}
		s.one().fail(500)
		tag := etag(w.client("tom", "192.0.2.8").status("", "busy", ""))
		require.Empty(t, w.net.take())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		n := s.one()
		require.True(t, list(n).List.FullState)
		require.Len(t, list(n).Parts, 2)
		n.ok()
		w.client("tom", "192.0.2.8").status(tag, "available", "")
		s.one().fail(500)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		n = s.one()
		require.False(t, list(n).List.FullState)
		require.Contains(t, string(list(n).Parts[0].Body), "tom")
		require.Len(t, list(n).Parts, 1)
		n.ok()
		time.Sleep(time.Minute)
		require.Empty(t, w.net.take())

		require.Equal(t, 200, s.refresh().Status)
		n = s.one()
		require.Len(t, list(n).Parts, 2, "a refresh shows all at once")
		n.done.HandleResponse(n.Request, sipx.NewResponse(200), nil)
		require.Empty(t, w.net.take())
	})
}
