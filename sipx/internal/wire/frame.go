package wire

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

// stream finds messages in a stream of bytes (RFC 3261 §18.3).
type stream struct {
	conn  *conn
	net   net.Conn
	buf   []byte
	start int  // of what was not handed out
	end   int  // of what was read
	skip  int  // bytes of a body to get over
	crlf  int  // line ends before a message
	first bool // no message has come yet
	begun bool // part of a message has come, and its deadline is set
}

func newStream(c *conn, nc net.Conn) *stream {
	return &stream{conn: c, net: nc, buf: make([]byte, readSize), first: true}
}

func (s *stream) next() ([]byte, error) {
	for {
		s.jump()
		if s.skip == 0 && s.start < s.end {
			msg, err := s.cut()
			if msg != nil || err != nil {
				s.first, s.begun = false, false
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
				pong := getBuffer()
				*pong = append((*pong)[:0], "\r\n"...)
				_ = s.conn.enqueue(pong)
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
	head := headEnd(data)
	if head < 0 {
		if len(data) > maxHead {
			return nil, &frameError{data, sipx.Errorf(513, "header too large"), true}
		}
		return nil, nil
	}
	length, err := contentLength(data[:head])
	switch {
	case err != nil:
		return nil, &frameError{data[:head], err, true}
	case head+length > s.conn.stack.cfg.MaxMessage:
		s.start += head
		s.skip = length
		return nil, &frameError{data[:head], sipx.Errorf(413, ""), length > maxSkip}
	case head+length > len(data):
		return nil, nil
	}
	s.start += head + length
	return data[:head+length], nil
}

// fill reads more.
func (s *stream) fill() error {
	cfg := &s.conn.stack.cfg
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
	case waiting && !s.first:
		_ = s.net.SetReadDeadline(time.Now().Add(cfg.IdleTimeout))
	case !s.begun:
		_ = s.net.SetReadDeadline(time.Now().Add(cfg.ReadTimeout))
		s.begun = !waiting
	}
	n, err := s.net.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	return err
}

func (s *stream) write(batch []*[]byte) error {
	if len(batch) == 1 {
		_, err := s.net.Write(*batch[0])
		return err
	}
	buffers := make(net.Buffers, len(batch))
	for i, b := range batch {
		buffers[i] = *b
	}
	_, err := buffers.WriteTo(s.net)
	return err
}

// headEnd returns the length of a message's header with the empty line after it,
// or -1. Lines may end in LF alone.
func headEnd(data []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(data[i:], '\n')
		if j < 0 {
			return -1
		}
		i += j + 1
		switch rest := data[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
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
