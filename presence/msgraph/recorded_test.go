package msgraph_test

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

// replay answers requests whose path ends so with what stands in a file of testdata/graph: a whole
// answer, or the body of a 200. Where they come from, INDEX.tsv says.
func replay(t *testing.T, suffix, name string) func(http.ResponseWriter, *http.Request) bool {
	data, err := os.ReadFile(filepath.Join("testdata", "graph", name))
	require.NoError(t, err)
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		status, body := http.StatusOK, data
		if strings.HasSuffix(name, ".http") {
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), r)
			require.NoError(t, err)
			maps.Copy(w.Header(), resp.Header)
			body, _ = io.ReadAll(resp.Body)
			require.NoError(t, resp.Body.Close())
			status = resp.StatusCode
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return true
	}
}

// TestRecorded: answers of Microsoft's servers and documents are read rightly.
func TestRecorded(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return v
	}
	appointments := func(t *testing.T, name string) []aa.Appointment {
		data, err := os.ReadFile(filepath.Join("testdata", "graph", name))
		require.NoError(t, err)
		found, broken, err := msgraph.ReadCalendar(data, time.UTC)
		require.NoError(t, err)
		require.NoError(t, broken)
		return found
	}
	subjects := func(t *testing.T, name string, want ...string) {
		var have []string
		for _, a := range appointments(t, name) {
			have = append(have, a.Subject)
		}
		require.Equal(t, want, have)
	}
	// fails returns the error with which the monitor of a calendar ends.
	fails := func(t *testing.T, name string) *msgraph.Error {
		s := newTenant()
		s.Intercept(replay(t, "/calendarView", name))
		w := calendarOf(t, s, msgraph.CalendarConfig{})
		err, _ := w.result()
		w.cancel()
		var failed *msgraph.Error
		require.ErrorAs(t, err, &failed)
		return failed
	}
	schedule := func(t *testing.T, s *fakegraph.Server, name, mail string, past time.Duration) *watch[presence.CalendarState] {
		s.Intercept(replay(t, "/getSchedule", name))
		c, err := newApp(t, config(t, s)).NewCalendar(msgraph.CalendarConfig{Schedules: tomMail, Past: past, Future: 24 * time.Hour})
		require.NoError(t, err)
		w := watchCalendar(t, c, mail)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		return w
	}
	readings := func(t *testing.T, name string, want map[string]presence.ExternalState) {
		data, err := os.ReadFile(filepath.Join("testdata", "graph", name))
		require.NoError(t, err)
		have, err := msgraph.ReadPresence(data)
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
	tests := map[string]func(t *testing.T){
		"401-invalidauthenticationtoken.http": func(t *testing.T) {
			e := fails(t, "401-invalidauthenticationtoken.http")
			require.ErrorIs(t, e, msgraph.ErrUnauthorized)
			require.Equal(t, "InvalidAuthenticationToken", e.Code)
		},
		"403-erroraccessdenied.http": func(t *testing.T) {
			e := fails(t, "403-erroraccessdenied.http")
			require.ErrorIs(t, e, msgraph.ErrForbidden)
			require.Equal(t, "3333f277-0000-4000-8000-000000000001", e.RequestID)
		},
		"404-mailboxnotenabled.http": func(t *testing.T) {
			require.ErrorIs(t, fails(t, "404-mailboxnotenabled.http"), msgraph.ErrNoMailbox)
		},
		"429-mailboxconcurrency.http": func(t *testing.T) {
			s := newTenant()
			s.SetEvents(tom, in("a", time.Hour))
			s.Intercept(replay(t, "/calendarView", "429-mailboxconcurrency.http"))
			w := calendarOf(t, s, msgraph.CalendarConfig{Interval: time.Second})
			time.Sleep(9 * time.Second)
			require.Equal(t, 1, count(s.Requests(), askView))
			s.Intercept(nil)
			require.Equal(t, []string{"a"}, ids(w.after(5*time.Second).Appointments))
			w.cancel()
		},
		"503-html.http": func(t *testing.T) { // the Retry-After is a date, years after the clock of this test
			s := newTenant()
			s.Intercept(replay(t, "/calendarView", "503-html.http"))
			w := calendarOf(t, s, msgraph.CalendarConfig{})
			time.Sleep(59 * time.Minute)
			require.Equal(t, 1, count(s.Requests(), askView))
			w.cancel()
		},
		"clearpresence-404.http": func(t *testing.T) {
			o := newOffice(t)
			o.s.Intercept(replay(t, "/clearPresence", "clearpresence-404.http"))
			o.line(aa.LineIdle)
			o.after(10 * time.Minute)
			require.Equal(t, 1, count(o.s.Requests(), askClear), "it is as we wanted it")
			o.close()
		},
		"delta-1-nextlink.json": func(t *testing.T) { subjects(t, "delta-1-nextlink.json", "Plan shopping list", "Pick up car") },
		"delta-2-nextlink.json": func(t *testing.T) {
			subjects(t, "delta-2-nextlink.json", "Get food", "Prepare food")
		},
		"delta-3-deltalink.json":          func(t *testing.T) { subjects(t, "delta-3-deltalink.json", "Rest!") },
		"delta-4-next-round-removed.json": func(t *testing.T) { subjects(t, "delta-4-next-round-removed.json", "Attend service") },
		"delta-410-syncstatenotfound.http": func(t *testing.T) {
			require.Equal(t, http.StatusGone, fails(t, "delta-410-syncstatenotfound.http").Status)
		},
		"delta-bare-occurrences.json": func(t *testing.T) {
			found := appointments(t, "delta-bare-occurrences.json")
			require.Equal(t, []string{"OCC1=", "OCC2=", "EXC1="}, ids(found), "never the master")
			for _, a := range found[:2] {
				require.Equal(t, aa.CalendarUnknown, a.State)
				require.Empty(t, a.Subject+a.Location)
			}
			require.Equal(t, aa.CalendarTentative, found[2].State)
		},
		"error-body.json": func(t *testing.T) {
			s := newTenant()
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/calendarView") {
					return false
				}
				w.WriteHeader(http.StatusBadRequest)
				return replay(t, "", "error-body.json")(w, r)
			})
			w := calendarOf(t, s, msgraph.CalendarConfig{})
			err, _ := w.result()
			require.EqualError(t, err, "msgraph: GET /v1.0/users/tom.hanks@contoso.example/calendarView: 400 Bad Request, invalidRange, request request-id")
		},
		"event-allday-private.json": func(t *testing.T) {
			require.Equal(t, []aa.Appointment{{
				ID: "AAMkADj1HwAAA=", State: aa.CalendarOutOfOffice, Subject: "Holiday", AllDay: true, Private: true,
				From: at("2026-11-25T23:00:00Z"), End: at("2026-11-27T23:00:00Z"),
			}}, appointments(t, "event-allday-private.json"), "not the canceled, the declined, the one without length")
		},
		"getschedule-one-unknown.json": func(t *testing.T) {
			time.Sleep(time.Until(at("2026-11-26T08:00:00Z")))
			w := schedule(t, newTenant(), "getschedule-one-unknown.json", "nobody@contoso.example", 0)
			err, _ := w.result()
			require.ErrorIs(t, err, msgraph.ErrNotFound)
			w = schedule(t, newTenant(), "getschedule-one-unknown.json", "adelev@contoso.example", 0)
			require.Equal(t, []aa.Appointment{{
				ID: "2026-11-26T09:00:00Z/2026-11-26T10:00:00Z", State: aa.CalendarOutOfOffice, Private: true,
				From: at("2026-11-26T09:00:00Z"), End: at("2026-11-26T10:00:00Z"),
			}}, w.after(0).Appointments)
			w.cancel()
		},
		"getschedule-two-users.json": func(t *testing.T) {
			time.Sleep(time.Until(at("2019-03-15T12:00:00Z")))
			w := schedule(t, newTenant(), "getschedule-two-users.json", "adelev@contoso.onmicrosoft.com", 0)
			require.Equal(t, []aa.Appointment{{
				ID: "2019-03-15T19:00:00Z/2019-03-15T21:00:00Z", State: aa.CalendarBusy, Subject: "Let's go for lunch", Location: "Harry's Bar",
				From: at("2019-03-15T19:00:00Z"), End: at("2019-03-15T21:00:00Z"),
			}}, w.after(0).Appointments)
			w.cancel()
			w = schedule(t, newTenant(), "getschedule-two-users.json", "meganb@contoso.onmicrosoft.com", 0)
			require.Len(t, w.after(0).Appointments, 5)
			w.cancel()
		},
		"presences-full.json": func(t *testing.T) {
			readings(t, "presences-full.json", map[string]presence.ExternalState{
				"fa8bf3dc-eca7-46b7-bad1-db199b62afc3": {Status: aa.StatusBusy, TelephoneEvent: "on-the-phone", FreeText: "Back at 3 & later"},
				"66825e03-7ef5-42da-9069-724602c31f6b": {Status: aa.StatusAvailable, FreeText: "Out of office"},
				"59bb3898-0621-4414-ac61-74f9d7201355": {Status: aa.StatusDoNotDisturb},
				"8afc02cb-4d62-4dba-b536-9f6d73e9be26": {},
			})
		},
		"presences.json": func(t *testing.T) {
			readings(t, "presences.json", map[string]presence.ExternalState{
				"fa8bf3dc-eca7-46b7-bad1-db199b62afc3": {Status: aa.StatusBusy, FreeText: "In a meeting"},
				"66825e03-7ef5-42da-9069-724602c31f6b": {Status: aa.StatusAway},
			})
		},
		"token-wrong-secret.http": func(t *testing.T) {
			s := newTenant()
			s.Intercept(replay(t, "/token", "token-wrong-secret.http"))
			err := newApp(t, config(t, s)).CheckToken(t.Context())
			require.ErrorIs(t, err, msgraph.ErrUnauthorized)
			require.EqualError(t, err, "msgraph: credentials refused: "+
				"msgraph: POST /contoso.example/oauth2/v2.0/token: 401 Unauthorized, invalid_client (wrong client secret)")
		},
		"token.json": func(t *testing.T) {
			s := newTenant()
			s.Intercept(replay(t, "/token", "token.json"))
			require.NoError(t, newApp(t, config(t, s)).CheckToken(t.Context()))
		},
		"users-list.http": func(t *testing.T) {
			s := newTenant()
			s.Intercept(replay(t, "/users", "users-list.http"))
			w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), "other@contoso.example")
			time.Sleep(time.Second)
			err, _ := w.result()
			require.ErrorIs(t, err, msgraph.ErrAmbiguous)
		},
	}
	files, err := os.ReadDir(filepath.Join("testdata", "graph"))
	require.NoError(t, err)
	for _, f := range files {
		if f.Name() == "INDEX.tsv" {
			continue
		}
		require.Contains(t, tests, f.Name())
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, tests[name]) })
	}
}
