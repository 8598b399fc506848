package caldav_test

import (
	"cmp"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests exist everywhere

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/caldav"
)

var update = flag.Bool("update", false, "write the golden files")

// march is what most tests look at: four weeks around the change to summer time
// in Europe, seen from Berlin.
func march(t testing.TB) caldav.View {
	return caldav.View{
		From:      time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC),
		To:        time.Date(2026, 4, 12, 0, 0, 0, 0, time.UTC),
		Addresses: []string{"tom.hanks@example.com"},
		Location:  zone(t, "Europe/Berlin"),
	}
}

func zone(t testing.TB, name string) *time.Location {
	l, err := time.LoadLocation(name)
	require.NoError(t, err)
	return l
}

// calendar wraps the lines of components.
func calendar(lines ...string) []byte {
	return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCALENDAR\r\n")
}

// vevent wraps the lines of one event.
func vevent(lines ...string) []byte {
	return calendar("BEGIN:VEVENT\r\nUID:1\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT")
}

func sorted(all []aa.Appointment) []aa.Appointment {
	slices.SortFunc(all, func(x, y aa.Appointment) int {
		return cmp.Or(x.From.Compare(y.From), cmp.Compare(x.ID, y.ID))
	})
	return all
}

// times writes when appointments are.
func times(all []aa.Appointment) []string {
	out := []string{}
	for _, a := range sorted(all) {
		out = append(out, a.From.Format("2006-01-02T15:04")+" "+a.End.Sub(a.From).String())
	}
	return out
}

// line writes an appointment for people to read.
func line(a aa.Appointment) string {
	s := a.ID + " | " + a.From.Format(time.RFC3339) + " " + a.End.Sub(a.From).String() + " | " + string(a.State)
	if a.AllDay {
		s += " all day"
	}
	if a.Private {
		s += " private"
	}
	s += " | " + a.Subject + " | " + a.Location
	if !a.Timestamp.IsZero() {
		s += " | " + a.Timestamp.Format(time.RFC3339)
	}
	return s
}

// TestGolden reads whole calendars (BSP-2.6-1: what a calendar system says).
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.ics")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			found, err := march(t).Appointments(t.Context(), data)
			require.NoError(t, err)
			var got strings.Builder
			for _, a := range sorted(found) {
				got.WriteString(line(a) + "\n")
			}
			golden := strings.TrimSuffix(file, ".ics") + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func TestState(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  aa.CalendarState // "" where it does not count
	}{
		{"nothing said", nil, aa.CalendarBusy},
		{"opaque", []string{"TRANSP:OPAQUE"}, aa.CalendarBusy},
		{"transparent", []string{"TRANSP:TRANSPARENT"}, aa.CalendarFree},
		{"tentative", []string{"STATUS:TENTATIVE", "TRANSP:OPAQUE"}, aa.CalendarTentative},
		{"confirmed", []string{"STATUS:CONFIRMED"}, aa.CalendarBusy},
		{"cancelled", []string{"STATUS:CANCELLED"}, ""},
		{"out of office", []string{"X-MICROSOFT-CDO-BUSYSTATUS:OOF"}, aa.CalendarOutOfOffice},
		{"out of office, spelled", []string{"X-MICROSOFT-CDO-BUSYSTATUS:OutOfOffice"}, aa.CalendarOutOfOffice},
		{"busy status before the rest", []string{"X-MICROSOFT-CDO-BUSYSTATUS:BUSY", "TRANSP:TRANSPARENT", "STATUS:TENTATIVE"}, aa.CalendarBusy},
		{"free", []string{"X-MICROSOFT-CDO-BUSYSTATUS:FREE"}, aa.CalendarFree},
		{"elsewhere", []string{"X-MICROSOFT-CDO-BUSYSTATUS:WORKINGELSEWHERE"}, aa.CalendarFree},
		{"busy status tentative", []string{"X-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE"}, aa.CalendarTentative},
		{"unknown busy status", []string{"X-MICROSOFT-CDO-BUSYSTATUS:MAYBE", "TRANSP:TRANSPARENT"}, aa.CalendarFree},
		{"declined", []string{"ATTENDEE;PARTSTAT=DECLINED:mailto:tom.hanks@example.com"}, ""},
		{"delegated", []string{"ATTENDEE;PARTSTAT=DELEGATED:MAILTO:TOM.HANKS@example.com"}, ""},
		{"accepted", []string{"ATTENDEE;PARTSTAT=ACCEPTED:mailto:tom.hanks@example.com"}, aa.CalendarBusy},
		{"maybe", []string{"ATTENDEE;PARTSTAT=TENTATIVE:mailto:tom.hanks@example.com"}, aa.CalendarTentative},
		{"not answered", []string{"ATTENDEE:mailto:tom.hanks@example.com"}, aa.CalendarTentative},
		{"declined by another", []string{"ATTENDEE;PARTSTAT=DECLINED:mailto:meg.ryan@example.com"}, aa.CalendarBusy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := march(t).Appointments(t.Context(), vevent(append(tt.lines, "DTSTART:20260326T100000Z", "DURATION:PT1H")...))
			require.NoError(t, err)
			if tt.want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, tt.want, found[0].State)
		})
	}
	t.Run("transparent calendar", func(t *testing.T) {
		view := march(t)
		view.Transparent = true
		found, err := view.Appointments(t.Context(), vevent("DTSTART:20260326T100000Z", "DURATION:PT1H"))
		require.NoError(t, err)
		require.Equal(t, aa.CalendarFree, found[0].State)
	})
}

// TestPrivate: BSP-3.2-6 needs to know which are private.
func TestPrivate(t *testing.T) {
	for class, want := range map[string]bool{
		"CLASS:PUBLIC": false, "CLASS:PRIVATE": true, "CLASS:confidential": true, "CLASS:X-SECRET": true, "X-NONE:1": false,
	} {
		found, err := march(t).Appointments(t.Context(), vevent(class, "DTSTART:20260326T100000Z", "DURATION:PT1H"))
		require.NoError(t, err)
		require.Len(t, found, 1, class)
		require.Equal(t, want, found[0].Private, class)
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"UTC", []string{"DTSTART:20260326T100000Z", "DTEND:20260326T113000Z"}, []string{"2026-03-26T10:00 1h30m0s"}},
		{"zone", []string{"DTSTART;TZID=America/New_York:20260326T100000", "DURATION:PT1H"}, []string{"2026-03-26T14:00 1h0m0s"}},
		{"end in another zone", []string{"DTSTART;TZID=Europe/Berlin:20260326T100000", "DTEND;TZID=Europe/London:20260326T100000"}, []string{"2026-03-26T09:00 1h0m0s"}},
		{"Windows zone", []string{"DTSTART;TZID=Eastern Standard Time:20260326T100000", "DURATION:PT1H"}, []string{"2026-03-26T14:00 1h0m0s"}},
		{"floating", []string{"DTSTART:20260326T100000", "DURATION:PT1H"}, []string{"2026-03-26T09:00 1h0m0s"}},
		{"date", []string{"DTSTART;VALUE=DATE:20260326"}, []string{"2026-03-25T23:00 24h0m0s"}},
		{"date without VALUE", []string{"DTSTART:20260326"}, []string{"2026-03-25T23:00 24h0m0s"}},
		{"date with the same end", []string{"DTSTART;VALUE=DATE:20260326", "DTEND;VALUE=DATE:20260326"}, []string{"2026-03-25T23:00 24h0m0s"}},
		{"short day", []string{"DTSTART;VALUE=DATE:20260329"}, []string{"2026-03-28T23:00 23h0m0s"}},
		{"days of the calendar", []string{"DTSTART;TZID=Europe/Berlin:20260328T120000", "DURATION:P1DT1H"}, []string{"2026-03-28T11:00 24h0m0s"}},
		{"exact time", []string{"DTSTART;TZID=Europe/Berlin:20260328T120000", "DURATION:PT24H"}, []string{"2026-03-28T11:00 24h0m0s"}},
		{"week", []string{"DTSTART:20260320T000000Z", "DURATION:P1W"}, []string{"2026-03-20T00:00 168h0m0s"}},
		{"time that the clock skips", []string{"DTSTART;TZID=Europe/Berlin:20260329T023000", "DURATION:PT1H"}, []string{"2026-03-29T01:30 1h0m0s"}},
		{"in the gap of New York", []string{"DTSTART;TZID=America/New_York:20260308T023000", "DURATION:P10D"}, []string{"2026-03-08T07:30 239h0m0s"}},
		{"runs into view", []string{"DTSTART:20260301T000000Z", "DTEND:20260316T000000Z"}, []string{"2026-03-01T00:00 360h0m0s"}},
		{"ends as the view begins", []string{"DTSTART:20260314T000000Z", "DTEND:20260315T000000Z"}, []string{}},
		{"begins as the view ends", []string{"DTSTART:20260412T000000Z", "DURATION:PT1H"}, []string{}},
		{"ends before it begins", []string{"DTSTART:20260326T100000Z", "DTEND:20260326T090000Z"}, []string{}},
		{"leap second", []string{"DTSTART:20260326T095960Z", "DURATION:PT1H"}, []string{"2026-03-26T10:00 1h0m0s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := march(t).Appointments(t.Context(), vevent(tt.lines...))
			require.NoError(t, err)
			require.Equal(t, tt.want, times(found))
		})
	}
	t.Run("time that the clock shows twice", func(t *testing.T) {
		view := march(t)
		view.From, view.To = view.From.AddDate(0, 7, 0), view.To.AddDate(0, 7, 0)
		for name, want := range map[string]string{
			"Europe/Berlin": "2026-10-25T00:30 1h0m0s", "America/New_York": "2026-10-25T06:30 1h0m0s",
		} {
			found, err := view.Appointments(t.Context(), vevent("DTSTART;TZID="+name+":20261025T023000", "DURATION:PT1H"))
			require.NoError(t, err)
			require.Equal(t, []string{want}, times(found))
		}
	})
}

func TestByteOrderMark(t *testing.T) {
	data := append([]byte("\ufeff"), vevent("DTSTART:20260326T100000Z", "DURATION:PT1H")...)
	found, err := march(t).Appointments(t.Context(), data)
	require.NoError(t, err)
	require.Equal(t, []string{"2026-03-26T10:00 1h0m0s"}, times(found))
}

func TestText(t *testing.T) {
	long := strings.Repeat("ü", 200)
	found, err := march(t).Appointments(t.Context(), vevent("DTSTART:20260326T100000Z", "DURATION:PT1H",
		`SUMMARY;LANGUAGE="de:DE":Lunch, \; \\ and\nmore`+"\x01", "LOCATION:"+long))
	require.NoError(t, err)
	require.Equal(t, `Lunch, ; \ and more`, found[0].Subject)
	require.LessOrEqual(t, len(found[0].Location), 256)
	require.True(t, strings.HasSuffix(found[0].Location, "ü…"))
}

func TestID(t *testing.T) {
	t.Run("long", func(t *testing.T) {
		data := []byte(strings.Replace(string(vevent("DTSTART:20260326T100000Z", "DURATION:PT1H")), "UID:1", "UID:"+strings.Repeat("x", 300), 1))
		found, err := march(t).Appointments(t.Context(), data)
		require.NoError(t, err)
		require.Regexp(t, "^[0-9a-f]{64}$", found[0].ID)
	})
	t.Run("stays when the window moves", func(t *testing.T) {
		data := vevent("DTSTART;TZID=Europe/Berlin:20260101T100000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY")
		early, err := march(t).Appointments(t.Context(), data)
		require.NoError(t, err)
		view := march(t)
		view.From, view.To = view.From.AddDate(0, 0, 7), view.To.AddDate(0, 0, 7)
		late, err := view.Appointments(t.Context(), data)
		require.NoError(t, err)
		require.Equal(t, sorted(early)[1:], sorted(late)[:len(late)-1])
		require.Equal(t, "1/20260319T090000Z", early[0].ID)
	})
}

// TestErrors: what can be read is returned, and errors have none of the texts.
func TestErrors(t *testing.T) {
	good := "BEGIN:VEVENT\r\nUID:good\r\nDTSTART:20260326T100000Z\r\nDURATION:PT1H\r\nEND:VEVENT"
	tests := []struct {
		name, bad string
		want      int
	}{
		{"no UID", "BEGIN:VEVENT\r\nDTSTART:20260326T100000Z\r\nEND:VEVENT", 1},
		{"no DTSTART", "BEGIN:VEVENT\r\nUID:x\r\nSUMMARY:SECRET\r\nEND:VEVENT", 1},
		{"malformed DTSTART", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:SECRET\r\nEND:VEVENT", 1},
		{"month 13", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:20261326T100000Z\r\nEND:VEVENT", 1},
		{"malformed DURATION", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:20260326T100000Z\r\nDURATION:SECRET\r\nEND:VEVENT", 1},
		{"huge DURATION", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:20260326T100000Z\r\nDURATION:P99999999999999999999W\r\nEND:VEVENT", 1},
		{"unknown zone", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART;TZID=SECRET:20260326T100000\r\nDURATION:PT1H\r\nEND:VEVENT", 2},
		{"malformed rule", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:20260326T100000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=SECRET\r\nEND:VEVENT", 2},
		{"malformed EXDATE", "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:20260326T100000Z\r\nDURATION:PT1H\r\nEXDATE:SECRET\r\nEND:VEVENT", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := march(t).Appointments(t.Context(), calendar(tt.bad, good))
			require.ErrorContains(t, err, "caldav: ")
			require.NotContains(t, err.Error(), "SECRET")
			require.Len(t, found, tt.want)
		})
	}
	for name, data := range map[string]string{
		"empty": "", "not a calendar": "hello", "truncated": "BEGIN:VCALENDAR\r\n" + good, "crossed": "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\nEND:VEVENT\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			found, err := march(t).Appointments(t.Context(), []byte(data))
			require.Error(t, err)
			require.Empty(t, found)
		})
	}
	t.Run("two calendars in a stream", func(t *testing.T) {
		found, err := march(t).Appointments(t.Context(), append(calendar(good), vevent("DTSTART:20260326T100000Z", "DURATION:PT1H")...))
		require.NoError(t, err)
		require.Len(t, found, 2)
	})
	t.Run("malformed line of no interest", func(t *testing.T) {
		found, err := march(t).Appointments(t.Context(), vevent("DTSTART:20260326T100000Z", "DURATION:PT1H", "garbage", `ATTENDEE;CN="x:`))
		require.NoError(t, err)
		require.Len(t, found, 1)
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := march(t).Appointments(ctx, calendar(good))
		require.ErrorIs(t, err, context.Canceled)
	})
}
