// Package presence is a SIP presence server as a value to embed: give [New] a
// SIP stack, a directory and a guard, and let the stack's Serve call the [Server].
//
// # What it does
//
// Watchers SUBSCRIBE to the presence of users, one by one or by list. The clients of
// users PUBLISH what the users do. The server merges that with the states of the users'
// phone lines, calendars and external presence into one document. A table of rules says
// how, and a host may change it ([Config].Rules, [Server.Explain]). The server sends the
// document to each watcher, and again when it has changed. It speaks both dialects at
// once, that of BluStar clients and that of the RFCs. Each request tells which one it
// is. All differences are fields of [Dialect].
//
// # Words
//
// The documentation of this package and of its rooms uses these words with these
// meanings only.
//
//   - entry: what the directory says about a user: addresses, account, lines, mailbox.
//   - user: the person that an entry describes.
//   - presentity: an entry in memory, with what is known about its user. It is what can
//     be watched (RFC 2778 §2.1).
//   - pending address: an address without an entry, because the directory has none or did
//     not answer. It can be watched too; the document says "unknown".
//   - watcher: who subscribes.
//   - dialog: one subscription of a watcher (RFC 6665): from its first SUBSCRIBE to its
//     last NOTIFY.
//   - watch: one resource in a dialog: the only one, or one of a list.
//   - resource: what a watch watches: a presentity, who watches a presentity, or a
//     pending address.
//   - view: how a watch sees its resource: how much of it, and in which dialect.
//   - client: a BluStar endpoint of a user, known by its Contact.
//   - own: what belongs to the user of the authenticated account; see Clients.
//   - contribution: one thing that was published: a publication with its entity-tag, or
//     a forwarding.
//   - source: a line, a calendar or an external user, with its newest value.
//   - monitor: what watches a source for the server.
//   - state: everything that contributions, clients and sources say about a user.
//   - result: what the rules make of a state: a status and a note.
//   - snapshot: a state and its result at one moment. It never changes.
//
// # Rooms
//
// Four packages do most of the work, and each can be used alone: presence/subscription
// has the dialogs and their NOTIFYs, presence/publication the contributions,
// presence/source the sources, and presence/consolidation the rules. They know nothing
// of each other, nor of this package, which connects them. Here is what only BluStar
// needs: clients, presentities, the dialects, and what SUBSCRIBE and PUBLISH mean.
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
// State flows one way. A request or a source changes what is known about a presentity.
// The server makes a new snapshot. Each dialog with a watch whose view shows something
// else puts that watch into its queue, and one goroutine at a time empties the queue of
// a dialog. So a watcher that is slow or gone holds up nobody, skips what is outdated,
// and ends with the newest state. The documentation of the module's root package
// follows one PUBLISH on this way.
//
// # Clients
//
// In the BluStar dialect a client is a Contact of a user. It begins with a subscription
// to its own address or with a PUBLISH. An address is a client's own if it belongs to
// the authenticated account. Where nobody was authenticated, that of From counts.
// Where From has no entry, the first address counts that the Contact subscribes to.
//
// A client ends with the last of its own subscriptions. A PC client has two of these:
// to its address, and to its list. It also ends with a PUBLISH with Expires 0, when it
// does not answer what it is sent, and when its connection is lost. A user whose last
// client has ended is signed out. A client that only publishes may open a connection
// for each PUBLISH, and lives until its publication expires.
//
// # Restarts
//
// With a [Store] everything that was acknowledged outlives the process: dialogs,
// clients, publications, forwardings, values of sources, sessions of the guard.
// [Server.Restore] reads it before the first request. Watchers notice nothing: they
// get a NOTIFY where their document has changed meanwhile, or where their answer to the
// last one did not come in time to be stored, with a CSeq above those before. Who came
// over a connection is waited for as long as [Config].Grace. What was acknowledged within
// [Config].StoreSync before a kill or a power cut may be lost; with StoreAlways nothing is,
// and nobody is shown what a crash could take back. A store that fails stops nothing: it
// is in [Stats] and in the log, and Shutdown ends the subscriptions as it does without
// one.
//
// # References
//
// § is a section of the BluStar SIMPLE interface description V3.2.1, unless an RFC
// is named.
//
// # Bounds
//
// Everything that grows with what the network sends is bounded by [Config], and
// meeting a bound is an answer: 403, 413, 423 or 503 with Retry-After.
//
// # Concurrency
//
// A [Server] and its [Feed] may be used from any goroutine. The host's interfaces are
// called from many goroutines at once. What a call of the host may wait for, holds up
// the request or the user that needs it, and nothing else, unless the documentation of
// the interface says otherwise. After [Server.Shutdown] no goroutine of the server is
// left.
package presence

// The files, in layers: each uses only what stands to its right, or below. A test holds that.
//
//	new shutdown inspect feed follow serve      a server, as its host and the network see it
//	subscribe list publish encoding             the verbs
//	copies heir restore written                 what is kept, and comes back after a restart or from another node
//	pending pass access forwarding              who asks, and what has to wait
//	guards policy departure monitors            what follows: for a view, the end of a client, a source
//	winfo cluster request presentity clients    what there is
//	snapshot original sources                   what is known of a user
//	journal batch bundles                       what has changed, on its way to the store
//	records flat lookup config dialect server   what all parts share
//	host store names                            what a host implements; how addresses and accounts are written
//
// There are two exceptions. The Server names its parts, and they know the Server. A presentity has its watcher
// information, which knows the presentity.
