package stack_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/gobwas/ws"
)

// subscribersEnv has the test program be the other ends of connections, and nothing else:
// "tcp 127.0.0.1:5060 16000".
const subscribersEnv = "STACK_TEST_SUBSCRIBERS"

// beSubscribers opens the connections that spec says, and holds them until its standard
// input ends.
func beSubscribers(spec string) error {
	var transport, address string
	var n int
	if _, err := fmt.Sscan(spec, &transport, &address, &n); err != nil {
		return err
	}
	for i := range n {
		if err := subscriber(transport, address, i); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// subscriber opens a connection, sends a SUBSCRIBE, and answers every request that
// comes 200 as cheaply as can be: it allocates nothing for one.
func subscriber(transport, address string, i int) error {
	c, err := dialPeer(transport, address, i)
	if err != nil {
		return err
	}
	frame := func(dst []byte) []byte { return dst } // what stands before a message
	if transport == "ws" {
		frame = func(dst []byte) []byte { return append(dst, 0x81, 0x80|126, 0, 0, 0, 0, 0, 0) } // masked by zeros
	}
	send := func(msg []byte) error {
		if transport == "ws" {
			binary.BigEndian.PutUint16(msg[2:], uint16(len(msg)-8))
		}
		_, err := c.Write(msg)
		return err
	}
	subscribe := strings.ReplaceAll(message(strings.ToUpper(transport), fmt.Sprint("s", i), "Content-Length: 0\r\n"), "OPTIONS", "SUBSCRIBE")
	if err := send(append(frame(nil), subscribe...)); err != nil {
		return err
	}
	go func() {
		buf, answer := make([]byte, 8192), make([]byte, 0, 1024)
		have := 0
		for {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			for {
				whole := messageEnd(buf[:have])
				if whole == 0 {
					break
				}
				if at := bytes.Index(buf[:whole], []byte("NOTIFY ")); 0 <= at && at <= 4 { // after the frame's header
					via := buf[bytes.Index(buf[:whole], []byte("Via: ")):]
					via = via[:bytes.IndexByte(via, '\n')+1]
					answer = append(append(frame(answer[:0]), "SIP/2.0 200 OK\r\n"...), via...)
					if send(append(answer, "CSeq: 7 NOTIFY\r\nContent-Length: 0\r\n\r\n"...)) != nil {
						return
					}
				}
				have = copy(buf, buf[whole:have])
			}
		}
	}()
	return nil
}

// messageEnd returns the length of the first message, or 0 where it is not whole.
func messageEnd(data []byte) int {
	const field = "Content-Length: "
	head := bytes.Index(data, []byte("\r\n\r\n"))
	if head < 0 {
		return 0
	}
	length := 0
	if i := bytes.Index(data[:head], []byte(field)); i >= 0 {
		for _, digit := range data[i+len(field) : head] {
			if digit < '0' || digit > '9' {
				break
			}
			length = 10*length + int(digit-'0')
		}
	}
	if len(data) < head+4+length {
		return 0
	}
	return head + 4 + length
}

// dialPeer connects as a client does, from one of a few addresses: none may have too
// large a share.
func dialPeer(transport, address string, i int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%4))}}
	switch transport {
	case "tls":
		return tls.DialWithDialer(&d, "tcp", address, &tls.Config{InsecureSkipVerify: true})
	case "ws":
		c, _, _, err := ws.Dialer{Protocols: []string{"sip"}, NetDial: d.DialContext}.Dial(context.Background(), "ws://"+address)
		return c, err
	}
	return d.Dial("tcp", address)
}
