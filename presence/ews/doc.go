// Package ews reads calendars from Exchange Server 2013 SP1 to Subscription Edition
// by Exchange Web Services, and turns them into the appointments that a presence
// server shows. Exchange Online has no such service any more: see Microsoft Graph.
//
// [Monitor] is a [presence.CalendarMonitor]:
//
//	monitor, err := ews.New(ews.Config{
//		URL:         "https://mail.example.com/EWS/Exchange.asmx",
//		Credentials: ews.PasswordFile(`EXAMPLE\presence`, "/run/secrets/exchange"),
//	})
//	…
//	server, err := presence.New(presence.Config{Calendar: monitor, …})
//
// # Rights
//
// One service account reads all calendars. [Config.Access] says how: as the owner of
// each mailbox, who it impersonates, which is the only way to be told of changes at
// once; by its own permission to read each calendar; or with no right at all, by
// what everybody may see of free and busy times.
//
// It signs in by NTLMv2 or by Basic, over TLS. Windows Extended Protection must not
// be "required" for the EWS directory of IIS, because the NTLM here does not bind to
// the TLS connection; Exchange's own setup makes it "allowed".
//
// # How it learns of changes
//
// FindItem with a CalendarView reads a window around the present: the server expands
// series. Each mailbox is subscribed for streaming notifications. Up to 200 share a
// stream: they are a group, whose first mailbox is the anchor. All requests of a
// group carry its address and the affinity cookie, so that they get to the mailbox
// server that has the subscriptions. An event has the calendar read again, half a
// second later, and then at most every second and a half. Without one it is read every
// [Config.Resync].
//
// Where there is no stream, or it has ended and cannot be opened again, calendars
// are read every [Config.Interval]. Requests are spread, [Limits.Rate] a second at
// most, so that neither the start of many nor the end of an outage is a storm.
//
// # What counts
//
// Canceled appointments, those that the owner has declined, and those that take no
// time are left out. LegacyFreeBusyStatus is the state; what it does not name is
// unknown. Whatever Sensitivity is neither normal nor personal is private; the texts
// of private appointments are delivered, and the presence server keeps them from
// others. An online meeting without a location is shown at [Config.OnlineLocation].
//
// What owners say of being out of office is shown where [Config.OutOfOffice] says so:
// one more appointment, in the state "out of office". The default rules of the
// presence server do not make a status of that state; a rule of the host can.
//
// # Autodiscover
//
// Without a URL, the server of each mailbox is looked for by autodiscover (POX): at
// the domain of the address, at autodiscover.DOMAIN, where a redirection of that host
// without TLS leads, and where the SRV record _autodiscover._tcp leads. Credentials go
// only by https, and only to hosts of the domains in [Config.Autodiscover]. What was
// found is used for a day, or until the mailbox is not there any more.
//
// # Failures
//
// Each value has a lifetime, so that it fades even where the monitor hangs. A few
// failing polls in a row are tolerated ([Config.Failures]); one more, and at once a
// refusal, ends MonitorCalendar with an error. An answer that is not one of EWS is
// never an empty calendar.
//
// A mailbox that the server asks to leave alone is left alone, and so is a server
// that does not answer, by all mailboxes. Credentials that no server has accepted yet
// are tried by one request at a time, and what was refused is not sent again before
// [Config.RefusedPause].
package ews
