package natsstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// heartbeat is how often a server says that it still has a consumer. One that has died with it
	// says so by two that are missing.
	heartbeat = time.Second
	// askAgain is how long a new consumer is waited for until another is asked for: the server that
	// was asked may have died, or not lead any more.
	askAgain = time.Second
	// readPatience is how long nothing may be heard. That is over before deletions are forgotten.
	readPatience = 15 * time.Second
	readPause    = 100 * time.Millisecond
)

var (
	errGap  = errors.New("a message is missing")
	errLine = errors.New("the connection to NATS is lost")
)

// reading is a load, which ends with a message that is certainly there, or a watch.
type reading struct {
	*Store
	consumer jetstream.ConsumerConfig // the next one
	until    uint64                   // the sequence with which it ends; 0: it does not
	f        func(m jetstream.Msg, sequence uint64) error
	failed   bool // f has
	heard    time.Time
}

// read calls f with the messages of the stream that a consumer is given, in their order, until
// nothing is pending after the sequence until, or where that is 0 until ctx ends or f returns an error. A
// consumer that is silent, or that may have left something out, is replaced by another, which begins
// where it ended. It may be at a replica that is behind: what is pending there says nothing.
//
// The ordered consumers of package jetstream do the same, but each waits up to 10 s for a server
// that does not answer, and does not hear of the end of a context meanwhile.
func (s *Store) read(ctx context.Context, what string, until uint64, c jetstream.ConsumerConfig, f func(m jetstream.Msg, sequence uint64) error) error {
	c.AckPolicy, c.MemoryStorage, c.Replicas, c.InactiveThreshold = jetstream.AckNonePolicy, true, 1, tombstone/2
	r := reading{Store: s, consumer: c, until: until, f: f, heard: time.Now()}
	for {
		err := r.once(ctx)
		switch {
		case err == nil || r.failed:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(r.heard) > readPatience || s.cfg.Conn.IsClosed():
			return fmt.Errorf("natsstore: %s: %w", what, err)
		}
		s.log.Debug("a reading goes on with another consumer", "reading", what, "error", err)
		if err := pause(ctx, readPause); err != nil {
			return err
		}
	}
}

// once reads by one consumer. It returns nil at the end of a load, or why nothing more comes.
func (r *reading) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := r.cfg.Conn.StatusChanged(nats.RECONNECTING) // with what was on the way
	defer r.cfg.Conn.RemoveStatusListener(lost)
	go func() {
		select {
		case <-lost:
			cancel(errLine)
		case <-ctx.Done():
		}
	}()
	consumer, err := r.next(ctx)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat),
		jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer messages.Stop()
	began := time.Now()
	for count := uint64(1); ; count++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if silent := time.Now().Add(-3 * heartbeat); silent.After(began) { // and it was not, before
				r.heard = time.Now()
			}
			return errors.Join(err, context.Cause(ctx))
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != count {
			return errGap
		}
		r.heard = time.Now()
		r.consumer.DeliverPolicy, r.consumer.OptStartSeq = jetstream.DeliverByStartSequencePolicy, meta.Sequence.Stream+1
		if err := r.f(m, meta.Sequence.Stream); err != nil {
			r.failed = true
			return err
		}
		// What is written over meanwhile is delivered as it is then: it is pending.
		if r.until != 0 && meta.Sequence.Stream >= r.until && meta.NumPending == 0 {
			return nil
		}
	}
}

// next returns the first consumer that is made of those that it asks for. NATS forgets the others.
func (r *reading) next(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	type answer struct {
		jetstream.Consumer
		error
	}
	answers := make(chan answer, readPatience/askAgain+1)
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	var last error
	for {
		c := r.consumer
		c.Name = nuid.Next()
		go func() {
			made, err := r.stream.CreateConsumer(ctx, c)
			answers <- answer{made, err}
		}()
		for waiting := true; waiting; {
			select {
			case a := <-answers:
				if a.error == nil || r.cfg.Conn.IsClosed() {
					return a.Consumer, a.error
				}
				last = a.error
			case <-tick.C:
				waiting = false
			case <-ctx.Done():
				return nil, cmp.Or(last, context.Cause(ctx))
			}
		}
	}
}
