package msgraph_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

func newTeams(t *testing.T, s *fakegraph.Server, cfg msgraph.TeamsConfig) *msgraph.Teams {
	t.Helper()
	m, err := newApp(t, config(t, s)).NewTeams(cfg)
	require.NoError(t, err)
	return m
}

// TestTable: BSX-15, what availability and activity mean. Letter case does not count.
func TestTable(t *testing.T) {
	const phone = "on-the-phone"
	tests := []struct {
		availability, activity string
		status                 aa.Status
		event, text            string
	}{
		{"Available", "Available", aa.StatusAvailable, "", ""},
		{"available", "AVAILABLE", aa.StatusAvailable, "", ""},
		{"AvailableIdle", "Available", aa.StatusAvailable, "", ""},
		{"Available", "OutOfOffice", aa.StatusAvailable, "", "Out of office"},
		{"AvailableIdle", "OutOfOffice", aa.StatusAvailable, "", "Out of office"},
		{"Busy", "InACall", aa.StatusBusy, phone, ""},
		{"Busy", "InAConferenceCall", aa.StatusBusy, phone, ""},
		{"DoNotDisturb", "InACall", aa.StatusDoNotDisturb, phone, ""},
		{"DoNotDisturb", "InAConferenceCall", aa.StatusDoNotDisturb, phone, ""},
		{"DoNotDisturb", "Presenting", aa.StatusDoNotDisturb, phone, ""},
		{"Busy", "InAMeeting", aa.StatusBusy, "", "In a meeting"},
		{"BusyIdle", "InAMeeting", aa.StatusBusy, "", "In a meeting"},
		{"Busy", "Busy", aa.StatusBusy, "", ""},
		{"BusyIdle", "Busy", aa.StatusBusy, "", ""},
		{"Busy", "SomethingNew", aa.StatusBusy, "", ""},
		{"DoNotDisturb", "DoNotDisturb", aa.StatusDoNotDisturb, "", ""},
		{"DoNotDisturb", "UrgentInterruptionsOnly", aa.StatusDoNotDisturb, "", ""},
		{"DoNotDisturb", "Focusing", aa.StatusDoNotDisturb, "", ""},
		{"Away", "Away", aa.StatusAway, "", ""},
		{"Away", "Inactive", aa.StatusInactive, "", ""},
		{"AvailableIdle", "Inactive", aa.StatusInactive, "", ""},
		{"BeRightBack", "BeRightBack", aa.StatusBeRightBack, "", ""},
		{"Offline", "OffWork", aa.StatusAway, "", ""},
		{"OutOfOffice", "OutOfOffice", aa.StatusAway, "", "Out of office"},
		{"Offline", "Offline", "", "", ""},
		{"Offline", "OutOfOffice", "", "", ""},
		{"PresenceUnknown", "PresenceUnknown", "", "", ""},
		{"", "", "", "", ""},
		{"New", "New", "", "", ""},
		{"New", "InAMeeting", aa.StatusBusy, "", "In a meeting"},
		{"New", "InACall", aa.StatusBusy, phone, ""},
		{"InACall", "", aa.StatusBusy, phone, ""},
		{"InAMeeting", "InAMeeting", aa.StatusBusy, "", "In a meeting"},
		{"Focusing", "Focusing", aa.StatusDoNotDisturb, "", ""},
		{"Presenting", "Presenting", aa.StatusDoNotDisturb, phone, ""},
	}
	for _, tt := range tests {
		t.Run(tt.availability+"/"+tt.activity, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTenant()
				s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					presences := strings.HasSuffix(r.URL.Path, "/getPresencesByUserId")
					if presences {
						fmt.Fprintf(w, `{"value":[{"id":%q,"availability":%q,"activity":%q}]}`, tom, tt.availability, tt.activity)
					}
					return presences
				})
				w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), tomMail)
				require.Equal(t, presence.ExternalState{
					Status: tt.status, TelephoneEvent: tt.event, FreeText: tt.text, Lifetime: time.Minute,
				}, w.after(2*time.Second))
				w.cancel()
			})
		})
	}
	t.Run("of the host", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			s.SetPresence(tom, "Offline", "OffWork")
			table := append([]msgraph.Row{{Availability: "Offline", Activity: "OffWork"}}, msgraph.DefaultTable()...)
			w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{Table: table}), tomMail)
			require.Equal(t, presence.ExternalState{Lifetime: time.Minute}, w.after(2*time.Second))
			w.cancel()
		})
	})
}

// TestStatusMessage: what the user has written goes before texts of ours, until it expires.
func TestStatusMessage(t *testing.T) {
	message := func(kind, content string, expires any) any {
		return map[string]any{"message": map[string]any{"content": content, "contentType": kind}, "expiryDateTime": expires}
	}
	at := func(clock, zone string) any { return map[string]any{"dateTime": clock, "timeZone": zone} }
	tests := []struct {
		name    string
		message any
		away    bool
		want    string
	}{
		{"none", nil, false, "In a meeting"},
		{"none, away", nil, true, "Gone"},
		{"text", message("text", "Back <soon> &amp; so on", nil), true, "Back <soon> &amp; so on"},
		{"HTML", message("html", "<p>Back at <b>3</b> &amp; later</p><p>or&nbsp;so<br/>ok</p>", nil), false, "Back at 3 & later or so ok"},
		{"broken HTML", message("HTML", "a <b", nil), false, "a"},
		{"until later", message("text", "x", at("2000-01-01T01:00:00.0000000", "UTC")), false, "x"},
		{"until now in Berlin", message("text", "x", at("2000-01-01T01:00:00", "W. Europe Standard Time")), false, "In a meeting"},
		{"over", message("text", "x", at("1999-12-31T23:59:59", "UTC")), true, "Gone"},
		{"unknown end", message("text", "x", at("?", "UTC")), false, "x"},
		{"controls", message("text", "a\x00\x1b\r\n\u2028b\ufffe", nil), false, "a b"},
		{"long", message("text", strings.Repeat("ä", 1000), nil), false, strings.Repeat("ä", 512)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTenant()
				s.SetPresence(tom, "Busy", "InAMeeting")
				s.SetStatus(tom, tt.message, tt.away)
				w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{Away: "Gone"}), tomMail)
				require.Equal(t, tt.want, w.after(2*time.Second).FreeText)
				w.cancel()
			})
		})
	}
}

// TestCall: a call of Teams is seen within 15 seconds, and so is its end.
func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		s.SetPresence(tom, "Available", "Available")
		w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), tomMail)
		require.Equal(t, aa.StatusAvailable, w.after(2*time.Second).Status)
		for range 5 {
			s.SetPresence(tom, "Busy", "InACall")
			require.Equal(t, msgraph.OnThePhone, w.after(11*time.Second).TelephoneEvent)
			s.SetPresence(tom, "Available", "Available")
			require.Empty(t, w.after(11*time.Second).TelephoneEvent)
		}
		w.cancel()
	})
}

// TestManyUsers: 650 users a request, every ten seconds; the search for users is spread.
func TestManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakegraph.New()
		teams := newTeams(t, s, msgraph.TeamsConfig{})
		var watches []*watch[presence.ExternalState]
		for i := range 1300 {
			mail := fmt.Sprintf("u%d@contoso.example", i)
			s.AddUser(userID(i), mail, mail)
			s.SetPresence(userID(i), "Busy", "InACall")
			watches = append(watches, watchTeams(t, teams, mail))
		}
		time.Sleep(10 * time.Second)
		require.InDelta(t, 500, count(s.Requests(), askUser), 10)
		time.Sleep(30 * time.Second)
		s.Requests()
		for _, w := range watches {
			require.Equal(t, msgraph.OnThePhone, w.after(0).TelephoneEvent)
		}
		time.Sleep(10 * time.Minute)
		asked := s.Requests()
		require.Equal(t, len(asked), count(asked, askPresence))
		require.InDelta(t, 120, len(asked), 4)
		for _, w := range watches {
			w.after(0)
			require.Greater(t, w.count(), 59)
			w.cancel()
		}
	})
}

func userID(i int) string { return fmt.Sprintf("8afc02cb-4d62-4dba-b536-%012d", i) }

// TestReadings: what of an answer counts.
func TestReadings(t *testing.T) {
	available := presence.ExternalState{Status: aa.StatusAvailable, Lifetime: time.Minute}
	away := presence.ExternalState{Status: aa.StatusAway, Lifetime: time.Minute}
	silent := presence.ExternalState{Lifetime: time.Minute}
	one := func(availability, sequence string) string {
		return fmt.Sprintf(`{"id":%q,"availability":%q,"activity":%q,"sequenceNumber":%s}`, strings.ToUpper(tom), availability, availability, sequence)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		answer := func(body string) {
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				presences := strings.HasSuffix(r.URL.Path, "/getPresencesByUserId")
				if presences {
					_, _ = io.WriteString(w, `{"value":[{"id":"`+meg+`","availability":"Away"},`+body+`]}`)
				}
				return presences
			})
		}
		answer(one("Available", `"A2"`))
		w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), tomMail)
		require.Equal(t, available, w.after(2*time.Second))
		next := func(data string) presence.ExternalState {
			answer(data)
			return w.after(10 * time.Second)
		}
		require.Equal(t, away, next(one("Away", `"A3"`)))
		n := w.count()
		require.Equal(t, away, next(one("Available", `"A2"`)), "older than what was taken")
		require.Equal(t, n, w.count(), "and renews nothing")
		require.Equal(t, available, next(one("Available", `"A3"`)), "the same number")
		require.Equal(t, away, next(one("Away", "null")), "no number")
		require.Equal(t, available, next(one("Available", `"A1"`)), "nothing to compare with")
		require.Equal(t, away, next(one("Away", `"A9"`)))
		for range 5 {
			require.Equal(t, away, next(one("Available", `"A1"`)))
		}
		require.Equal(t, available, next(one("Available", `"A1"`)), "the sequence began anew")
		require.Equal(t, presence.ExternalState{}, next(`{"id":"66825e03-7ef5-42da-9069-724602c31f6b"}`), "missing: unknown")
		require.Equal(t, available, next(one("Available", `"B1"`)))
		require.Equal(t, presence.ExternalState{}, next(`{"id":5}`))
		require.Equal(t, silent, next(one("PresenceUnknown", `"B2"`)))
		w.cancel()
	})
}

// TestTeamsFailures: BSX-15, a value fades within the grace time, and comes back; who is told to
// wait waits.
func TestTeamsFailures(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"dead":      status(http.StatusBadGateway),
		"HTML":      func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, "<html>"); return true },
		"no list":   func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, "{}"); return true },
		"hangs":     func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true },
		"throttles": status(http.StatusTooManyRequests, "Retry-After", "45"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTenant()
				s.SetPresence(tom, "Busy", "InACall")
				w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), tomMail)
				require.Equal(t, time.Minute, w.after(5*time.Second).Lifetime)
				n := w.count()
				s.Requests()
				s.Intercept(answer)
				w.after(5 * time.Minute)
				require.Equal(t, n, w.count(), "nothing renews the value")
				asked := len(s.Requests())
				require.LessOrEqual(t, asked, 10)
				require.GreaterOrEqual(t, asked, 4)
				s.Intercept(nil)
				w.after(80 * time.Second)
				require.Greater(t, w.count(), n)
				w.cancel()
			})
		})
	}
	t.Run("asked to wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), tomMail)
			w.after(5 * time.Second)
			s.Intercept(status(http.StatusServiceUnavailable, "Retry-After", "Sat, 01 Jan 2000 00:10:00 GMT", "Date", "Sat, 01 Jan 2000 00:00:00 GMT"))
			time.Sleep(10 * time.Second)
			s.Intercept(nil)
			s.Requests()
			time.Sleep(10*time.Minute - 10*time.Second)
			require.Empty(t, s.Requests(), "the date is by the server's clock")
			time.Sleep(2 * time.Minute)
			require.NotEmpty(t, s.Requests())
			w.cancel()
		})
	})
	t.Run("refuses all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := fakegraph.New()
			teams := newTeams(t, s, msgraph.TeamsConfig{User: func(_ context.Context, e directory.Entry) (string, error) {
				return strings.TrimPrefix(e.ID, "id of "), nil
			}})
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/getPresencesByUserId") && status(http.StatusBadRequest)(w, r)
			})
			var all []*watch[presence.ExternalState]
			for i := range 650 {
				s.AddUser(userID(i), userID(i), userID(i))
				s.SetPresence(userID(i), "Away", "Away")
				all = append(all, watchTeams(t, teams, userID(i)))
			}
			time.Sleep(2 * time.Second)
			require.LessOrEqual(t, count(s.Requests(), askPresence), 64, "it is not about one of them")
			s.Intercept(nil)
			err, ended := all[0].result()
			require.True(t, ended)
			require.NotErrorIs(t, err, msgraph.ErrNotFound)
			again := watchTeams(t, teams, userID(0))
			require.Equal(t, aa.StatusAway, again.after(15*time.Second).Status, "nobody is held to be unknown")
			again.cancel()
		})
	})
	t.Run("forbidden", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/getPresencesByUserId") && status(http.StatusForbidden)(w, r)
			})
			w := watchTeams(t, newTeams(t, s, msgraph.TeamsConfig{}), tomMail)
			time.Sleep(2 * time.Second)
			err, _ := w.result()
			require.ErrorIs(t, err, msgraph.ErrForbidden)
		})
	})
}

// TestWho: users are found by mail address, or by what the host says; one whom Graph does not like
// costs only themselves.
func TestWho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		for _, name := range []string{tom, meg} {
			s.SetPresence(name, "Away", "Away")
		}
		teams := newTeams(t, s, msgraph.TeamsConfig{})
		a := watchTeams(t, teams, tomMail)
		b := watchTeams(t, teams, "MEG.o'ryan@contoso.example")
		again := watchTeams(t, teams, strings.ToUpper(tomMail))
		for _, w := range []*watch[presence.ExternalState]{a, b, again} {
			require.Equal(t, aa.StatusAway, w.after(3*time.Second).Status)
		}
		asked := s.Requests()
		require.Equal(t, 1, count(asked, askUsers))
		for range 10 {
			err := teams.MonitorExternal(t.Context(), entry("nobody@contoso.example"), nil)
			require.ErrorIs(t, err, msgraph.ErrNotFound)
			require.ErrorContains(t, err, "nobody@contoso.example")
			time.Sleep(5 * time.Minute)
		}
		require.Equal(t, 1, count(s.Requests(), askUsers), "nor asked again for an hour")
		require.ErrorIs(t, teams.MonitorExternal(t.Context(), directory.Entry{ID: "x"}, nil), msgraph.ErrNotFound)
		for _, w := range []*watch[presence.ExternalState]{a, b, again} {
			w.cancel()
		}
	})
	t.Run("by the host", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			var teams *msgraph.Teams
			other := errors.New("other")
			teams = newTeams(t, s, msgraph.TeamsConfig{User: func(_ context.Context, e directory.Entry) (string, error) {
				if e.ID == "id of bad" {
					return "", other
				}
				return strings.TrimPrefix(e.ID, "id of "), nil
			}})
			var all []*watch[presence.ExternalState]
			for i := range 100 {
				s.AddUser(userID(i), userID(i), userID(i))
				s.SetPresence(userID(i), "Away", "Away")
				all = append(all, watchTeams(t, teams, userID(i)))
			}
			bad := watchTeams(t, teams, "no-uuid")
			time.Sleep(5 * time.Second)
			err, ended := bad.result()
			require.True(t, ended)
			require.ErrorIs(t, err, msgraph.ErrNotFound)
			s.Requests()
			require.ErrorIs(t, teams.MonitorExternal(t.Context(), entry("no-uuid"), nil), msgraph.ErrNotFound)
			require.Empty(t, s.Requests(), "for an hour")
			for _, w := range all {
				require.Equal(t, aa.StatusAway, w.after(0).Status)
				w.cancel()
			}
			require.ErrorIs(t, teams.MonitorExternal(t.Context(), entry("bad"), nil), other)
			require.ErrorIs(t, teams.MonitorExternal(t.Context(), entry("a b"), nil), msgraph.ErrNotFound)
		})
	})
}
