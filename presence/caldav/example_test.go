package caldav_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

// A service account reads the calendars of all users, each at a URL that is
// made of the mailbox.
func ExampleNew() {
	monitor, err := caldav.New(caldav.Config{
		URL: "https://calendar.example.com/dav/{user}/calendar/",
		Credentials: func(context.Context, string) (caldav.Credentials, error) {
			return caldav.Credentials{User: "presence", Password: auth.NewSecret([]byte("from a file"))}, nil
		},
		Interval: 2 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	var _ presence.CalendarMonitor = monitor // for presence.Config
}

func ExampleView_Appointments() {
	const calendar = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//EN
BEGIN:VEVENT
UID:review@example.com
DTSTART;TZID=Europe/Berlin:20260320T100000
DTEND;TZID=Europe/Berlin:20260320T110000
RRULE:FREQ=WEEKLY
EXDATE;TZID=Europe/Berlin:20260327T100000
SUMMARY:Review
END:VEVENT
END:VCALENDAR
`
	view := caldav.View{
		From: time.Date(2026, 3, 16, 0, 0, 0, 0, time.UTC),
		To:   time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC),
	}
	appointments, err := view.Appointments(context.Background(), []byte(calendar))
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range appointments {
		fmt.Println(a.From.Format(time.RFC3339), a.End.Sub(a.From), a.State, a.Subject)
	}
	// Output:
	// 2026-03-20T09:00:00Z 1h0m0s busy Review
	// 2026-04-03T08:00:00Z 1h0m0s busy Review
}
