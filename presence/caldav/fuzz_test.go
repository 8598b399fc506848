package caldav_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// FuzzAppointments: whatever is read, what comes out is bounded, in view, and
// fit to be shown; and the same input gives the same output.
func FuzzAppointments(f *testing.F) {
	files, err := filepath.Glob("testdata/*.ics")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, rule := range []string{
		"FREQ=MONTHLY;BYDAY=-1FR", "FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "FREQ=YEARLY;BYWEEKNO=53,-1,1;WKST=SU", "FREQ=YEARLY;BYDAY=53MO;BYMONTH=12",
		"FREQ=DAILY;BYSETPOS=-1;BYHOUR=1,2;UNTIL=20260401", "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10",
	} {
		f.Add(vevent("DTSTART;TZID=Europe/Berlin:20260102T090000", "DTEND;TZID=Europe/Berlin:20260102T100000", "RRULE:"+rule, "EXDATE;VALUE=DATE:20260326"))
	}
	f.Add(vevent(`DTSTART;X="a"b:20260102T090000`, "A;B=C"))
	view := march(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		began := time.Now()
		found, err := view.Appointments(t.Context(), data)
		require.Less(t, time.Since(began), time.Minute)
		require.LessOrEqual(t, len(found), 1000)
		for _, a := range found {
			require.NotEmpty(t, a.ID)
			require.LessOrEqual(t, len(a.ID)+len(a.Subject)+len(a.Location), 255+2*256)
			require.True(t, a.End.After(a.From))
			require.True(t, a.End.After(view.From) && a.From.Before(view.To))
		}
		again, errAgain := view.Appointments(t.Context(), data)
		require.Equal(t, err == nil, errAgain == nil)
		require.Equal(t, found, again)
		if err == nil && len(found) > 0 {
			p := pidf.Presence{Entity: "sip:tom@example.com", Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{Calendar: found})}}}
			_, err := aa.Decode(p.Append(nil, pidf.BluStarDialect))
			require.NoError(t, err) // what is shown can be read
		}
	})
}
