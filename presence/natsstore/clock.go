package natsstore

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Lifetimes of records are counted by the clock on the wall of each node: one whose clock is ahead
// would end what it takes over too early. All clocks are compared with the one of NATS.

// sameTime returns an error where the clock of this machine is another than that of NATS.
func (s *Store) sameTime(ctx context.Context) error {
	began := s.cfg.now()
	info, err := s.stream.Info(ctx)
	if err != nil {
		return err
	}
	if d := apart(began, s.cfg.now(), info.TimeStamp); d > MaxClockDifference {
		return fmt.Errorf("%w by %v: it is %s here, and %s there", ErrClock, d.Round(100*time.Millisecond),
			began.UTC().Format(time.RFC3339), info.TimeStamp.UTC().Format(time.RFC3339))
	}
	return nil
}

// apart returns by how much a clock differs, at least, that showed at while another one went from
// began to ended.
func apart(began, ended, at time.Time) time.Duration {
	return max(0, began.Round(0).Sub(at), at.Sub(ended.Round(0)))
}

// watchClock logs a clock that has become wrong, and right again. A node goes on with it: that of
// NATS may be the wrong one, for all nodes.
func (s *Store) watchClock(began time.Time, info *jetstream.StreamInfo) {
	d := apart(began, s.cfg.now(), info.TimeStamp)
	switch wrong := d > MaxClockDifference; {
	case wrong && !s.wrongClock:
		s.log.Error("the clocks of this machine and of NATS differ", "by", d.Round(100*time.Millisecond))
	case !wrong && s.wrongClock:
		s.log.Info("the clocks of this machine and of NATS agree again")
	}
	s.wrongClock = d > MaxClockDifference
}
