package sipxtest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/openblustar/blustar/sipx"
)

// NewRequest reads a request as printed in documents and tests: lines may end
// in LF, space around the whole is dropped, and a missing empty line after the
// header is added. The body is what follows, whatever Content-Length says. It
// panics where that is no request.
func NewRequest(message string) *sipx.Request {
	message = strings.TrimLeft(strings.ReplaceAll(message, "\r\n", "\n"), "\n \t")
	head, body, _ := strings.Cut(message, "\n\n")
	var lines []string
	for line := range strings.Lines(strings.TrimRight(head, "\n \t")) {
		if name, _, _ := strings.Cut(line, ":"); !strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	data := strings.Join(lines, "\r\n") + "\r\n\r\n" + body
	req, err := sipx.ParseRequest([]byte(data))
	if err != nil {
		panic("sipxtest: NewRequest: " + err.Error())
	}
	return req
}

// Recorder is a sipx.ResponseWriter that keeps the response. The zero value is
// ready. It may be used from several goroutines.
type Recorder struct {
	mu    sync.Mutex
	res   *sipx.Response
	calls int
	done  chan struct{}
}

// Respond implements sipx.ResponseWriter.
func (r *Recorder) Respond(res *sipx.Response) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls++; r.calls > 1 {
		return errAnswered
	}
	r.res = res
	if r.done == nil {
		r.done = make(chan struct{})
	}
	close(r.done)
	return nil
}

// Response returns the response, or nil while there is none.
func (r *Recorder) Response() *sipx.Response {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.res
}

// Calls returns how often Respond was called.
func (r *Recorder) Calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// Wait waits for the response, and returns nil where ctx ends before.
func (r *Recorder) Wait(ctx context.Context) *sipx.Response {
	r.mu.Lock()
	if r.done == nil {
		r.done = make(chan struct{})
	}
	done := r.done
	r.mu.Unlock()
	select {
	case <-done:
		return r.Response()
	case <-ctx.Done():
		return nil
	}
}

// NullSender is a sipx.Sender that answers every request 200 before Send
// returns, and counts them: the far end of a benchmark. The zero value is ready.
type NullSender struct {
	// Render makes it write each message too, as a stack must.
	Render bool

	sent, bytes atomic.Int64
	buffers     sync.Pool
}

var okResponse = &sipx.Response{Status: 200}

// Send implements sipx.Sender.
func (s *NullSender) Send(req *sipx.Request, done sipx.ResponseHandler) {
	s.sent.Add(1)
	if s.Render {
		buf, _ := s.buffers.Get().(*[]byte)
		if buf == nil {
			buf = new([]byte)
		}
		*buf = req.AppendTo((*buf)[:0], "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-null;rport")
		s.bytes.Add(int64(len(*buf)))
		s.buffers.Put(buf)
	}
	done.HandleResponse(req, okResponse, nil)
}

// Contact implements sipx.Sender.
func (s *NullSender) Contact(sipx.Flow) string { return "<sip:192.0.2.1:5060>" }

// Sent returns how many requests were sent.
func (s *NullSender) Sent() int64 { return s.sent.Load() }

// Bytes returns how many bytes they had, where Render is set.
func (s *NullSender) Bytes() int64 { return s.bytes.Load() }
