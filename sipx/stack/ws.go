package stack

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"github.com/openblustar/blustar/sipx"
)

// upgrade does the WebSocket handshake of a server. A client that does not offer
// the subprotocol is no SIP client (RFC 7118 §4.1).
func upgrade(nc net.Conn) error {
	offered := false
	u := ws.Upgrader{
		Protocol: func(p []byte) bool {
			offered = offered || string(p) == "sip"
			return string(p) == "sip"
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if offered {
				return nil, nil
			}
			return nil, ws.RejectConnectionError(ws.RejectionStatus(http.StatusBadRequest),
				ws.RejectionReason("the subprotocol sip is required"))
		},
	}
	_, err := u.Upgrade(nc)
	return err
}

// frames has one message in each WebSocket message (RFC 7118 §5).
type frames struct {
	conn *conn
	net  net.Conn
	in   *bufio.Reader
	part io.LimitedReader // of in: the payload of a frame
	out  *bufio.Writer
	msg  bytes.Buffer
}

func newFrames(c *conn, nc net.Conn) *frames {
	return &frames{conn: c, net: nc,
		in: bufio.NewReaderSize(nc, readSize), out: bufio.NewWriterSize(nc, readSize)}
}

func (f *frames) next() ([]byte, error) {
	for {
		msg, err := f.read()
		if err != nil {
			return nil, err
		}
		if len(bytes.Trim(msg, "\r\n")) > 0 {
			return msg, nil
		}
		if len(msg) >= 4 { // a ping (RFC 5626 §3.5.1)
			f.conn.pong("\r\n")
		}
	}
}

// read reads one WebSocket message.
func (f *frames) read() ([]byte, error) {
	cfg := &f.conn.stack.cfg
	_ = f.net.SetReadDeadline(time.Now().Add(f.conn.silence()))
	if f.msg.Reset(); f.msg.Cap() > 16*readSize {
		f.msg = bytes.Buffer{}
	}
	state := ws.StateServerSide
	for {
		h, err := ws.ReadHeader(f.in)
		if err == nil {
			err = ws.CheckHeader(h, state)
		}
		if err != nil {
			return nil, err
		}
		if h.OpCode.IsControl() {
			if err := f.control(h); err != nil {
				return nil, err
			}
			continue
		}
		if h.Length > int64(cfg.MaxMessage-f.msg.Len()) {
			return nil, sipx.Errorf(513, "message too large")
		}
		if !state.Fragmented() {
			_ = f.net.SetReadDeadline(time.Now().Add(cfg.ReadTimeout))
		}
		at := f.msg.Len()
		// As it comes: who only says that a message is long has no memory.
		f.part = io.LimitedReader{R: f.in, N: h.Length}
		if n, err := f.msg.ReadFrom(&f.part); err != nil || n < h.Length {
			return nil, cmp.Or(err, io.ErrUnexpectedEOF)
		}
		ws.Cipher(f.msg.Bytes()[at:], h.Mask, 0)
		if h.Fin {
			f.conn.stack.stats.bytesIn.Add(uint64(f.msg.Len()))
			return f.msg.Bytes(), nil
		}
		state = state.Set(ws.StateFragmented)
	}
}

// pong answers a ping.
func (c *conn) pong(text string) {
	buf := newBuffer()
	buf.b = append(buf.b, text...)
	_ = c.enqueue(buf) // who does not read needs none
	buf.drop()
}

// control reads a control frame, and answers a ping.
func (f *frames) control(h ws.Header) error {
	payload := make([]byte, h.Length) // at most 125 bytes, as checked
	if _, err := io.ReadFull(f.in, payload); err != nil {
		return err
	}
	ws.Cipher(payload, h.Mask, 0)
	switch h.OpCode {
	case ws.OpClose:
		return io.EOF
	case ws.OpPing:
		f.conn.pong(string(pongMark) + string(payload))
	}
	return nil
}

// pongMark starts what is to be sent as a pong; no SIP message starts so.
const pongMark = "\x00"

func (f *frames) write(batch []*buffer) error {
	for _, b := range batch {
		frame := ws.NewTextFrame(b.b)
		if payload, ok := bytes.CutPrefix(b.b, []byte(pongMark)); ok {
			frame = ws.NewPongFrame(payload)
		}
		if err := ws.WriteFrame(f.out, frame); err != nil {
			return err
		}
	}
	return f.out.Flush()
}
