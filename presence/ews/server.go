package ews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

const (
	dialTimeout = 10 * time.Second
	idleTimeout = 90 * time.Second // IIS closes idle connections after 120 s

	// maxHold bounds how long all mailboxes wait because of what a server said of
	// one request.
	maxHold = 10 * time.Minute
)

// server is an EWS end point. Requests to it share a few connections, and the
// pauses that follow when it does not answer. It is safe for concurrent use.
type server struct {
	cfg          *Config
	url          *url.URL
	account      *account
	pace         *pace
	slots        chan struct{} // one element for each request under way
	availability *availability

	mu      sync.Mutex
	lanes   []*lane // that are free; the last was used last
	backoff backoff.Backoff
	all     hold            // nobody asks
	by      map[string]hold // nobody asks for this mailbox, whose budget is spent
}

// hold says until when, and why, a server is not asked.
type hold struct {
	until time.Time
	why   error
}

func newServer(m *Monitor, u *url.URL, a *account) *server {
	cfg := &m.cfg
	s := &server{
		cfg: cfg, url: u, account: a, pace: m.pace, slots: make(chan struct{}, cfg.Limits.Requests),
		by: make(map[string]hold),
	}
	s.availability = &availability{server: s, style: &m.style, size: cfg.Limits.Batch,
		gather: min(2*time.Second, cfg.Interval/10)}
	return s
}

// close closes the connections that are idle.
func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.close()
	}
	s.lanes = nil
}

// take returns a lane that is free: that which was used last, because its
// connection lives most likely.
func (s *server) take() *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.lanes)
	if n == 0 {
		return newLane(s.cfg, s.account)
	}
	l := s.lanes[n-1]
	s.lanes = s.lanes[:n-1]
	return l
}

func (s *server) give(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes = append(s.lanes, l)
}

// call sends a request and returns the response, or the error that it is or has.
func (s *server) call(ctx context.Context, r request) (answer *response, err error) {
	err = s.exchange(ctx, r.as, func(ctx context.Context, l *lane) error {
		answer, err = s.ask(ctx, l, &r)
		return named(err, &r)
	})
	return answer, err
}

// exchange does something over a connection once it is its turn, for a mailbox or,
// where it is empty, for all. Waiting for one's turn is not a part of the time-out.
func (s *server) exchange(ctx context.Context, mailbox string, do func(context.Context, *lane) error) error {
	if err := s.ready(ctx, mailbox); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.held(mailbox); err != nil { // since we wait
		return err
	}
	l := s.take()
	defer s.give(l)
	began := time.Now()
	timed, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err := do(timed, l)
	s.note(ctx, mailbox, began, err)
	return err
}

// ready waits for the turn of a request.
func (s *server) ready(ctx context.Context, mailbox string) error {
	if err := s.held(mailbox); err != nil {
		return err
	}
	return s.pace.wait(ctx)
}

// ask sends a request over a lane and reads the answer.
func (s *server) ask(ctx context.Context, l *lane, r *request) (*response, error) {
	resp, err := s.open(ctx, l, r)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	answer, err := decodeAnswer(newDecoder(&boundedReader{from: resp.Body, left: s.cfg.Limits.ResponseBytes}))
	if err == io.EOF {
		err = fmt.Errorf("%w: empty answer", ErrAnswer)
	}
	if err != nil {
		return nil, err
	}
	if want := r.operation + "Response"; answer.XMLName.Local != want {
		return nil, fmt.Errorf("%w: %.60q instead of %s", ErrAnswer, answer.XMLName.Local, want)
	}
	for i := range answer.Several.Messages {
		if err := answer.Several.Messages[i].err(); err != nil {
			return nil, err
		}
	}
	if answer.Message != nil {
		return answer, answer.Message.err()
	}
	return answer, nil
}

// open sends a request over a lane. The response is one of EWS, as its status and
// media type say: a 200, or a fault.
func (s *server) open(ctx context.Context, l *lane, r *request) (*http.Response, error) {
	header := newHeader()
	if r.anchor != "" {
		header.Set("X-AnchorMailbox", r.anchor)
	}
	r.affinity.add(header)
	resp, err := l.do(ctx, s.url, header, r.envelope())
	if err != nil {
		return nil, err
	}
	r.affinity.learn(resp)
	switch {
	case resp.StatusCode == http.StatusOK && isXML(resp):
		return resp, nil
	case resp.StatusCode == http.StatusInternalServerError && isXML(resp):
		return resp, nil
	case resp.StatusCode == http.StatusOK:
		resp.Body.Close()
		return nil, fmt.Errorf("%w: %s %s: media type %.60q", ErrAnswer, r.operation, plain(s.url),
			resp.Header.Get("Content-Type"))
	}
	drain(resp)
	return nil, statusError(r.operation, s.url, resp)
}

func newHeader() http.Header {
	return http.Header{
		"Content-Type": {"text/xml; charset=utf-8"}, "Accept": {"text/xml"}, "User-Agent": {"BluStar-presence-ews"},
	}
}

func statusError(operation string, u *url.URL, resp *http.Response) *StatusError {
	e := &StatusError{Operation: operation, URL: plain(u), Status: resp.StatusCode}
	now := time.Now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	e.RetryAfter = backoff.RetryAfter(resp.Header.Get("Retry-After"), now)
	if to, err := resp.Location(); err == nil {
		e.Location = plain(to)
	}
	return e
}

// named says in an error of EWS, which nobody else has yet, what was asked.
func named(err error, r *request) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Operation, e.Mailbox = r.operation, r.mailbox
	}
	return err
}

// heldError says that a server is not asked at the moment, because of an error
// before.
type heldError struct{ hold }

func (e *heldError) Error() string {
	return fmt.Sprintf("%v (not asked again before %s)", e.why, e.until.UTC().Format(time.TimeOnly))
}

func (e *heldError) Unwrap() error { return e.why }

// held returns the error where the server is not to be asked now, for a mailbox or
// at all.
func (s *server) held(mailbox string) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.all.until) {
		return &heldError{s.all}
	}
	h, ok := s.by[mailbox]
	if ok && now.Before(h.until) {
		return &heldError{h}
	}
	delete(s.by, mailbox)
	return nil
}

// note notes how a request that began at a time ended. A server that is not there,
// or asks for a pause, is left alone by all for a while. A pause that it asks for
// because the budget of a mailbox is spent is only for that one.
func (s *server) note(ctx context.Context, mailbox string, began time.Time, err error) {
	var e *Error
	var status *StatusError
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil: // the caller's own end
		return
	case errors.As(err, &e):
		s.backoff.Reset() // it works
		if codes[e.Code] == accountRefused {
			s.account.disabled()
		}
		if e.BackOff > 0 {
			h := hold{now.Add(backoff.Beyond(min(e.BackOff, maxHold))), err}
			if mailbox == "" {
				s.all = h
			} else if len(s.by) < maxRemembered {
				s.by[mailbox] = h
			}
		}
		return
	case errors.Is(err, ErrUnauthorized), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrLimit):
		return
	case err == nil:
		s.backoff.Reset()
		return
	case began.Before(s.all.until):
		return // as others found before
	}
	pause := s.backoff.Next()
	if errors.As(err, &status) && status.RetryAfter > 0 {
		pause = max(pause, backoff.Beyond(min(status.RetryAfter, maxHold)))
	}
	s.all = hold{now.Add(pause), err}
}

// retryAfter is how long the server asked to wait; 0 where it did not.
func retryAfter(err error) time.Duration {
	var asked time.Duration
	if e, ok := errors.AsType[*Error](err); ok {
		asked = e.BackOff
	} else if e, ok := errors.AsType[*StatusError](err); ok {
		asked = e.RetryAfter
	}
	if held, ok := errors.AsType[*heldError](err); ok && asked > 0 {
		return max(0, time.Until(held.until))
	}
	return asked
}

// pace spreads requests: no more than so many in a second, in the order in which
// they come, whatever the server. It is safe for concurrent use.
type pace struct {
	every time.Duration

	mu   sync.Mutex
	next time.Time
}

func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	at := now
	if p.next.After(now) {
		at = p.next
	}
	p.next = at.Add(p.every)
	p.mu.Unlock()
	if !at.After(now) {
		return ctx.Err()
	}
	return backoff.Sleep(ctx, at.Sub(now))
}

// boundedReader fails, rather than ends, at the bound.
type boundedReader struct {
	from io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: response too large", ErrLimit)
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
