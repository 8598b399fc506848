// Package gosipstack is a [sipx.Stack] for programs that use
// github.com/ghettovoice/gosip: the presence server and a gosip.Server live on
// the same ports.
//
//	stack, err := gosipstack.Listen(gosipstack.Config{
//		Listen: []string{"udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"},
//	})
//	…
//	calls := stack.NewServer(gosip.ServerConfig{Host: "192.0.2.1"}, nil, logger)
//	calls.OnRequest(sip.INVITE, handleInvite)
//	…
//	go stack.Serve(ctx, presenceServer)
//
// It is a module of its own, so that nobody else depends on gosip. A program
// that does not use gosip is better off with package sipgostack.
//
// # What is gosip's, and what is not
//
// Requests that the stack sends run in gosip's client transactions (timers E
// and F of RFC 3261 §17.1.2). What [Stack.NewServer] returns is an ordinary
// gosip.Server with its own transactions; it gets whatever is not for the
// presence server. Sockets, framing, order and bounds are those of
// sipx/sipgostack.
//
// gosip sends a request before it knows its transaction, and loses a response
// that is quicker than that: such responses are held back for it.
//
// gosip's own transports are not used. They hand malformed messages to nobody,
// so that clients retransmit for 32 seconds; block whoever sends to a peer that
// does not read; find connections by address and tell nobody of their loss; and
// write whole messages, credentials included, to the debug log.
//
// # Weaknesses of gosip that remain visible
//
//   - A client transaction weighs about 10 KB and its state machine is built
//     anew for each: see the benchmarks for what a NOTIFY costs, compared to
//     sipgostack.
//   - Ending a transaction before its final response races with its timers and
//     can panic (a timer that fires finds itself nil). The stack never does
//     that: a request whose context ends is forgotten, while its transaction
//     stays until timer F, up to 32 seconds, sending nothing. So it is with
//     requests under way when Shutdown's context ends.
//   - gosip's timers are constants; [Config.TransactionTimeout] only shortens
//     the wait.
//   - The gosip.Server starts a goroutine for each of its requests and one for
//     each transaction, and loses their order. That is between it and its
//     handlers: presence traffic does not pass there. Messages for it wait in a
//     bounded queue, and are dropped beyond, so that it cannot hold up the
//     presence server.
package gosipstack
