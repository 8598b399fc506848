// Package msgraph reads calendars of Exchange Online and presence of Teams, by way of Microsoft
// Graph, for a presence server to show; and, where the host wants it, it shows in Teams who speaks
// on a line of the PBX.
//
//	app, err := msgraph.New(msgraph.Config{
//		Tenant: "contoso.example", ClientID: "22553876-f5ab-4529-bffb-cfe50aa89f87", SecretFile: "graph.secret",
//	})
//	…
//	calendar, err := app.NewCalendar(msgraph.CalendarConfig{})
//	teams, err := app.NewTeams(msgraph.TeamsConfig{})
//	…
//	server, err := presence.New(presence.Config{Calendar: calendar, External: teams, …})
//
// # The application
//
// An [App] is an application that an administrator has registered in the tenant, with a client
// secret or a certificate, and these application permissions:
//
//	Calendars.Read             a Calendar that reads calendars; Calendars.ReadBasic for one that asks for schedules
//	Presence.Read.All          Teams; Presence.ReadWrite.All where lines are written too
//	User.ReadBasic.All         Teams, to find users by their mail addresses; a Calendar, where these are no sign-in names
//
// One access token serves all. It is asked for anew some minutes before its end. The secret, or
// certificate and key, are read from their files each time. Credentials that were refused are left
// alone for [Config.RefusedPause], unless the files have changed.
//
// National clouds have services of their own:
//
//	                    Login                                   Graph
//	global, GCC         https://login.microsoftonline.com       https://graph.microsoft.com
//	US Government L4    https://login.microsoftonline.us        https://graph.microsoft.us
//	US Government L5    https://login.microsoftonline.us        https://dod-graph.microsoft.us
//	China (21Vianet)    https://login.chinacloudapi.cn          https://microsoftgraph.chinacloudapi.cn
//
// That of China has no presence.
//
// # Calendars
//
// A [Calendar] polls the calendar view of each mailbox, in which the server has expanded the
// series: that gives every occurrence with all that is shown of it, and a mailbox of a usual size
// in one request. Changes are not tracked by delta queries, whose occurrences come without subject,
// sensitivity and state. Requests begin one after the other, [CalendarConfig.Rate] in a second at
// most, so that neither a start nor the end of an outage is a storm.
//
// With [CalendarConfig.Schedules] it asks for free and busy times instead, of 20 mailboxes at a
// time. That needs the least of permissions. What it shows of an appointment is what the owner lets
// others see.
//
// Canceled appointments and those that the owner has declined are left out. Who works elsewhere is
// free. What is neither normal nor personal is private. Whole days, which Graph writes as midnight
// in UTC, begin at the midnight of the zone in which they were made, else of
// [CalendarConfig.Location].
//
// # Teams
//
// [Teams] reads all users who are watched with one request for each 650 of them, every
// [TeamsConfig.Interval]. A table of [Row] says what their availability and activity mean: that is
// data, and a host may bring its own. A call is [OnThePhone] as telephone event. Who is offline, or
// unknown to Teams, says nothing, so that a user without Teams is what the other sources say. An
// answer that is older than one that was taken is dropped: its sequence number tells. While Graph
// does not answer, the last value fades after [TeamsConfig.Lifetime].
//
// A user is found by the mail address of the directory entry, as principal name or as a mail
// address; that is remembered for a day, and for an hour that there is none.
//
// # Lines in Teams
//
// A [Writer] shows in Teams who speaks on a line of the PBX. [Writer.Monitors] has it told by the
// monitors of a presence server:
//
//	writer, err := teams.NewWriter(msgraph.WriterConfig{})
//	…
//	lines, external := writer.Monitors(pbx)
//	server, err := presence.New(presence.Config{Lines: lines, External: external, …})
//	…
//	err = writer.Serve(ctx)
//
// What is written comes back when Teams is read, and is not taken for a call of the user. So a call
// of Teams that begins within half a minute after one of the PBX shows a little later.
//
// # Failures
//
// Whom Graph tells when to come back (Retry-After) waits for that long: a mailbox alone for its
// calendar, all for presence, schedules and the search for users. Other failures are tried again
// with growing pauses. An answer that is not the JSON that was asked for is an error, and never an
// empty calendar. Neither secrets nor tokens, nor the texts of answers, are in errors or logs.
package msgraph
