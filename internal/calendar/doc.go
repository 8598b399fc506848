// Package calendar is what the calendar monitors have in common, whichever server
// they ask: caldav, ews, msgraph.
//
// A monitor knows its protocol. It has a function that reads one mailbox once and
// returns the appointments that it found. The rest is here:
//
//	poller := calendar.NewPoller(calendar.Polling{Interval: time.Minute, …})
//
//	func (m *Monitor) MonitorCalendar(ctx context.Context, mail string, update func(presence.CalendarState)) error {
//		return m.poller.Watch(ctx, mail, nil, update, func(ctx context.Context, w calendar.Window) ([]aa.Appointment, error) {
//			return m.read(ctx, mail, w)
//		})
//	}
//
// # Watching
//
// [Poller.Watch] calls that function at intervals, and at once where somebody wakes
// it. It bounds how many mailboxes are read at once and how long each may take, and
// hands on what lies in the moving [Window], in order and bounded, with a lifetime.
//
// An error may say what follows from it. After a plain one the mailbox is read again
// as often as failures are tolerated. [Later] says when the server wants to be asked
// again; Watch waits, and no wake makes that shorter. [Final] says that asking again
// soon is pointless: Watch returns it, and returns it again for a while without
// asking, because who calls it does so again and again.
//
// [Refusals] remembers credentials that a server refused, so that they are not sent
// for each mailbox: servers lock accounts.
//
// # Reading
//
// [State] and [Private] read the words that Exchange, Microsoft Graph and Outlook's
// iCalendar have for the same things. [Text] and [ID] bound what is shown. [Zones]
// finds a time zone by the many names that it goes by, and [Instant] is when its
// clock shows a time: use it for dates of whole days.
//
// Package calendartest has the behavior that each monitor must show, as tests.
package calendar
