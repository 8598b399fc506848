package wire

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

// Config has the fields of the Config of the public packages, which document
// them.
type Config struct {
	Listen             []string
	TLS                *tls.Config
	Advertise          []string
	Logger             *slog.Logger
	MaxHandlers        int
	MaxWaiting         int
	MaxMessage         int
	MaxConnections     int
	MaxPending         int
	MaxAnswers         int
	SendQueue          int
	SourceRate         int
	TransactionTimeout time.Duration
	DialTimeout        time.Duration
	WriteTimeout       time.Duration
	ReadTimeout        time.Duration
	IdleTimeout        time.Duration
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
		return nil, nil, errors.New("sipx: Config.Listen is empty")
	}
	for _, l := range c.Listen {
		transport, address, _ := strings.Cut(l, ":")
		if !slices.Contains(transports, transport) {
			return nil, nil, fmt.Errorf("sipx: Config.Listen: %q: want transport:host:port", l)
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, nil, fmt.Errorf("sipx: Config.Listen: %q: %w", l, err)
		}
		if (transport == "tls" || transport == "wss") && c.TLS == nil {
			return nil, nil, fmt.Errorf("sipx: Config.Listen: %q needs Config.TLS", l)
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
			return nil, nil, fmt.Errorf("sipx: Config.%s is negative", d.name)
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxMessage > 1<<20 {
		return nil, nil, errors.New("sipx: Config.MaxMessage is more than 1 MiB")
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
			return nil, nil, fmt.Errorf("sipx: Config.%s is negative", d.name)
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
				return nil, fmt.Errorf("sipx: Config.Advertise: %q: bad port", entry)
			}
			h = host{name, int(n)}
		}
		h.name = strings.Trim(h.name, "[]")
		if strings.Contains(h.name, ":") { // IPv6
			h.name = "[" + h.name + "]"
		}
		if h.name == "" || strings.ContainsAny(h.name, " \t\r\n<>;@/") {
			return nil, fmt.Errorf("sipx: Config.Advertise: %q: bad host", entry)
		}
		m[transport] = h
	}
	return m, nil
}
