// Package stack is the [sipx.Stack] on real sockets: UDP, TCP, TLS, WS and WSS, and
// the non-INVITE transactions of RFC 3261 §17, without any SIP library.
//
//	s, err := stack.Listen(stack.Config{
//		Listen: []string{"udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"},
//	})
//	…
//	go s.Serve(ctx, handler)
//	…
//	s.Shutdown(ctx)
//
// [Config] documents every bound and its default; its zero value listens nowhere.
// [Stack.Stats] tells how the stack is doing.
//
// # Order
//
// Requests of one sender (one From address over one connection or from one
// datagram address) are handled one after another as they came. Requests that
// are sent leave in the order of the calls to Send for each connection, each
// datagram address and each host name.
//
// # Transactions
//
// A request that is sent over UDP is repeated after 0.5, 1, 2 and then every 4
// seconds (timer E of RFC 3261 §17.1.2.2) until its response comes or
// [Config].TransactionTimeout is over (timer F). One that came over UDP is known for
// 32 seconds (timer J) and answered again when it comes again. The time for which
// the process is stopped or gets no processor does not count: what waits in the
// sockets is read before a timer ends.
//
// An INVITE is answered 405, once for each time that it comes, and nothing of it is
// kept. A copy of a request that came another way is answered 482 (§8.2.2.2).
//
// Of the response that accepts a NOTIFY only the status is read.
//
// # Bad days
//
// What cannot be parsed is answered 400 where an answer is possible. When more
// requests wait than [Config] allows, new ones are answered 503 with Retry-After,
// while a quarter of the room stays free for requests that keep or end what is
// there: those in a dialog, and those with SIP-If-Match.
//
// No source fills more than half of the room for requests, nor has more than half
// of the connections; no host has more than an eighth of the requests under way. An
// IPv6 source is the first 64 bits of its address. A connection over which no
// request was accepted is closed when it is silent for [Config].ReadTimeout, and
// yields where there is no room for another one. At most 32 host names are looked
// up at a time.
//
// A peer that does not read has its connection closed after [Config].WriteTimeout;
// until then it costs its own queue only.
//
// # Another SIP library on the same sockets
//
// A [Tap] takes the messages that are not for the presence server, and
// [Stack.Write] sends those of the other library. Module sipx/gosipstack is a
// gosip.Server made so.
package stack
