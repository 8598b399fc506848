package caldav_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWindowsZones: names of Windows are known.
func TestWindowsZones(t *testing.T) {
	winter, summer := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC), time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"W. Europe Standard Time": "Europe/Berlin", "Pacific Standard Time": "America/Los_Angeles", "India Standard Time": "Asia/Kolkata",
		"AUS Eastern Standard Time": "Australia/Sydney", "UTC": "UTC", "utc-11": "Etc/GMT+11", "Line Islands Standard Time": "Pacific/Kiritimati",
	} {
		view := march(t)
		view.From, view.To = winter.AddDate(0, 0, -1), summer.AddDate(0, 0, 1)
		found, err := view.Appointments(t.Context(), vevent(
			"DTSTART;TZID="+name+":20260115T120000", "RDATE;TZID="+name+":20260715T120000", "DURATION:PT1H"))
		require.NoError(t, err, name)
		l := zone(t, want)
		require.Equal(t, []string{
			time.Date(2026, 1, 15, 12, 0, 0, 0, l).UTC().Format("2006-01-02T15:04") + " 1h0m0s",
			time.Date(2026, 7, 15, 12, 0, 0, 0, l).UTC().Format("2006-01-02T15:04") + " 1h0m0s",
		}, times(found), name)
	}
}

func TestZoneNames(t *testing.T) {
	const definition = "BEGIN:VTIMEZONE\r\nTZID:%\r\nBEGIN:STANDARD\r\nDTSTART:20000101T000000\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+013015\r\nEND:STANDARD\r\nEND:VTIMEZONE"
	tests := []struct{ name, want string }{
		{"Europe/Berlin", "09:00"}, // the tz database knows better than an old definition
		{"/freeassociation.sourceforge.net/Tzfile/Europe/Berlin", "09:00"},
		{"/softwarestudio.org/Olson_20011030_5/America/Indiana/Knox", "15:00"},
		{"Head Office", "08:29"},
		{"EST", "08:29"}, // could be anything
		{"../../etc/passwd", "08:29"},
		{"Local", "08:29"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := march(t).Appointments(t.Context(), calendar(strings.ReplaceAll(definition, "%", tt.name),
				"BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID="+tt.name+":20260326T100000\r\nDURATION:PT1H\r\nEND:VEVENT"))
			require.NoError(t, err)
			require.Equal(t, tt.want, found[0].From.Format("15:04"))
		})
	}
	t.Run("short name without a definition", func(t *testing.T) {
		found, err := march(t).Appointments(t.Context(), vevent("DTSTART;TZID=EST:20260326T100000", "DURATION:PT1H"))
		require.NoError(t, err)
		require.Equal(t, "15:00", found[0].From.Format("15:04"))
	})
}

// TestDefinition: a zone with rules, dates and an end of its rules
// (RFC 5545 §3.6.5).
func TestDefinition(t *testing.T) {
	const definition = "BEGIN:VTIMEZONE\r\nTZID:Company\r\n" +
		"BEGIN:STANDARD\r\nDTSTART:20001029T020000\r\nTZOFFSETFROM:-0400\r\nTZOFFSETTO:-0500\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20251026T060000Z\r\nEND:STANDARD\r\n" +
		"BEGIN:DAYLIGHT\r\nDTSTART:20000402T020000\r\nTZOFFSETFROM:-0500\r\nTZOFFSETTO:-0400\r\nRRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20250406T070000Z\r\nRDATE:20260301T020000\r\nEND:DAYLIGHT\r\n" +
		"END:VTIMEZONE"
	view := march(t)
	view.From, view.To = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	found, err := view.Appointments(t.Context(), calendar(definition, "BEGIN:VEVENT\r\nUID:1\r\nDURATION:PT1H\r\n"+
		"DTSTART;TZID=Company:19990701T120000\r\nRDATE;TZID=Company:20250701T120000,20251026T013000,20251026T023000,20260110T120000,20260310T120000,20261215T120000\r\nEND:VEVENT"))
	require.NoError(t, err)
	require.Equal(t, []string{
		"1999-07-01T17:00 1h0m0s", // before the first: the offset that it changes from
		"2025-07-01T16:00 1h0m0s",
		"2025-10-26T05:30 1h0m0s", "2025-10-26T07:30 1h0m0s", // around the change at 06:00
		"2026-01-10T17:00 1h0m0s",
		"2026-03-10T16:00 1h0m0s", "2026-12-15T16:00 1h0m0s", // the last one stays
	}, times(found))

	for _, broken := range []string{
		"BEGIN:VTIMEZONE\r\nTZID:Company\r\nEND:VTIMEZONE",
		strings.Replace(definition, "-0400", "-9900", 1),
		strings.Replace(definition, "-0400", "0400", 1),
		strings.Replace(definition, "DTSTART:2000", "DTSTART:x", 1),
	} {
		found, err := march(t).Appointments(t.Context(), calendar(broken,
			"BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Company:20260326T100000\r\nDURATION:PT1H\r\nEND:VEVENT"))
		require.Error(t, err)
		require.Equal(t, []string{"2026-03-26T09:00 1h0m0s"}, times(found)) // as if floating
	}
}
