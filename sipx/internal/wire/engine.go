// Package wire is what the stacks on real sockets share: sockets, connections,
// framing, routing, order, bounds, and the absorbing of retransmissions. The
// state machines of transactions come from a SIP library, by an [Engine].
package wire

import "time"

// Engine runs transactions. Its methods are called from any goroutine.
type Engine interface {
	// Client starts the transaction of a request that is about to be sent over
	// transport ("udp", …). The first transmission is the caller's: until then
	// the party's Write does nothing, so that no response finds a transaction
	// without its timers.
	Client(transport, method, branch string, p ClientParty) Client

	// Invite starts the transaction of an INVITE that came by datagram. It may
	// return nil: then the answer is repeated only when the INVITE is.
	Invite(key string, p ServerParty) Invite

	// Timeout is how long a client transaction waits for its final response:
	// timer F of RFC 3261 §17.1.2.2. Answers are kept for as long (timer J).
	Timeout() time.Duration

	// Close is called when all transactions have been ended.
	Close()
}

// ClientParty is whose transaction it is.
type ClientParty interface {
	Write() error  // sends the request again
	End(err error) // the transaction ended without a response: sipx.ErrTimeout, or what Write returned
}

// Client is a client transaction.
type Client interface {
	// Provisional tells of a response below 200. It may have work done on a
	// goroutine of spawn, which reports false where that is not possible.
	Provisional(status int, spawn func(func()) bool)
	// Terminate ends the transaction; status is the final response, or 0 where
	// none came. It is called at most once, and may be called by End.
	Terminate(status int)
}

// ServerParty is whose transaction it is.
type ServerParty interface {
	Write(status int) error // sends the answer, or the 100 that goes before it
	End()                   // the transaction ended
}

// Invite is an INVITE server transaction.
type Invite interface {
	Respond(status int) error // sends the final answer, until the ACK
	Again(method string)      // the INVITE came again, or the ACK
	Terminate()
}
