// Package presence is a SIP presence server as a value to embed: give [New] a
// SIP stack, a directory and a guard, and the stack's Serve the [Server].
//
// # What it does
//
// Watchers SUBSCRIBE to the presence of users, one by one or by list; users'
// clients PUBLISH what they do. The server merges that with the states of the
// user's phone lines, calendar and external presence, by a table of rules that
// a host may change ([Config].Rules, [Explain]), into one document, and sends it
// to each watcher when it changes. Both dialects are spoken at once, told from
// each request: that of BluStar clients, and that of the RFCs; all differences
// are fields of [Dialect].
//
// # Where states come from
//
// A host that is told of changes passes them to the [Feed]. One that has to
// watch implements [LineMonitor], [CalendarMonitor] or [ExternalMonitor]; the
// server starts a monitor with the first watcher of a user who has that device
// or mailbox, ends it some time after the last, and lets values fade to unknown
// when a monitor fails: nobody stays "on the phone" because a connection broke.
// Packages presence/dialoginfo, presence/caldav, presence/ews and presence/msgraph are such
// monitors.
//
// # The way of a change
//
// State flows one way. A request, or a source, changes a presentity: a directory
// entry in memory. That makes a new snapshot, with the result of the rules and
// the documents that show it. Each dialog that watches it has a queue; whoever
// finds something due sends it, one NOTIFY of a presentity at a time, so that a
// watcher that is slow or gone holds up nobody, skips what is outdated and ends
// with the newest state (BSX-3).
//
// # Clients
//
// In the BluStar dialect a client is a Contact of a user: it comes with a
// subscription to its own address, or with a PUBLISH. Own is what belongs to the
// authenticated account; where nobody authenticated, to From; where From has no
// entry, the first address that a Contact subscribes to. A client goes with the
// last of its own subscriptions, of which a PC client has two, its address and its
// list, or with a PUBLISH with Expires 0; when it answers nothing that it is sent;
// or when its connection is lost. With the last client of a user the user is
// signed out. A client that only publishes may connect for each PUBLISH, and lives
// until that expires.
//
// # References
//
// § is a section of the BluStar SIMPLE interface description V3.2.1, unless an RFC
// is named. BSP-x.y-n is the n-th requirement that this project reads out of its
// §x.y, BSX-n a requirement of its own; tests cite them by these names.
//
// # Bounds
//
// Everything that grows with what the network sends is bounded by [Config], and
// meeting a bound is an answer: 403, 413, 423 or 503 with Retry-After.
//
// # Concurrency
//
// A [Server] and its [Feed] may be used from any goroutine. Callbacks to the
// host's interfaces come from many, without a lock held, except as they say
// themselves. After [Server.Shutdown] no goroutine of the server is left, and
// what timers are still set do nothing.
package presence
