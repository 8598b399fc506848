// Package gosipstack puts a gosip.Server (github.com/ghettovoice/gosip) on the
// sockets of a [stack.Stack]: calls and presence live on the same ports.
//
//	sip, err := stack.Listen(stack.Config{
//		Listen: []string{"udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"},
//	})
//	…
//	calls := gosipstack.NewServer(sip, gosip.ServerConfig{Host: "192.0.2.1"}, nil, nil)
//	calls.OnRequest(sip.INVITE, handleInvite)
//	…
//	go sip.Serve(ctx, presenceServer)
//
// It is a module of its own, so that nobody else depends on gosip. It uses nothing
// but what is public in package stack: [stack.Stack.Tap] and [stack.Stack.Write].
//
// # What is gosip's, and what is not
//
// What [NewServer] returns is an ordinary gosip.Server with its own transactions.
// gosip's transports are not used. They hand malformed messages to nobody, so that
// clients retransmit for 32 seconds; block whoever sends to a peer that does not
// read; find connections by address and tell nobody of their loss; and write whole
// messages, credentials included, to the debug log.
//
// gosip sends a request before it knows its transaction, and loses a response that
// is quicker than that: such responses are held back for it.
//
// # Weaknesses of gosip that remain visible
//
// The gosip.Server starts a goroutine for each of its requests and one for each
// transaction, and loses their order. That is between it and its handlers: presence
// traffic does not pass there. Messages for it wait in a bounded queue, and are
// dropped beyond, so that it cannot hold up the presence server.
package gosipstack
