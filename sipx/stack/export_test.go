package stack

import (
	"net"
	"time"
)

// Frames calls yield with the messages that a stream has, and with the parts of
// those that cannot be framed; it returns the error that ended it.
func Frames(nc net.Conn, maxMessage int, yield func(msg []byte, bad bool)) error {
	s := &Stack{cfg: Config{MaxMessage: maxMessage, SendQueue: 10}}
	st := newStream(&conn{stack: s}, nc)
	for {
		msg, err := st.next()
		if frame, ok := err.(*frameError); ok {
			yield(frame.head, true)
			if frame.fatal {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		yield(msg, false)
	}
}

// WebSocketBuffer reads the WebSocket messages that a connection has until it
// ends, and returns how many bytes are held for the last one.
func WebSocketBuffer(nc net.Conn, maxMessage int) int {
	s := &Stack{cfg: Config{MaxMessage: maxMessage, SendQueue: 10, ReadTimeout: time.Minute, IdleTimeout: time.Minute}}
	f := newFrames(&conn{stack: s}, nc)
	for {
		if _, err := f.next(); err != nil {
			return f.msg.Cap()
		}
	}
}

// Forget forgets the answers that are so old.
func Forget(s *Stack, age time.Duration) { s.answers.expire(time.Now().Add(age)) }

// Peek reads what finds the request of a response.
func Peek(data []byte) (status int, branch, method string, ok bool) {
	r, ok := peek(data)
	return r.status, string(r.branch), string(r.method), ok
}

// Branch writes the branch of the request with a number, and ParseBranch reads it.
func Branch(s *Stack, id uint64) string { return string(s.appendBranch(nil, id)) }

// ParseBranch returns the number in a branch of s.
func ParseBranch(s *Stack, branch string) (uint64, bool) { return s.parseBranch([]byte(branch)) }
