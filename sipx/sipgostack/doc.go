// Package sipgostack is the default [sipx.Stack], on github.com/emiago/sipgo.
//
//	stack, err := sipgostack.Listen(sipgostack.Config{
//		Listen: []string{"udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"},
//	})
//	…
//	go stack.Serve(ctx, handler)
//	…
//	stack.Shutdown(ctx)
//
// [Config] documents every bound and its default; its zero value listens nowhere.
//
// # What is sipgo's, and what is not
//
// The transactions are sipgo's: its client state machine with timers E and F
// runs every request that is sent, its server state machine with timers G, H and
// I every INVITE that came by datagram (RFC 3261 §17). Sockets, framing, order
// and bounds are this package's, because sipgo's own layers make promises of
// [sipx.Stack] impossible to keep:
//
//   - its UDP transport refuses messages of more than 1300 bytes, which most
//     NOTIFYs of a presence server are, and the limit is a package variable;
//   - it starts a goroutine for each message, which loses their order and has no
//     bound;
//   - it drops what its parser does not take, so that a client retransmits for
//     32 seconds instead of being told 400;
//   - it finds connections by address, not by identity, and a peer that does not
//     read blocks whoever sends to it;
//   - it keeps every answered request as a whole transaction for 32 seconds,
//     where the answer alone is enough to absorb retransmissions.
//
// Nothing here changes a package variable of sipgo. Those of its timers that a
// program changes itself (sip.SetTimers) apply to this package too.
//
// # Order
//
// Requests of one sender (one From address over one connection or from one
// datagram address) are handled one after another as they came. Requests that
// are sent leave in the order of the calls to Send for each connection, each
// datagram address and each host name.
//
// # Bad days
//
// What cannot be parsed is answered 400 where an answer is possible. When more
// requests wait than [Config] allows, new ones are answered 503 with Retry-After,
// while a quarter of the room stays free for requests that keep or end what is
// there: those in a dialog, and those with SIP-If-Match. No source fills
// more than half of the room. A peer that does not read has its connection
// closed after [Config.WriteTimeout]; until then it costs its own queue only.
package sipgostack
