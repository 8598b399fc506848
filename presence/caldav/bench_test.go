package caldav_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkAppointments(b *testing.B) {
	mixed, err := os.ReadFile("testdata/mixed.ics")
	require.NoError(b, err)
	var feed []string
	for i := range 500 {
		feed = append(feed, fmt.Sprintf("BEGIN:VEVENT\r\nUID:%d\r\nDTSTART;TZID=Europe/Berlin:20260102T090000\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;BYDAY=FR\r\nSUMMARY:x\r\nEND:VEVENT", i))
	}
	const start = "DTSTART;TZID=Europe/Berlin:20050103T090000"
	for _, bb := range []struct {
		name string
		data []byte
	}{
		{"single", vevent("DTSTART:20260326T090000Z", "DURATION:PT1H", "SUMMARY:x")},
		{"weekly for 20 years", vevent(start, "DURATION:PT1H", "RRULE:FREQ=WEEKLY")},
		{"daily with a count", vevent(start, "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=10000")},
		{"monthly for 20 years", vevent(start, "DURATION:PT1H", "RRULE:FREQ=MONTHLY;BYDAY=1MO")},
		{"never", vevent(start, "DURATION:PT1H", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")},
		{"every second", vevent(start, "DURATION:PT1S", "RRULE:FREQ=SECONDLY;COUNT=2000000000")},
		{"large attachment", vevent("DTSTART:20260326T090000Z", "DURATION:PT1H", "ATTACH;ENCODING=BASE64;VALUE=BINARY:"+strings.Repeat("x", 900_000))},
		{"mixed with a zone", mixed},
		{"500 weekly events", calendar(feed...)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			view := march(b)
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.data)))
			for b.Loop() {
				_, _ = view.Appointments(b.Context(), bb.data)
			}
		})
	}
}
