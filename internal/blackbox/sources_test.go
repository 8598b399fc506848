package blackbox_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func stamp(d time.Duration) string {
	return time.Now().Add(d).UTC().Format(time.RFC3339)
}

// appointments is the body of PUT /v1/calendars.
func appointment(id, state, from, end string, more ...string) string {
	return fmt.Sprintf(`{"id":%q,"state":%q,"subject":"Merger","location":"Room 7","from":%q,"end":%q%s}`,
		id, state, from, end, strings.Join(more, ""))
}

// Line states, with several lines and a forward (BSP-2.5-1, BSP-3.1-1).
func TestLines_BSP_2_5_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(joe)
	require.Len(t, watcher.doc().Devices, 2)
	s.line("2001", "idle")
	require.Equal(t, "signed out", watcher.doc().status(), "an idle line says nothing (BSP-3.2-3)")
	s.line("2001", "ringing")
	require.Equal(t, "signed out", watcher.doc().status())
	s.line("2002", "busy")
	doc := watcher.doc()
	require.Equal(t, "busy", doc.status())
	require.Equal(t, "In a call", doc.note())
	require.Equal(t, "ringing", doc.line("2001"))
	require.Contains(t, doc.raw, "<rpid:busy")
	s.put("/v1/lines/2002", `{"state":"idle","forward":"6894"}`)
	doc = watcher.doc()
	require.Equal(t, "signed out", doc.status())
	for _, device := range doc.Devices {
		require.Equal(t, device.Line.DN == "2002", device.Line.Forward != nil)
		if device.Line.Forward != nil {
			require.Equal(t, "immediate", device.Line.Forward.Type)
			require.Equal(t, "6894", device.Line.Forward.To)
		}
		require.WithinDuration(t, time.Now(), device.Timestamp, time.Minute)
	}
	// The same again is no change (BSP-2.5-2); the next one is.
	s.put("/v1/lines/2002", `{"state":"idle","forward":"6894"}`)
	s.put("/v1/lines/2002", `{"state":"idle"}`)
	doc = watcher.doc()
	require.NotContains(t, doc.raw, "aa:forward")
}

// Line states that nobody watches are kept (server.md), and a stopped watch
// starts again (BSP-2.1-6).
func TestKeptWithoutWatcher(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.line("2719", "busy")
	s.put("/v1/calendars/bill@example.com", "["+appointment("1", "busy", stamp(-time.Hour), stamp(time.Hour))+"]")
	s.put("/v1/external/tel:2001", `{"status":"do not disturb"}`)
	require.Equal(t, "busy", s.status(tom))
	d := s.phone("udp", ted).subscribeList(tom, bill, joe)
	want := map[string]string{tom: "In a call", bill: "In a meeting", joe: "Unavailable"}
	for len(want) > 0 {
		doc := d.doc()
		if want[doc.Entity] == doc.note() {
			delete(want, doc.Entity)
		}
	}
	// Somebody unknown: kept, nothing happens, and the answer says so.
	for path, body := range map[string]string{"/v1/lines/99999": `{"state":"busy"}`, "/v1/calendars/nobody@example.com": "[]"} {
		code, _, answer := s.call("PUT", path, body)
		require.Equal(t, 202, code, answer)
		require.Contains(t, answer, "warning")
	}
}

// The table of rules (BSP-3.2-3), by pairs: the first wins over the second.
func TestRules_BSP_3_2_3(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	etag := p.publish("", statusBody("available", ""))
	meeting := "[" + appointment("1", "busy", stamp(-time.Hour), stamp(time.Hour)) + "]"
	for i, c := range []struct{ own, line, calendar, external, status, note string }{
		{"available", "idle", "[]", "", "available", "Available"},
		{"do not disturb", "busy", meeting, `{"status":"available","telephoneEvent":"on-the-phone"}`, "unavailable", "Unavailable"},
		{"busy", "busy", meeting, `{"status":"busy"}`, "busy", "In a call"},
		{"available", "idle", meeting, `{"status":"available","telephoneEvent":"on-the-phone"}`, "busy", "In a call"},
		{"busy", "idle", meeting, `{"status":"away"}`, "busy", "In a meeting"},
		{"busy", "idle", "[]", `{"status":"away"}`, "busy", "Busy"},
		{"away", "idle", "[]", `{"status":"inactive"}`, "away", "Away"},
		{"be right back", "idle", "[]", `{"status":"inactive"}`, "away", "Inactive"},
		{"be right back", "idle", "[]", `{"status":"available"}`, "away", "Be right back"},
		{"other", "idle", "[]", `{"status":"available"}`, "other", "Other"},
		{"other", "idle", "[]", `{"status":"be right back"}`, "away", "Be right back"},
		{"signed out", "ringing", "[]", `{"status":"available"}`, "available", "Available"},
		{"signed out", "idle", "[]", `{"status":"unknown"}`, "signed out", "Signed out"},
		{"available", "idle", "[]", `{"status":"signed out"}`, "available", "Available"},
		{"available", "idle", "[" + appointment("1", "tentative", stamp(-time.Hour), stamp(time.Hour)) + "," +
			appointment("2", "out of office", stamp(-time.Hour), stamp(time.Hour)) + "," +
			appointment("3", "free", stamp(-time.Hour), stamp(time.Hour)) + "," +
			appointment("4", "busy", stamp(time.Hour), stamp(2*time.Hour)) + "," +
			appointment("5", "busy", stamp(-2*time.Hour), stamp(-time.Hour)) + "]", "", "available", "Available"},
		{"available", "unknown", "[]", `{"status":"do not disturb"}`, "unavailable", "Unavailable"},
		{"unknown", "idle", "[]", "", "unknown", ""},
	} {
		p.publish(etag, statusBody(c.own, ""))
		s.line("2719", c.line)
		s.put("/v1/calendars/tom@example.com", c.calendar)
		if c.external == "" {
			code, _, _ := s.call("DELETE", "/v1/external/"+tom, "")
			require.Equal(t, 204, code)
		} else {
			s.put("/v1/external/"+tom, c.external)
		}
		v := s.object("/v1/presence/" + tom)
		require.Equal(t, c.status, v["status"], "%d %+v", i, c)
		require.Equal(t, c.note, v["note"], "%d %+v", i, c)
	}
	// The user's free text is the note whatever the status (BSP-3.2-2).
	p.publish(etag, statusBody("available", "my text"))
	s.line("2719", "busy")
	v := s.object("/v1/presence/" + tom)
	require.Equal(t, "busy", v["status"])
	require.Equal(t, "my text", v["note"])
}

// An appointment counts from its beginning to its end, by itself (BSP-3.2-4),
// and the document carries it (BSP-3.2-5, BSP-2.6-1).
func TestAppointmentBeginsAndEnds_BSP_3_2_4(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	from, end := stamp(2*time.Second), stamp(4*time.Second)
	s.put("/v1/calendars/tom@example.com", "["+appointment("AQ1", "busy", from, end, `,"allday":true`)+","+
		appointment("later", "busy", stamp(24*time.Hour), stamp(25*time.Hour))+"]")
	require.Equal(t, from, s.object("/v1/explain/" + tom)["next_change"])
	doc := watcher.doc()
	require.Equal(t, "In a meeting", doc.note())
	require.Len(t, doc.Person.Presence.Calendar, 1, "what runs now")
	item := doc.Person.Presence.Calendar[0]
	require.Equal(t, []string{"AQ1", "busy", "Merger", "Room 7"}, []string{item.ID, item.State, item.Subject, item.Location})
	require.NotNil(t, item.AllDay)
	require.Nil(t, item.Private)
	require.Equal(t, from, item.From.UTC().Format(time.RFC3339))
	require.Equal(t, end, item.End.UTC().Format(time.RFC3339))
	require.False(t, item.Timestamp.IsZero())
	require.False(t, time.Now().Before(item.From))
	require.Equal(t, end, s.object("/v1/explain/" + tom)["next_change"])
	doc = watcher.doc()
	require.Equal(t, "signed out", doc.status())
	require.False(t, time.Now().Before(item.End))
	require.Empty(t, doc.Person.Presence.Calendar)
}

// A private appointment shows its times, never what and where (BSP-3.2-6),
// neither in a document nor by the control API.
func TestPrivateAppointment_BSP_3_2_6(t *testing.T) {
	t.Parallel()
	s := start(t)
	watchers := []*dialog{s.phone("udp", bill).subscribe(tom), s.softphone("udp", joe).subscribe(tom)}
	for _, w := range watchers {
		w.doc()
	}
	from := stamp(-time.Hour)
	s.put("/v1/calendars/tom@example.com", "["+appointment("1", "busy", from, stamp(time.Hour), `,"private":true`)+"]")
	for _, w := range watchers {
		doc := w.doc()
		require.Equal(t, "In a meeting", doc.note())
		item := doc.Person.Presence.Calendar[0]
		require.NotNil(t, item.Private)
		require.Equal(t, from, item.From.UTC().Format(time.RFC3339))
		require.Equal(t, "busy", item.State)
		require.NotContains(t, doc.raw, "Merger")
		require.NotContains(t, doc.raw, "Room 7")
	}
	for _, path := range []string{"/v1/presence/" + tom, "/v1/explain/" + tom, "/metrics", "/v1/subscriptions"} {
		_, _, answer := s.call("GET", path, "")
		require.NotContains(t, answer, "Merger", path)
		_, _, answer = s.call("GET", path, "", "Accept", "application/json")
		require.NotContains(t, answer, "Merger", path)
	}
	require.NotContains(t, s.log(), "Merger")
}

// External presence with all its fields (BSP-2.7-1, BSP-3.2-5).
func TestExternal_BSP_2_7_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	watcher := s.phone("udp", bill).subscribe(tom)
	watcher.doc()
	s.put("/v1/external/"+tom, `{"status":"available","freeText":"Working on BluStar 3.2","fwdDestination":"sip:someoneelse@example.com","telephoneEvent":"on-the-phone"}`)
	doc := watcher.doc()
	require.Equal(t, "busy", doc.status())
	require.Equal(t, "In a call", doc.note(), "the note is the BluStar user's own text, or the rule's")
	external := doc.Person.Presence.External
	require.Equal(t, []string{"available", "Working on BluStar 3.2", "sip:someoneelse@example.com", "on-the-phone"},
		[]string{external.Status, external.FreeText, external.FwdDestination, external.TelephoneEvent})
	require.WithinDuration(t, time.Now(), external.Timestamp, time.Minute)
	for range 2 {
		code, _, _ := s.call("DELETE", "/v1/external/"+tom, "")
		require.Equal(t, 204, code)
	}
	doc = watcher.doc()
	require.Nil(t, doc.Person.Presence.External)
	require.Equal(t, "signed out", doc.status())
}
