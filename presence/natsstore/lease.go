package natsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lease is what a node knows of its leadership.
type lease struct {
	mu       sync.Mutex
	epoch    uint64    // the sequence of the epoch's message; 0 where this node does not lead
	sequence uint64    // of the last renewal
	until    time.Time // when it stops, unless it renews; with a monotonic reading
	lost     chan struct{}
	ended    bool // lost is closed
	cancel   context.CancelFunc
	work     sync.WaitGroup // of renewals
}

// leaseRecord is the message of the lease.
type leaseRecord struct {
	Node  string        `json:"node"`
	ID    string        `json:"id"`             // of the Store: two nodes may have one name
	Lease time.Duration `json:"lease"`          // in nanoseconds
	Free  bool          `json:"free,omitempty"` // its node has given it back
}

// patience is how long an answer of NATS is waited for: short enough for a leader to ask
// again before its lease is over.
func (s *Store) patience() time.Duration { return min(s.cfg.Lease/4, 5*time.Second) }

func (s *Store) leaseSubject() string { return s.cfg.Bucket + ".lease" }
func (s *Store) epochSubject() string { return s.cfg.Bucket + ".epoch" }

// Leads reports whether this node leads now: it has the lease, and has renewed it lately
// enough for nobody else to have taken over. Any goroutine may call it; it costs a mutex
// and two clocks.
func (s *Store) Leads() bool {
	_, leads := s.lease.epochNow()
	return leads
}

func (l *lease) epochNow() (uint64, bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	// A machine that slept stops the monotonic clock alone, a clock that was set back
	// the other: both must say that there is time left.
	leads := l.epoch != 0 && !l.ended && now.Before(l.until) && now.Round(0).Before(l.until.Round(0))
	return l.epoch, leads
}

// Lost is closed when this node, which led, leads no more, and by Close. It will not lead
// again: make another Store, or start the process anew.
func (s *Store) Lost() <-chan struct{} { return s.lease.lost }

// lose ends the leadership.
func (s *Store) lose(why string) {
	if s.lease.end() {
		s.log.Error("this node leads no more", "reason", why)
	}
}

// end reports whether it has ended a leadership.
func (l *lease) end() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.ended = true
	close(l.lost)
	return l.epoch != 0
}

// Lead waits until this node leads, which may be for ever, or ctx ends. It is called
// once. A stand-by that cannot reach NATS waits for it. After Close the error is
// [ErrNotLeading].
func (s *Store) Lead(ctx context.Context) error {
	var (
		seen  uint64    // the sequence of the leader's last renewal
		since time.Time // when it was first seen
		told  string    // the leader that was logged
	)
	for {
		select {
		case <-s.lease.lost:
			return ErrNotLeading
		default:
		}
		holder, sequence, err := s.holder(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.log.Warn("the lease cannot be read", "error", err)
		case sequence == 0 || holder.Free:
			err = s.take(ctx, sequence)
		case sequence != seen:
			seen, since = sequence, time.Now()
			if holder.Node != told {
				told = holder.Node
				s.log.Info("standing by", "leader", holder.Node)
			}
		case time.Since(since) >= max(s.cfg.Lease, holder.Lease):
			s.log.Warn("the leader is silent: taking over", "leader", holder.Node, "silent", time.Since(since))
			err = s.take(ctx, sequence)
		}
		if err == nil && s.Leads() {
			return nil
		}
		if err := pause(ctx, min(s.cfg.Lease/10, 500*time.Millisecond)); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holder returns the lease's record and its sequence, 0 where there is none.
func (s *Store) holder(ctx context.Context) (leaseRecord, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	m, err := s.stream.GetLastMsgForSubject(ctx, s.leaseSubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return leaseRecord{}, 0, nil
	}
	if err != nil {
		return leaseRecord{}, 0, err
	}
	var r leaseRecord
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return r, 0, fmt.Errorf("%w: its lease: %w", ErrVersion, err)
	}
	return r, m.Sequence, nil
}

// take takes the lease, where it is still as it was seen, and begins a new epoch, which
// shuts out what the last leader may still be writing. To be beaten to either is no error:
// a node that is stopped between the two must not shut out who has led since.
func (s *Store) take(ctx context.Context, seen uint64) error {
	before, err := s.lastEpoch(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	sequence, err := s.write(ctx, s.leaseSubject(), false, seen)
	if err != nil {
		return unlessConflict(err)
	}
	epoch, err := s.write(ctx, s.epochSubject(), false, before)
	if err != nil {
		return unlessConflict(err)
	}
	renewing, cancel := context.WithCancel(context.Background())
	s.lease.mu.Lock()
	s.lease.epoch, s.lease.sequence, s.lease.cancel = epoch, sequence, cancel
	s.lease.until = began.Add(s.cfg.Lease * 4 / 5)
	s.lease.mu.Unlock()
	s.log.Info("this node leads", "epoch", epoch)
	s.lease.work.Go(func() { s.renew(renewing) })
	return nil
}

func unlessConflict(err error) error {
	if isConflict(err) {
		return nil
	}
	return err
}

// lastEpoch returns the sequence of the epoch's message, 0 where there is none.
func (s *Store) lastEpoch(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	m, err := s.stream.GetLastMsgForSubject(ctx, s.epochSubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// write publishes this node's record under a subject whose last message has the sequence
// after.
func (s *Store) write(ctx context.Context, subject string, free bool, after uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	data, err := json.Marshal(leaseRecord{s.cfg.Node, s.id, s.cfg.Lease, free})
	if err != nil {
		return 0, err
	}
	ack, err := s.js.Publish(ctx, subject, data, jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// renew keeps the lease until ctx ends, or it is lost.
func (s *Store) renew(ctx context.Context) {
	for pause(ctx, s.cfg.Lease/4) == nil {
		began := time.Now()
		s.lease.mu.Lock()
		last, until := s.lease.sequence, s.lease.until
		s.lease.mu.Unlock()
		try, cancel := context.WithDeadline(ctx, until)
		sequence, err := s.write(try, s.leaseSubject(), false, last)
		if isConflict(err) { // perhaps with a renewal of our own, of which we never heard
			var holder leaseRecord
			if holder, sequence, err = s.holder(try); err == nil && holder.ID != s.id {
				err = ErrNotLeading
			}
			began = until.Add(-s.cfg.Lease * 4 / 5) // when it was written is not known
		}
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrNotLeading):
			s.lose("another node has taken the lease")
			return
		case !s.Leads():
			s.lose("the lease was not renewed in time")
			return
		case err != nil:
			s.log.Warn("the lease was not renewed", "left", time.Until(until), "error", err)
		default:
			s.lease.mu.Lock()
			s.lease.sequence, s.lease.until = sequence, began.Add(s.cfg.Lease*4/5)
			s.lease.mu.Unlock()
		}
	}
}

// Close gives the lease back, so that a stand-by goes on at once. It is called after the
// server's Shutdown, which has written what was left. It waits until ctx ends.
func (s *Store) Close(ctx context.Context) error {
	s.lease.mu.Lock()
	cancel := s.lease.cancel
	s.lease.mu.Unlock()
	if cancel == nil { // it never led
		s.lease.end()
		return nil
	}
	cancel()
	s.lease.work.Wait()
	led := s.Leads()
	s.lease.end()
	if !led {
		return nil
	}
	if _, err := s.write(ctx, s.leaseSubject(), true, s.lease.sequence); err != nil {
		return fmt.Errorf("natsstore: give the lease back: %w", err)
	}
	return nil
}
