package sipgostack

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
	// once.
	MaxConnections int
	// MaxPending bounds the requests sent that wait for a response; 131,072.
	// Beyond, Send fails with sipx.ErrQueueFull.
	MaxPending int
	// MaxAnswers bounds how many answers are kept to absorb retransmissions
	// over udp; 262,144. Beyond, the oldest is forgotten early. Each takes
	// about half a KiB for 32 seconds.
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
	// before it fails with sipx.ErrTimeout: at most, and if zero, sipgo's timer
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

// binding is one entry of Listen.
type binding struct{ transport, address string }

// host is one entry of Advertise.
type host struct {
	name string
	port int
}

var transports = []string{"udp", "tcp", "tls", "ws", "wss"}

// validate fills the defaults in and takes the lists apart.
func (c *Config) validate() (bindings []binding, advertised map[string]host, err error) {
	if len(c.Listen) == 0 {
		return nil, nil, errors.New("sipgostack: Config.Listen is empty")
	}
	for _, l := range c.Listen {
		transport, address, _ := strings.Cut(l, ":")
		if !slices.Contains(transports, transport) {
			return nil, nil, fmt.Errorf("sipgostack: Config.Listen: %q: want transport:host:port", l)
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, nil, fmt.Errorf("sipgostack: Config.Listen: %q: %w", l, err)
		}
		if (transport == "tls" || transport == "wss") && c.TLS == nil {
			return nil, nil, fmt.Errorf("sipgostack: Config.Listen: %q needs Config.TLS", l)
		}
		bindings = append(bindings, binding{transport, address})
	}
	if advertised, err = parseAdvertise(c.Advertise); err != nil {
		return nil, nil, err
	}
	for _, d := range []struct {
		field *int
		value int
		name  string
	}{
		{&c.MaxHandlers, 256, "MaxHandlers"},
		{&c.MaxWaiting, 4096, "MaxWaiting"},
		{&c.MaxMessage, 256 << 10, "MaxMessage"},
		{&c.MaxConnections, 16384, "MaxConnections"},
		{&c.MaxPending, 1 << 17, "MaxPending"},
		{&c.MaxAnswers, 1 << 18, "MaxAnswers"},
		{&c.SendQueue, 4096, "SendQueue"},
		{&c.SourceRate, 0, "SourceRate"},
	} {
		if *d.field < 0 {
			return nil, nil, fmt.Errorf("sipgostack: Config.%s is negative", d.name)
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxMessage > 1<<20 {
		return nil, nil, errors.New("sipgostack: Config.MaxMessage is more than 1 MiB")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
		name  string
	}{
		{&c.TransactionTimeout, 0, "TransactionTimeout"},
		{&c.DialTimeout, 5 * time.Second, "DialTimeout"},
		{&c.WriteTimeout, 10 * time.Second, "WriteTimeout"},
		{&c.ReadTimeout, 30 * time.Second, "ReadTimeout"},
		{&c.IdleTimeout, 2 * time.Hour, "IdleTimeout"},
	} {
		if *d.field < 0 {
			return nil, nil, fmt.Errorf("sipgostack: Config.%s is negative", d.name)
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return bindings, advertised, nil
}

// parseAdvertise maps transports to hosts; "" is for all others.
func parseAdvertise(list []string) (map[string]host, error) {
	m := make(map[string]host)
	for _, entry := range list {
		transport, rest := "", entry
		if t, r, ok := strings.Cut(entry, ":"); ok && slices.Contains(transports, t) {
			transport, rest = t, r
		}
		h := host{name: rest}
		if name, port, err := net.SplitHostPort(rest); err == nil {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("sipgostack: Config.Advertise: %q: bad port", entry)
			}
			h = host{name, int(n)}
		}
		h.name = strings.Trim(h.name, "[]")
		if strings.Contains(h.name, ":") { // IPv6
			h.name = "[" + h.name + "]"
		}
		if h.name == "" || strings.ContainsAny(h.name, " \t\r\n<>;@/") {
			return nil, fmt.Errorf("sipgostack: Config.Advertise: %q: bad host", entry)
		}
		m[transport] = h
	}
	return m, nil
}
