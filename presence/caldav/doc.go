// Package caldav reads calendars from a CalDAV server (RFC 4791) and turns
// them into the appointments that a presence server shows.
//
// [Monitor] is a [presence.CalendarMonitor]. For each mailbox it finds the
// calendars, loads what lies in a window around the present, and polls:
//
//	monitor, err := caldav.New(caldav.Config{
//		URL: "https://calendar.example.com/{user}/",
//		Credentials: func(context.Context, string) (caldav.Credentials, error) {
//			return caldav.Credentials{User: "presence", Password: secret}, nil
//		},
//	})
//	…
//	server, err := presence.New(presence.Config{Calendar: monitor, …})
//
// [View] is the part without a network: iCalendar (RFC 5545) in, appointments
// out. Hosts that get their calendars elsewhere use it alone.
//
// # Which calendars
//
// Where one account reads all calendars, the URL names the mailbox, as above, or a
// function of the host finds its calendars. Where each mailbox has credentials of
// its own, neither is needed: its calendars are discovered with them, by way of
// current-user-principal (RFC 5397) and calendar-home-set: every collection there
// that holds events. A URL whose server does not know the principal is tried once
// more at /.well-known/caldav (RFC 6764). Discovery stays on the host of the URL.
// All calendar homes are looked at. It is repeated every hour, so that new calendars
// show up. Of several calendars, one that the server does not let us read, or does not
// have any more, is left out until then, and one that fails is as soon as failing
// polls are not tolerated any more; the others are shown.
//
// # How it polls
//
// Where the server gives a sync-token (RFC 6578), one REPORT asks for what has
// changed since; else the ctag is compared; else the entity tags of what lies
// in the window are listed. Only objects with a new entity tag are fetched.
// Once a day everything is loaded anew, because the window has moved.
//
// Which series have an occurrence in the window is for the server to say (RFC 4791
// §9.9). Xandikos 0.2.8 does not: it leaves out those that began before.
//
// # What counts
//
// Canceled appointments, and invitations that the owner of the mailbox has
// declined or delegated, are left out. X-MICROSOFT-CDO-BUSYSTATUS decides where
// it is present; else TRANSP:TRANSPARENT is free; else STATUS:TENTATIVE, and an
// invitation that is accepted tentatively or not answered yet, is tentative;
// everything else is busy. All of a calendar that its owner has marked
// transparent (RFC 6638 §9.1) is free. CLASS other than PUBLIC is private; the
// texts of private appointments are delivered, and the presence server keeps
// them from others.
//
// # Time zones
//
// A TZID that names a zone of the tz database or of Windows is taken from the
// tz database: definitions that travel with events are as old as the event. Any
// other name is looked up among the VTIMEZONEs of the object. Floating times
// and dates are in the calendar's own zone (calendar-timezone), else in
// [Config.Location]. A host whose system has no tz database imports time/tzdata.
//
// Names that are not quite those of a zone, and can only mean one, are understood:
// another letter case, "GMT Standard Time 1", "(UTC+01:00) Amsterdam, Berlin, Bern",
// "UTC+02:00".
//
// # What is forgiven
//
// EXDATE, RDATE and RECURRENCE-ID of another type or zone than DTSTART are read as
// DTSTART is. EXRULE (RFC 2445) is followed. RSCALE and SKIP of an RRULE (RFC 7529) are
// understood as far as they say what goes without saying; else that is logged. A line
// or component that is not well-formed costs itself.
//
// # Failures
//
// Each value has a lifetime, so that it fades even where the monitor hangs. A
// few failing polls in a row are tolerated ([Config.Failures]); one more, and
// at once a refusal such as a wrong password, ends MonitorCalendar with an
// error. A server that says when to come back (Retry-After) is not asked before.
// A broken object costs itself only, and is logged.
package caldav
