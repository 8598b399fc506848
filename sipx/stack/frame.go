package stack

import (
	"bytes"
	"net"
	"strconv"
	"time"

	"github.com/openblustar/blustar/sipx"
)

const (
	maxHead  = 64 << 10 // bytes of a start line and its fields
	maxSkip  = 16 << 20 // bytes of a body that is read only to get over it
	readSize = 4 << 10
)

// frameError is about one message on a connection that is no message.
type frameError struct {
	head  []byte // what there is of it, for an answer
	err   *sipx.Error
	fatal bool // where the next message starts cannot be told
}

func (e *frameError) Error() string { return e.err.Error() }

// stream finds messages in a stream of bytes (RFC 3261 §18.3). What has come is
// looked at once, however it came.
type stream struct {
	conn  *conn
	net   net.Conn
	buf   []byte
	start int  // of what was not handed out
	end   int  // of what was read
	seen  int  // bytes from start on in which no header ends
	head  int  // length of the header, once it is known
	whole int  // length of the message, likewise
	skip  int  // bytes of a body to get over
	crlf  int  // line ends before a message
	begun bool // part of a message has come, and its deadline is set
}

func newStream(c *conn, nc net.Conn) *stream {
	return &stream{conn: c, net: nc, buf: make([]byte, readSize)}
}

func (s *stream) next() ([]byte, error) {
	for {
		s.jump()
		if s.skip == 0 && s.start < s.end {
			msg, err := s.cut()
			if msg != nil || err != nil {
				s.seen, s.head, s.whole, s.begun = 0, 0, 0, false
				return msg, err
			}
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// jump gets over bytes that belong to no message.
func (s *stream) jump() {
	n := min(s.skip, s.end-s.start)
	s.skip -= n
	s.start += n
	for s.skip == 0 && !s.begun && s.start < s.end && (s.buf[s.start] == '\r' || s.buf[s.start] == '\n') {
		// Line ends between messages are ignored (RFC 3261 §7.5); two of them
		// are a ping (RFC 5626 §3.5.1).
		if s.buf[s.start] == '\n' {
			if s.crlf++; s.crlf == 2 {
				s.crlf = 0
				s.conn.pong("\r\n")
			}
		}
		s.start++
	}
	if s.start < s.end {
		s.crlf = 0
	}
}

// cut takes a message off the buffer, where a whole one is there.
func (s *stream) cut() ([]byte, error) {
	data := s.buf[s.start:s.end]
	if s.head == 0 {
		s.head, s.seen = headEnd(data, s.seen)
		switch {
		case s.head == 0 && len(data) > maxHead:
			return nil, &frameError{data, sipx.Errorf(513, "header too large"), true}
		case s.head == 0:
			return nil, nil
		}
		length, err := contentLength(data[:s.head])
		if err != nil {
			return nil, &frameError{data[:s.head], err, true}
		}
		if s.whole = s.head + length; s.whole > s.conn.stack.cfg.MaxMessage {
			s.start += s.head
			s.skip = length
			return nil, &frameError{data[:s.head], sipx.Errorf(413, ""), length > maxSkip}
		}
	}
	if s.whole > len(data) {
		return nil, nil
	}
	s.start += s.whole
	return data[:s.whole], nil
}

// fill reads more.
func (s *stream) fill() error {
	switch {
	case s.start == s.end:
		if s.start, s.end = 0, 0; len(s.buf) > 16*readSize {
			s.buf = make([]byte, readSize)
		}
		s.begun = false
	case s.end == len(s.buf) && s.start > 0:
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	case s.end == len(s.buf):
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	switch waiting := s.start == s.end && s.skip == 0; {
	case waiting:
		_ = s.net.SetReadDeadline(time.Now().Add(s.conn.silence()))
	case !s.begun:
		_ = s.net.SetReadDeadline(time.Now().Add(s.conn.stack.cfg.ReadTimeout))
		s.begun = true
	}
	n, err := s.net.Read(s.buf[s.end:])
	s.end += n
	s.conn.stack.stats.bytesIn.Add(uint64(n))
	if n > 0 {
		return nil
	}
	return err
}

func (s *stream) write(batch []*buffer) error {
	if len(batch) == 1 {
		_, err := s.net.Write(batch[0].b)
		return err
	}
	list := make(net.Buffers, len(batch))
	for i, b := range batch {
		list[i] = b.b
	}
	_, err := list.WriteTo(s.net)
	return err
}

// headEnd returns the length of a message's header with the empty line after it,
// or 0. Lines may end in LF alone. It does not look at the first seen bytes again,
// and returns how many those are next time.
func headEnd(data []byte, seen int) (end, next int) {
	for i := seen; ; {
		j := bytes.IndexByte(data[i:], '\n')
		if j < 0 {
			return 0, len(data)
		}
		switch rest := data[i+j+1:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + j + 2, 0
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + j + 3, 0
		case len(rest) == 0, len(rest) == 1 && rest[0] == '\r':
			return 0, i + j // what follows this line end has not come
		}
		i += j + 1
	}
}

// contentLength finds the length of the body. Without the field, which is
// mandatory on a stream, there is none.
func contentLength(head []byte) (int, *sipx.Error) {
	length, seen := 0, false
	for line := range bytes.Lines(head) {
		name, value, ok := bytes.Cut(line, []byte{':'})
		name = bytes.TrimSpace(name)
		if !ok || !bytes.EqualFold(name, []byte("Content-Length")) && !bytes.EqualFold(name, []byte("l")) {
			continue
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
		if err != nil || seen && int(n) != length {
			return 0, sipx.Errorf(400, "Content-Length does not fit")
		}
		length, seen = int(n), true
	}
	return length, nil
}
