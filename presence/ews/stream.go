package ews

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// streamTime is how long one stream is asked for; the server allows 30 minutes.
	streamTime = 30 * time.Minute
	// silence is how long a stream may say nothing. A server sends a sign of life
	// more often than once a minute.
	silence = 3 * time.Minute
)

// errSilent says that a stream said nothing for too long.
var errSilent = errors.New("ews: the stream of notifications is silent")

// notification is what a stream says of one subscription.
type notification struct {
	Subscription string  `xml:"SubscriptionId"`
	Events       []event `xml:",any"`
}

type event struct {
	XMLName xml.Name
}

// changed reports whether the calendar may have changed.
func (n *notification) changed() bool {
	for _, e := range n.Events {
		if name := e.XMLName.Local; strings.HasSuffix(name, "Event") && name != "StatusEvent" {
			return true
		}
	}
	return false
}

// listen opens a stream over a connection of its own, and calls hear for each
// message in it, until the server closes it in order, which is no error, or it
// fails.
func (s *server) listen(ctx context.Context, r request, hear func(*message)) error {
	if err := s.ready(ctx, r.as); err != nil {
		return err
	}
	began := time.Now()
	l := newLane(s.cfg, s.account)
	defer l.close()
	err := named(s.follow(ctx, l, &r, hear), &r)
	if _, said := errors.AsType[*Error](err); err == nil || said || retryAfter(err) > 0 {
		s.note(ctx, r.as, began, err)
	} // else it may be only streams that do not work here
	return err
}

func (s *server) follow(outer context.Context, l *lane, r *request, hear func(*message)) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	watchdog := time.AfterFunc(s.cfg.Timeout, func() { cancel(errSilent) })
	defer watchdog.Stop()
	err := s.read(ctx, l, r, func(m *message) {
		watchdog.Reset(silence)
		hear(m)
	})
	if cause := context.Cause(ctx); err != nil && outer.Err() == nil && cause != nil {
		return cause
	}
	return err
}

func (s *server) read(ctx context.Context, l *lane, r *request, hear func(*message)) error {
	resp, err := s.open(ctx, l, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body := &boundedReader{from: resp.Body}
	d := newDecoder(body)
	for {
		body.left = s.cfg.Limits.ResponseBytes
		answer, err := decodeAnswer(d)
		switch {
		case err == io.EOF:
			return fmt.Errorf("%w: the stream ended without being closed", ErrAnswer)
		case err != nil:
			return err
		case answer.XMLName.Local != "GetStreamingEventsResponse":
			return fmt.Errorf("%w: %.60q in a stream", ErrAnswer, answer.XMLName.Local)
		}
		for i := range answer.Several.Messages {
			m := &answer.Several.Messages[i]
			if err := m.err(); err != nil {
				return err
			}
			hear(m)
			if strings.TrimSpace(m.Connection) == "Closed" {
				return nil
			}
		}
	}
}

// affinity is what the requests of a group of subscriptions have in common, so
// that one mailbox server gets them all. nil is none. It is safe for concurrent
// use.
type affinity struct {
	mu     sync.Mutex
	cookie string
}

const affinityCookie = "X-BackEndOverrideCookie"

func (a *affinity) add(header http.Header) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	header.Set("X-PreferServerAffinity", "true")
	if a.cookie != "" {
		header.Set("Cookie", affinityCookie+"="+a.cookie)
	}
}

// learn takes the cookie of an answer.
func (a *affinity) learn(resp *http.Response) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range resp.Cookies() {
		if strings.EqualFold(c.Name, affinityCookie) && c.Value != "" && len(c.Value) <= 1024 {
			a.cookie = c.Value
		}
	}
}
