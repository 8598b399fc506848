package natsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/openblustar/blustar/presence"
)

const (
	// maxBatch is how many messages an atomic publish has at most; JetStream takes 1000.
	maxBatch = 500
	// conditionTries is how often a condition that says "there is none" is tried again
	// where what was there has expired meanwhile.
	conditionTries = 5
)

var errCondition = errors.New("a condition did not hold")

// Apply implements [presence.Store]: by one atomic batch, most often. Where that is too
// large, or a condition does not hold, writes without a condition go in batches of up to
// 500, and those with one alone. The error is [ErrNotAlive] where another node has taken
// this one's place.
func (s *Store) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	if err := ctx.Err(); err != nil || len(batch) == 0 {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	revisions := make([]uint64, len(batch))
	if canBeOne(batch) {
		if err := s.together(ctx, batch, revisions); err == nil {
			return revisions, nil
		} else if !errors.Is(err, errCondition) {
			return nil, err
		}
	}
	for i := 0; i < len(batch); {
		n := 1
		var err error
		if batch[i].Conditional {
			revisions[i], err = s.conditional(ctx, batch[i])
		} else {
			for i+n < len(batch) && n < maxBatch && !batch[i+n].Conditional {
				n++
			}
			err = s.together(ctx, batch[i:i+n], revisions[i:i+n])
		}
		if err != nil {
			return nil, err
		}
		i += n
	}
	return revisions, nil
}

// canBeOne reports whether a batch can be one of JetStream's, in which no record with a
// condition comes twice.
func canBeOne(batch []presence.Write) bool {
	if len(batch) > maxBatch || !slices.ContainsFunc(batch, func(w presence.Write) bool { return w.Conditional }) {
		return false
	}
	seen := make(map[[2]string]bool, len(batch))
	for i := range batch {
		key := [2]string{batch[i].Kind, batch[i].Key}
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

// together publishes a batch, all or none. A condition is compared with the last message
// of its record, whether it is a deletion, has expired, or not: where it does not hold it
// may hold all the same.
func (s *Store) together(ctx context.Context, batch []presence.Write, revisions []uint64) error {
	messages := make([]*nats.Msg, len(batch))
	for i := range batch {
		messages[i] = s.message(batch[i])
		if batch[i].Conditional {
			messages[i].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(batch[i].Revision, 10))
		}
	}
	last, err := s.publish(ctx, messages)
	if err != nil {
		return err
	}
	for i := range revisions {
		revisions[i] = last - uint64(len(batch)-1-i)
	}
	return nil
}

// conditional returns 0 where the condition of w does not hold.
func (s *Store) conditional(ctx context.Context, w presence.Write) (uint64, error) {
	for range conditionTries {
		sequence, revision, err := s.now(ctx, w)
		switch {
		case err != nil:
			return 0, err
		case revision != w.Revision:
			return 0, nil
		}
		m := s.message(w)
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(sequence, 10))
		last, err := s.publish(ctx, []*nats.Msg{m})
		if !errors.Is(err, errCondition) {
			return last, err
		}
	}
	return 0, nil
}

// now returns the sequence of the last message of a record, and its revision: 0 where
// it is deleted or has expired.
func (s *Store) now(ctx context.Context, w presence.Write) (sequence, revision uint64, err error) {
	m, err := s.stream.GetLastMsgForSubject(ctx, s.subject(w.Kind, w.Key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("natsstore: %w", err)
	}
	_, there, err := s.record(m.Subject, m.Header, m.Data, m.Sequence)
	if there {
		revision = m.Sequence
	}
	return m.Sequence, revision, err
}

// publish publishes messages, all or none, where this node has its lease. It returns the sequence
// of the last, or of the fence. The error is errCondition where the condition of one did not hold.
//
// The first message of every batch is the fence: it is taken only while the epoch is that
// of this node's lease. A process that was stopped in between writes nothing.
func (s *Store) publish(ctx context.Context, messages []*nats.Msg) (uint64, error) {
	epoch, leads := s.lease.epochNow()
	if !leads {
		return 0, ErrNotAlive
	}
	fence := nats.NewMsg(s.fence())
	fence.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(epoch, 10))
	fence.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, s.epochSubject(s.id))
	id := nuid.Next()
	all := append([]*nats.Msg{fence}, messages...)
	for i, m := range all {
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(messages) {
			if err := s.cfg.Conn.PublishMsg(m); err != nil {
				return 0, fmt.Errorf("natsstore: %w", err)
			}
			continue
		}
		m.Header.Set("Nats-Batch-Commit", "1")
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	reply, err := s.cfg.Conn.RequestMsgWithContext(ctx, all[len(messages)])
	if err != nil {
		return 0, fmt.Errorf("natsstore: %w", err)
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return 0, fmt.Errorf("natsstore: the answer to a publish: %w", err)
	}
	switch {
	case ack.Error == nil:
		return ack.Sequence, nil
	case !isConflict(ack.Error):
		return 0, fmt.Errorf("natsstore: %w", ack.Error)
	case s.isStill(ctx, epoch):
		return 0, errCondition
	}
	s.lose("another node has taken its place")
	return 0, ErrNotAlive
}

// isConflict reports whether a condition did not hold. Replicated streams have a code
// of their own for it.
func isConflict(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// isStill reports whether the epoch is the one of this node, as far as can be known.
func (s *Store) isStill(ctx context.Context, epoch uint64) bool {
	last, err := s.lastEpoch(ctx, s.id)
	return err != nil || last == epoch
}
