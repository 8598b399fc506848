package stack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
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
	// fields and bodies are never logged. A slow handler holds up nothing: lines that
	// it cannot take in time are dropped, and counted in Stats.
	Logger *slog.Logger

	// MaySend, if it is not nil, is asked before anything is written to a socket, what is
	// sent again included: while it reports false nothing leaves but responses of 503 and
	// answers to pings, which promise nothing. Requests then fail with sipx.ErrStackClosed,
	// and a connection that anything else is to be written to is closed. It is for one of
	// several machines that speak for each other. It must not block; any goroutine may call it.
	MaySend func() bool

	// MaxHandlers bounds the requests that are handled at once; 256.
	MaxHandlers int
	// MaxWaiting bounds the requests that wait to be handled; 4096. No source
	// has more than half of them.
	MaxWaiting int
	// MaxMessage bounds a message in bytes, 256 KiB; a larger one over a
	// connection is answered 413. A datagram cannot have more than 64 KiB.
	MaxMessage int
	// MaxConnections bounds the open connections; 16,384, or three quarters of
	// the files that the process may have open (RLIMIT_NOFILE) where those are
	// fewer. Seven eighths of them are the most. Those that the stack opens
	// are half of them at most, and no source has more than half. A connection
	// over which no request was accepted makes room for a new one, the oldest
	// first; where there is none, new ones are closed at once.
	MaxConnections int
	// ReuseRequests has the memory of a request used again once it is answered and
	// the handler has returned, which halves what the garbage collector gets of a
	// refresh. It is for handlers that keep neither the Request nor the
	// ResponseWriter, as the presence server, and what wraps it, if that does not.
	// Strings and Body may be kept.
	ReuseRequests bool
	// MaxPending bounds the requests sent that wait for a response; 131,072. No
	// host has more than an eighth of them. Beyond, Send fails with
	// sipx.ErrQueueFull.
	MaxPending int
	// MaxAnswers bounds how many answers are kept to absorb retransmissions
	// over udp; 262,144, and as many KiB. Beyond, the oldest is forgotten early.
	// Most take about 150 bytes for 32 seconds.
	MaxAnswers int
	// SendQueue bounds the messages that wait for one connection or one host
	// name; 4096, and 4 MiB. Beyond, Send fails with sipx.ErrQueueFull, and a
	// response closes the connection.
	SendQueue int
	// SourceRate bounds the requests per second from one source, with bursts of
	// as many. Those that say to keep or end something, which anybody can say,
	// are counted apart, and may be four times as many. What is beyond is
	// answered 503. 0 is no bound, because a proxy speaks for many.
	SourceRate int

	// TransactionTimeout is how long a request waits for its final response
	// before it fails with sipx.ErrTimeout: 32 s, 64 times T1 of RFC 3261, which
	// is the most that can be set.
	TransactionTimeout time.Duration
	// DialTimeout bounds the making of a connection, and DNS look-ups; 5 s.
	DialTimeout time.Duration
	// WriteTimeout is how long a peer may take to read before its connection is
	// closed; 10 s.
	WriteTimeout time.Duration
	// ReadTimeout is how long a message may take to arrive from its first byte
	// to its last, and how long a connection may be silent until a request was
	// accepted over it; 30 s.
	ReadTimeout time.Duration
	// IdleTimeout is how long other connections may be silent before they are
	// closed; 2 h.
	IdleTimeout time.Duration
}

// binding is one entry of Listen.
type binding struct{ transport, address string }

// host is one entry of Advertise.
type host struct {
	name string
	port int
}

var transports = []string{"udp", "tcp", "tls", "ws", "wss"}

// validate fills the defaults in and takes the lists apart. The error is of
// everything that is wrong.
func (c *Config) validate() (bindings []binding, advertised map[string]host, err error) {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("stack: Config."+format, args...)) }
	if len(c.Listen) == 0 {
		bad("Listen is empty")
	}
	for _, l := range c.Listen {
		transport, address, _ := strings.Cut(l, ":")
		if !slices.Contains(transports, transport) {
			bad("Listen: %q: want transport:host:port", l)
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			bad("Listen: %q: %w", l, err)
		}
		if (transport == "tls" || transport == "wss") && c.TLS == nil {
			bad("Listen: %q needs Config.TLS", l)
		}
		bindings = append(bindings, binding{transport, address})
	}
	advertised = make(map[string]host)
	for _, entry := range c.Advertise {
		transport, h, err := parseAdvertise(entry)
		if err != nil {
			bad("Advertise: %q: %w", entry, err)
		}
		advertised[transport] = h
	}
	files := maxFiles()
	for _, d := range []struct {
		field       *int
		value, most int
		name        string
	}{
		{&c.MaxHandlers, 256, 1 << 20, "MaxHandlers"},
		{&c.MaxWaiting, 4096, 1 << 24, "MaxWaiting"},
		{&c.MaxMessage, 256 << 10, 1 << 20, "MaxMessage"},
		{&c.MaxConnections, min(16384, files/4*3), files / 8 * 7, "MaxConnections"},
		{&c.MaxPending, 1 << 17, 1 << 24, "MaxPending"},
		{&c.MaxAnswers, 1 << 18, 1 << 24, "MaxAnswers"},
		{&c.SendQueue, 4096, 1 << 20, "SendQueue"},
		{&c.SourceRate, 0, 1 << 24, "SourceRate"},
	} {
		switch {
		case *d.field < 0:
			bad("%s is negative", d.name)
		case *d.field > d.most:
			bad("%s is %d, the most here is %d", d.name, *d.field, d.most)
		case *d.field == 0:
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field       *time.Duration
		value, most time.Duration
		name        string
	}{
		{&c.TransactionTimeout, timerF, timerF, "TransactionTimeout"},
		{&c.DialTimeout, 5 * time.Second, time.Hour, "DialTimeout"},
		{&c.WriteTimeout, 10 * time.Second, time.Hour, "WriteTimeout"},
		{&c.ReadTimeout, 30 * time.Second, time.Hour, "ReadTimeout"},
		{&c.IdleTimeout, 2 * time.Hour, 1000 * time.Hour, "IdleTimeout"},
	} {
		switch {
		case *d.field < 0:
			bad("%s is negative", d.name)
		case *d.field > d.most:
			bad("%s is %s, the most is %s", d.name, *d.field, d.most)
		case *d.field == 0:
			*d.field = d.value
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return bindings, advertised, errors.Join(wrong...)
}

// parseAdvertise takes an entry of Advertise apart; the transport "" is for all
// others.
func parseAdvertise(entry string) (transport string, h host, err error) {
	rest := entry
	if t, r, ok := strings.Cut(entry, ":"); ok && slices.Contains(transports, t) {
		transport, rest = t, r
	}
	h.name = rest
	if name, port, err := net.SplitHostPort(rest); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return transport, h, errors.New("bad port")
		}
		h = host{name, int(n)}
	}
	h.name = strings.Trim(h.name, "[]")
	if strings.Contains(h.name, ":") { // IPv6
		h.name = "[" + h.name + "]"
	}
	if h.name == "" || strings.ContainsAny(h.name, " \t\r\n<>;@/") {
		return transport, h, errors.New("bad host")
	}
	return transport, h, nil
}
