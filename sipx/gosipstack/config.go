package gosipstack

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Config sets up a [Stack]. A field left zero takes its default; Listen has
// none.
type Config struct {
	// Listen says where to listen: "udp:192.0.2.1:5060". The transports are
	// udp, tcp, tls, ws and wss. Port 0 takes a free port, which
	// Stack.Listening tells. An empty host listens on all addresses. Datagrams
	// are sent from the udp sockets given here.
	Listen []string

	// TLS is for tls and wss: certificates to listen with, roots to check peers
	// by where the stack connects. Required where Listen has one of the two.
	TLS *tls.Config

	// Advertise is where peers reach the stack, where its sockets do not know
	// better (address translation, containers): "sip.example.com" or
	// "198.51.100.7:5060" for all transports, "tcp:198.51.100.7:5070" for one.
	// Without it, the address of the socket, and for a socket on all
	// addresses the one that the way to the peer starts from.
	Advertise []string

	// Logger takes what operators should know. Nothing is logged if nil. Header
	// fields and bodies are never logged.
	Logger *slog.Logger

	// MaxHandlers bounds the requests that are handled at once; 256.
	MaxHandlers int
	// MaxWaiting bounds the requests that wait to be handled; 4096.
	MaxWaiting int
	// MaxMessage bounds a message in bytes, 256 KiB; a larger one over a
	// connection is answered 413. A datagram cannot have more than 64 KiB.
	MaxMessage int
	// MaxConnections bounds the open connections; 16,384. More are closed at
	// once. Those that the stack opens are half of them at most.
	MaxConnections int
	// MaxPending bounds the requests sent that wait for a response; 131,072.
	// Beyond, Send fails with sipx.ErrQueueFull.
	MaxPending int
	// MaxAnswers bounds how many answers are kept to absorb retransmissions
	// over udp; 262,144, and as many KiB. Beyond, the oldest is forgotten early.
	// Each takes about half a KiB for 32 seconds.
	MaxAnswers int
	// SendQueue bounds the messages that wait for one connection or one host
	// name; 4096, and 4 MiB. Beyond, Send fails with sipx.ErrQueueFull, and a response
	// closes the connection.
	SendQueue int
	// SourceRate bounds the requests per second from one IP address, with bursts
	// of as many; others than those that keep or end something are then
	// answered 503. 0 is no bound, because a proxy speaks for many.
	SourceRate int

	// TransactionTimeout is how long a request waits for its final response
	// before it fails with sipx.ErrTimeout: at most, and if zero, gosip's timer
	// F, which is 32 s.
	TransactionTimeout time.Duration
	// DialTimeout bounds the making of a connection, and DNS look-ups; 5 s.
	DialTimeout time.Duration
	// WriteTimeout is how long a peer may take to read before its connection is
	// closed; 10 s.
	WriteTimeout time.Duration
	// ReadTimeout is how long a message may take to arrive from its first byte
	// to its last, and the first one on a connection altogether; 30 s.
	ReadTimeout time.Duration
	// IdleTimeout is how long a connection may be silent before it is closed;
	// 2 h.
	IdleTimeout time.Duration
}
