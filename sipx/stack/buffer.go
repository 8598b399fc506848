package stack

import (
	"sync"
	"sync/atomic"
)

// buffer holds a message on its way out: one that is repeated is held by its
// request and by the queue of a socket at the same time.
type buffer struct {
	b    []byte
	refs atomic.Int32
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 2048)} }}

// newBuffer returns an empty buffer that its caller holds.
func newBuffer() *buffer {
	buf := buffers.Get().(*buffer)
	buf.b = buf.b[:0]
	buf.refs.Store(1)
	return buf
}

func (b *buffer) hold() *buffer {
	b.refs.Add(1)
	return b
}

// drop lets go of the buffer, whose last holder gives it back.
func (b *buffer) drop() {
	if b.refs.Add(-1) == 0 && cap(b.b) <= 64<<10 {
		buffers.Put(b)
	}
}
