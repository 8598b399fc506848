package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// healthy says why the process should be started again: its sockets do not answer SIP
// any more. It asks one of them as a client would, by an OPTIONS.
func (s *server) healthy(ctx context.Context) error {
	if s.stopping.Load() {
		return nil // it ends by itself
	}
	for _, f := range s.stack.Listening() {
		if f.Transport == "udp" || f.Transport == "tcp" {
			return askOptions(ctx, f)
		}
	}
	return nil // TLS alone: its certificate is not for an address
}

func askOptions(ctx context.Context, f sipx.Flow) error {
	network, to := "udp", f.Local
	if f.Transport == "tcp" {
		network = "tcp"
	}
	if to.Addr().IsUnspecified() {
		loopback := netip.IPv6Loopback()
		if to.Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		to = netip.AddrPortFrom(loopback, to.Port())
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, to.String())
	if err != nil {
		return fmt.Errorf("sip: %w", err)
	}
	defer conn.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Second)
	}
	_ = conn.SetDeadline(deadline.Add(-100 * time.Millisecond))
	id := rand.Text()
	if _, err = fmt.Fprintf(conn, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 1\r\n"+
		"From: <sip:health@localhost>;tag=%s\r\nTo: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		to, f.Transport, conn.LocalAddr(), id, id, to, id); err != nil {
		return fmt.Errorf("sip: %w", err)
	}
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		return fmt.Errorf("sip: no answer: %w", err)
	}
	return nil // whatever it is
}
