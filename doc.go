// Package blustar is the root of an embeddable presence server for BluStar
// clients (Mitel/Aastra "BluStar Presence Server SIMPLE Interface", V3.2.1), and
// for any other client that speaks SIP presence (RFC 3856, 3903, 4662, 6665).
//
// Clients SUBSCRIBE and PUBLISH over SIP. The server finds users in a directory,
// merges what they publish with their phone lines, calendar and external
// presence into one document, and NOTIFYs every watcher. It is a set of
// packages; this one holds no code.
//
//	presence                  the server
//	presence/subscription     its rooms, each useful alone: dialogs and NOTIFYs of any event package
//	presence/publication      … what clients publish, by entity-tag
//	presence/source           … values of lines, calendars and the like, and their monitors
//	presence/consolidation    … the rules that make one status of it all
//	presence/console          an http.Handler for operators: JSON API, event stream, live page
//	presence/promstats        metrics for Prometheus
//	presence/client           the other end: a BluStar client for gateways, tests and terminals
//	presence/dialoginfo       line states from any PBX that offers BLF (RFC 4235)
//	presence/caldav           appointments from CalDAV calendars
//	presence/ews              appointments from Exchange on premises
//	presence/msgraph          appointments from Exchange Online, presence from Teams (Microsoft Graph)
//	presence/boltstore        state in a file, so that a restart is not noticed
//	presence/natsstore        … and on NATS, shared by several machines (a module of its own)
//	pidf                      presence documents; pidf/aa: the vendor's elements
//	pidf/resourcelists, …     lists, and what goes with their states: pidf/rlmi, pidf/related, pidf/watcherinfo
//	auth                      X-BSS-auth challenge, credential ciphers, sessions, throttling, Digest
//	directory                 who is this address? in memory, from a file
//	directory/ldapdir         … and from LDAP and Active Directory, with its passwords
//	sipx                      the little SIP that all of this needs, free of any stack
//	sipx/stack                the stack: udp, tcp, tls, ws, wss; no SIP library
//	sipx/gosipstack           a gosip.Server on its sockets (a module of its own)
//	sipx/dispatch             for a stack of a host's own: handlers in order and bounded
//	…test                     tests for a host's own stack, directory and store; SIP in memory
//	examples/…                programs to run and to copy from
//
// Adapters to stacks and directories live in packages of their own, so that importing
// presence pulls in none of them.
//
// A server is put together in a few lines:
//
//	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"}})
//	users, err := directory.LoadUsers("users.json")
//	accounts, err := auth.LoadAccounts("accounts.json")
//	guard, err := auth.New(auth.Config{Verifier: accounts})
//	server, err := presence.New(presence.Config{
//		Sender: sip, Directory: users, Guard: guard, Domains: []string{"example.com"},
//	})
//	err = sip.Serve(ctx, server)
//
// The example of package presence is the same as a tested program. A day in the
// life of such a server is shown by
//
//	go run ./examples/quickstart
//
// # Architecture
//
// The packages lie in layers, and imports point down only. Tests hold that.
//
//	presence/client, presence/dialoginfo, caldav, ews, msgraph, boltstore
//	presence
//	presence/subscription   presence/publication   presence/source   presence/consolidation
//	sipx   pidf   auth   directory
//
// The four in the bottom layer know nothing of each other. The four rooms above them know
// nothing of each other, nor of presence. Each is useful alone:
//
//   - presence/subscription has the dialogs: who watches what, which NOTIFY is due, and
//     what an unanswered one means (RFC 6665). It knows no event package.
//   - presence/publication has what was published, by entity-tag (RFC 3903).
//   - presence/source has the values of lines, calendars and external users, and runs the
//     monitors that find them out.
//   - presence/consolidation has the rules that make one status of all that: pure functions.
//
// Package presence connects them and adds what only BluStar needs. Its glossary says what
// the words mean, and its Server says in which order locks are taken.
//
// Three things carry the design. A snapshot is what is known of a user at one moment, with
// the result of the rules; it never changes, so that any number of NOTIFYs can be made of
// it. A dialog has a queue of what is due, not of messages: what is outdated is never sent.
// A deadline queue has all that expires.
//
// Who may block: a handler may, as it runs on a goroutine of its lane. What runs where the
// network is read must not: the outcome of a request, and the end of a connection. What
// they start that may take a while, as the end of a client, goes to a worker. The host is
// called without a lock, with the exceptions that the documentation of presence names.
//
// # From a PUBLISH to its NOTIFYs
//
// A BluStar client, signed in, publishes "busy" with its entity-tag.
//
//  1. sipx/stack reads and parses the request on the goroutine of the socket, and hands it
//     to the lane of its sender. That is the only hand-off before the NOTIFYs.
//  2. Server.ServeSIP (presence/serve.go) screens the request, and publish
//     (presence/publish.go) tells the dialect, asks the guard who it is, and looks the user
//     up in the directory.
//  3. The presentity of the user is pinned: it stays in memory for the request.
//  4. The document is read, and publication.Store.Publish makes the contribution, if the
//     entity-tag matches. What the client can do is noted with the client.
//  5. presentity.renew gathers the state from contributions, clients and sources, has the
//     rules judge it, and puts a new snapshot in place. For each view it compares the
//     document with that of the snapshot before. Whose view changed is due.
//  6. The 200 leaves.
//  7. subscription.Notify puts each watch that is due into the queue of its dialog. The same
//     goroutine empties the queue, unless another one is at it: it takes the newest
//     snapshot, writes the document, which watches with the same view share, and hands the
//     NOTIFY to the stack. Where a NOTIFY of this watch is under way, its outcome goes on
//     instead.
//  8. The stack has a queue for each socket. The answer to the NOTIFY comes to the dialog
//     (subscription/outcome.go) on the goroutine of the socket: it sends what has become due
//     meanwhile, pauses the dialog, or gives it to the worker that ends it.
//
// From step 2 to step 6 presence and its rooms take seven locks, none of them for longer
// than a look into a table. Guard and directory have their own. In step 7 it is three for
// each watch, with the outcome of its NOTIFY, and a fourth where watches share the
// document.
//
// # References
//
// § is a section of the BluStar SIMPLE interface description V3.2.1, unless an RFC
// is named. Tests and comments inside the packages cite the requirements that this project
// reads out of it: BSP-x.y-n is the n-th of §x.y, BSX-n is one of its own.
package blustar
