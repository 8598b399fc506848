// Package sipx is the little SIP that the presence library needs, free of any
// particular SIP stack: requests and responses as plain values, addresses, the
// header fields of the event framework, and the three interfaces between a
// presence server and whatever carries its messages.
//
//   - A [Handler] is given requests. The presence server is one.
//   - A [Sender] takes requests and reports their final response.
//   - A [Stack] is both ends on real sockets: it feeds a Handler and is a Sender.
//
// Package sipx/stack is the stack on real sockets, sipx/sipxtest one in memory for
// tests. Module sipx/gosipstack puts a ghettovoice/gosip server on the sockets of the
// former.
//
// # Wiring your own stack
//
// A program that has a SIP stack already can put the presence server on it:
//
//   - Implement [Stack]. The comments on its methods are what it must promise;
//     the example "Wiring your own stack" is a complete one of some 400 lines.
//   - Take what is not about your library from here: [ParseRequest] or
//     [NewRequest] check what came, [Request.Arrived] notes where it came from
//     and says where the answer goes, [Request.TransactionKey] tells
//     retransmissions, [AppendRejection] answers what cannot be parsed,
//     [Request.AppendTo] and [Response.AppendTo] write. Package sipx/dispatch
//     runs handlers in order, bounded, and survives their panics.
//   - Run stacktest.Run on it. It talks to the stack over real sockets, over
//     udp, tcp or both, and tries hostile input, dead hosts, peers that do not
//     read, overload and shutdown.
//
// # What is checked where
//
// A [Request] that reaches a Handler has been checked once, by [NewRequest] or
// [ParseRequest]: it has exactly one From, To, Call-ID and CSeq, the CSeq is of
// its method, its addresses parse, and no field holds a control character.
// Everything else, the presence of Contact or Event say, is the Handler's
// business, because it differs by method.
//
// # What this package is not
//
// It has no transactions, no timers and no sockets; those are a stack's. It
// reads and writes whole messages ([ParseRequest], [Request.AppendTo]) so that
// tests and small stacks need no second parser.
package sipx
