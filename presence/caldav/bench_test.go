package caldav_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

// BenchmarkPoll is the first poll of a mailbox, which reads all of its objects.
func BenchmarkPoll(b *testing.B) {
	for name, fill := range map[string]func(*dav){
		"1000 weekly": func(d *dav) {
			for i := range 1000 {
				d.put(fmt.Sprint(i), at(fmt.Sprint(i), time.Hour, "RRULE:FREQ=WEEKLY"))
			}
		},
		"150 hostile":  func(d *dav) { hostile(d, 150) },
		"5000 hostile": func(d *dav) { hostile(d, 5000) },
	} {
		b.Run(name, func(b *testing.B) {
			d := newDAV()
			fill(d)
			m, err := caldav.New(config(d))
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithCancel(b.Context())
				_ = m.MonitorCalendar(ctx, "tom.hanks@example.com", func(presence.CalendarState) { cancel() })
			}
		})
	}
}

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
