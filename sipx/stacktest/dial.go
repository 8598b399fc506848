package stacktest

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// connect opens a connection as a client does. A Write is one message.
func connect(from net.Dialer, transport, addr string) (net.Conn, error) {
	secure := &tls.Config{InsecureSkipVerify: true} // whose certificate it is does not matter here
	switch transport {
	case "tls":
		d := tls.Dialer{NetDialer: &from, Config: secure}
		return d.DialContext(context.Background(), "tcp", addr)
	case "ws", "wss":
		d := ws.Dialer{Protocols: []string{"sip"}, TLSConfig: secure, NetDial: from.DialContext}
		c, early, _, err := d.Dial(context.Background(), transport+"://"+addr)
		if early != nil { // a server does not speak first
			ws.PutReader(early)
		}
		return &socket{Conn: c}, err
	}
	return from.Dial(transport, addr)
}

// socket is a WebSocket as a stream.
type socket struct {
	net.Conn
	rest bytes.Buffer
}

func (s *socket) Write(p []byte) (int, error) {
	if err := wsutil.WriteClientText(s.Conn, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *socket) Read(p []byte) (int, error) {
	if s.rest.Len() == 0 {
		data, _, err := wsutil.ReadServerData(s.Conn)
		if err != nil {
			return 0, err
		}
		s.rest.Write(data)
	}
	return s.rest.Read(p)
}
