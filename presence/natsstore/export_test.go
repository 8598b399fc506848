package natsstore

import (
	"time"

	"github.com/nats-io/nats.go"
)

func (s *Store) Conn() *nats.Conn { return s.cfg.Conn }

// Lapse has the lease be over, until it is renewed.
func Lapse(s *Store) {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	s.lease.until = time.Now()
}

// Pause has s believe that it has its lease though it does not renew it, as a process does
// that was stopped in the middle of a write.
func Pause(s *Store) {
	s.lease.cancel()
	s.lease.work.Wait()
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	s.lease.until = time.Now().Add(time.Hour)
}

// WithClock has a store go by another clock when it compares it with that of NATS.
func WithClock(c Config, now func() time.Time) Config {
	c.now = now
	return c
}
