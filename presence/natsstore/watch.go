package natsstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openblustar/blustar/presence"
)

// Watch implements [presence.Shared].
func (s *Store) Watch(ctx context.Context, after uint64, kinds []string, f func(presence.Record)) error {
	var subjects []string
	for _, kind := range kinds {
		subjects = append(subjects, s.records()+base64.RawURLEncoding.EncodeToString([]byte(kind))+".>")
	}
	s.lease.mu.Lock()
	tenure := s.lease.tenure
	s.lease.mu.Unlock()
	if tenure == nil {
		return ErrNotAlive
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(tenure, cancel)()
	err := s.read(watching, "watch", 0, jetstream.ConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	}, func(m jetstream.Msg, sequence uint64) error {
		r, there, err := s.record(m.Subject(), m.Headers(), m.Data(), sequence)
		switch {
		case err != nil: // it would be the next one for ever
			s.log.Error("a record is passed over", "error", err)
		case m.Headers().Get(headGone) != "":
			r.Value = nil
			f(r)
		case there:
			f(r)
		}
		return nil
	})
	if tenure.Err() != nil && ctx.Err() == nil {
		return errMissed
	}
	return err
}

// errMissed ends a watch that may have missed deletions: they are kept for a while only.
var errMissed = errors.New("natsstore: this node was without its lease")

// maxCalls is how many calls of other nodes are answered at a time; more wait.
const maxCalls = 256

// calls are those of other nodes.
type calls struct {
	ctx    context.Context
	cancel context.CancelFunc
	room   chan struct{}
	work   sync.WaitGroup

	mu  sync.Mutex
	sub *nats.Subscription
}

// callSubject is where a node is called. No stream has it.
func (s *Store) callSubject(id string) string { return "_blustar.call." + s.cfg.Bucket + "." + id }

// Call implements [presence.Shared].
func (s *Store) Call(ctx context.Context, node string, message []byte) ([]byte, error) {
	reply, err := s.cfg.Conn.RequestWithContext(ctx, s.callSubject(node), message)
	if errors.Is(err, nats.ErrNoResponders) {
		if sequence, _, e := s.holder(ctx, node); e == nil && sequence == 0 {
			err = presence.ErrNoNode
		}
	}
	if err != nil {
		return nil, fmt.Errorf("natsstore: call: %w", err)
	}
	return reply.Data, nil
}

// Answer implements [presence.Shared]. A node without a lease answers nothing.
func (s *Store) Answer(f func(ctx context.Context, message []byte) []byte) {
	c := &s.calls
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	sub, err := s.cfg.Conn.Subscribe(s.callSubject(s.id), func(m *nats.Msg) {
		select {
		case c.room <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ctx.Err() != nil {
			return
		}
		c.work.Go(func() {
			defer func() { <-c.room }()
			if answer := f(c.ctx, m.Data); s.Alive() {
				_ = m.Respond(answer) // who asked has given up, at worst
			}
		})
	})
	if err != nil {
		s.log.Error("calls of other nodes are not answered", "error", err)
		return
	}
	c.sub = sub
	if err := s.cfg.Conn.FlushTimeout(s.patience()); err != nil {
		s.log.Warn("calls of other nodes are answered later", "error", err)
	}
}

// end answers nothing any more.
func (c *calls) end() {
	c.mu.Lock()
	if c.cancel(); c.sub != nil {
		_ = c.sub.Unsubscribe()
		c.sub = nil
	}
	c.mu.Unlock()
	c.work.Wait()
}
