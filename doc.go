// Package blustar is the root of an embeddable presence server for BluStar
// clients (Mitel/Aastra "BluStar Presence Server SIMPLE Interface", V3.2.1), and
// for any other client that speaks SIP presence (RFC 3856, 3903, 4662, 6665).
//
// Clients SUBSCRIBE and PUBLISH over SIP. The server finds users in a directory,
// merges what they publish with their phone lines, calendar and external
// presence into one document, and NOTIFYs every watcher. It is a set of
// packages; this one holds no code.
//
//	presence                  the server: subscriptions, publications, consolidation, notifications
//	presence/client           the other end: a BluStar client for gateways, tests and terminals
//	presence/dialoginfo       line states from any PBX that offers BLF (RFC 4235)
//	presence/caldav           appointments from CalDAV calendars
//	presence/ews              appointments from Exchange on premises
//	presence/msgraph          appointments from Exchange Online, presence from Teams (Microsoft Graph)
//	pidf                      presence documents, resource lists; pidf/aa: the vendor's elements
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
// Imports go one way: presence imports pidf, sipx, auth and directory, which know
// nothing of each other nor of presence, and each is useful alone. Adapters to
// stacks and directories live in packages of their own, so that importing
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
// # References
//
// § is a section of the BluStar SIMPLE interface description V3.2.1, unless an RFC
// is named. BSP-x.y-n is the n-th requirement that this project reads out of its
// §x.y, BSX-n a requirement of its own; tests cite them by these names.
package blustar
