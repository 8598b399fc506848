package natsstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openblustar/blustar/presence"
)

// lease is what a node knows of its own.
type lease struct {
	mu       sync.Mutex
	epoch    uint64             // the sequence of the epoch's message; 0 before Join
	sequence uint64             // of the last renewal
	until    time.Time          // when it ends, unless it is renewed; with a monotonic reading
	silent   time.Time          // until when it was over the last time
	tenure   context.Context    // ends when it is over, or was in between
	lapse    context.CancelFunc // ends tenure
	lost     chan struct{}
	ended    bool     // lost is closed
	living   []string // of other nodes
	cancel   context.CancelFunc
	work     sync.WaitGroup // renewals, and the look at others
}

// leaseRecord is the message of a lease.
type leaseRecord struct {
	Node  string        `json:"node"`
	ID    string        `json:"id"`             // of the Store: two nodes may have one name
	Lease time.Duration `json:"lease"`          // in nanoseconds
	Free  bool          `json:"free,omitempty"` // its node has given it back
	Done  bool          `json:"done,omitempty"` // it has an heir

	Dialogs int    `json:"dialogs,omitempty"` // as Config.Dialogs told
	Site    string `json:"site,omitempty"`    // of Config
}

// own is the record of this node's lease.
func (s *Store) own() leaseRecord {
	return leaseRecord{Node: s.cfg.Node, ID: s.id, Lease: s.cfg.Lease, Site: s.cfg.Site}
}

// patience is how long an answer of NATS is waited for: short enough for a node to ask
// again before its lease is over.
func (s *Store) patience() time.Duration { return min(s.cfg.Lease/4, 5*time.Second) }

func (s *Store) leaseSubject(id string) string { return s.cfg.Bucket + ".lease." + id }
func (s *Store) epochSubject(id string) string { return s.cfg.Bucket + ".epoch." + id }

// Node implements [presence.Shared]. It is another one for each Store.
func (s *Store) Node() string { return s.id }

// Alive reports whether this node has its lease now: it has renewed it lately enough for
// nobody else to have taken its place. Any goroutine may call it; it costs a mutex and two
// clocks.
func (s *Store) Alive() bool {
	_, alive := s.lease.epochNow()
	return alive
}

// AliveSince implements [presence.Shared].
func (s *Store) AliveSince(then time.Time) bool {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return s.lease.aliveLocked() && !then.Before(s.lease.silent)
}

func (l *lease) epochNow() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.aliveLocked()
}

// aliveLocked reports whether the lease has time left. A machine that slept stops the
// monotonic clock alone, a clock that was set back the other: both must say so.
func (l *lease) aliveLocked() bool {
	now := time.Now()
	return l.epoch != 0 && !l.ended && now.Before(l.until) && now.Round(0).Before(l.until.Round(0))
}

// renewed has the lease last until then, and reports whether it was over before. What
// was missed meanwhile has to be read again.
func (l *lease) renewed(sequence uint64, until time.Time) (lapsed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lapsed = !l.aliveLocked(); lapsed {
		l.silent = time.Now()
		l.lapse()
		l.tenure, l.lapse = context.WithCancel(context.Background())
	}
	l.sequence, l.until = sequence, until
	return lapsed
}

// Lost is closed when another node has taken this one's place, and by Close. It will not
// have a lease again: make another Store, or start the process anew. A node that cannot
// reach NATS is not lost: it says nothing until it has renewed its lease, which NATS takes
// only if nobody has taken its place meanwhile.
func (s *Store) Lost() <-chan struct{} { return s.lease.lost }

// lose ends the lease.
func (s *Store) lose(why string) {
	if s.lease.end() {
		s.log.Error("this node has lost its lease", "reason", why)
	}
}

// end reports whether it has ended a lease.
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

// Join has this node live beside the others, from now on until [Store.Lost]. It is called
// once, before the Store is used. A NATS that cannot be reached is waited for, until ctx
// ends. After Close the error is [ErrNotAlive].
func (s *Store) Join(ctx context.Context) error {
	for {
		select {
		case <-s.lease.lost:
			return ErrNotAlive
		default:
		}
		err := s.join(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("no lease yet", "error", err)
		if err := pause(ctx, s.cfg.Lease/10); err != nil {
			return err
		}
	}
}

func (s *Store) join(ctx context.Context) error {
	began := time.Now()
	last, _, err := s.holder(ctx, s.id) // an attempt before may have gone through
	if err != nil {
		return err
	}
	sequence, err := s.write(ctx, s.leaseSubject(s.id), s.own(), last)
	if err != nil {
		return err
	}
	before, err := s.lastEpoch(ctx, s.id)
	if err != nil {
		return err
	}
	epoch, err := s.write(ctx, s.epochSubject(s.id), leaseRecord{Node: s.cfg.Node, ID: s.id}, before)
	if err != nil {
		return err
	}
	living, cancel := context.WithCancel(context.Background())
	s.lease.mu.Lock()
	s.lease.epoch, s.lease.sequence, s.lease.cancel = epoch, sequence, cancel
	s.lease.until = began.Add(s.cfg.Lease * 4 / 5)
	s.lease.tenure, s.lease.lapse = context.WithCancel(context.Background())
	s.lease.mu.Unlock()
	s.log.Info("this node has joined", "id", s.id)
	s.lease.work.Go(func() { s.renew(living) })
	seen := make(map[string]sight)
	s.lookOnce(ctx, seen) // who joins knows who lives
	s.lease.work.Go(func() { s.look(living, seen) })
	return nil
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

// holder returns the sequence of a node's lease, 0 where there is none, and its record.
func (s *Store) holder(ctx context.Context, id string) (sequence uint64, r leaseRecord, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	m, err := s.stream.GetLastMsgForSubject(ctx, s.leaseSubject(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, r, nil
	}
	if err != nil {
		return 0, r, err
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return 0, r, fmt.Errorf("%w: a lease: %w", ErrVersion, err)
	}
	return m.Sequence, r, nil
}

// lastEpoch returns the sequence of the message of a node's epoch, 0 where there is none.
func (s *Store) lastEpoch(ctx context.Context, id string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	m, err := s.stream.GetLastMsgForSubject(ctx, s.epochSubject(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// write publishes a record under a subject whose last message has the sequence after.
func (s *Store) write(ctx context.Context, subject string, r leaseRecord, after uint64, options ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	data, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	options = append(options, jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	ack, err := s.js.Publish(ctx, subject, data, options...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// renew keeps the lease until ctx ends, or another node has taken this one's place.
func (s *Store) renew(ctx context.Context) {
	for wait := s.cfg.Lease / 4; pause(ctx, wait) == nil; {
		began := time.Now()
		s.lease.mu.Lock()
		last, until := s.lease.sequence, s.lease.until
		s.lease.mu.Unlock()
		now := s.own()
		if s.cfg.Dialogs != nil {
			now.Dialogs = s.cfg.Dialogs()
		}
		sequence, err := s.write(ctx, s.leaseSubject(s.id), now, last)
		next := began.Add(s.cfg.Lease * 4 / 5)
		if isConflict(err) { // perhaps with a renewal of our own, of which we never heard
			var holder leaseRecord
			if sequence, holder, err = s.holder(ctx, s.id); err == nil && holder.ID != s.id {
				err = ErrNotAlive
			}
			next = until // when it was written is not known: the next renewal tells
		}
		wait = s.cfg.Lease / 4
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrNotAlive):
			s.lose("another node has taken its place")
			return
		case err != nil:
			wait = min(wait, time.Second)
			s.log.Warn("the lease was not renewed", "left", time.Until(until), "error", err)
		case next.Equal(until):
			wait = 0
			s.lease.mu.Lock()
			s.lease.sequence = sequence
			s.lease.mu.Unlock()
		case s.lease.renewed(sequence, next):
			s.log.Info("this node has its lease again", "after", time.Since(until))
		}
	}
}

// sight is when a lease was first seen as it is.
type sight struct {
	sequence uint64
	since    time.Time
}

// look takes the place of those whose lease is over, until ctx ends.
func (s *Store) look(ctx context.Context, seen map[string]sight) {
	for pause(ctx, min(s.cfg.Lease/10, 500*time.Millisecond)) == nil {
		s.lookOnce(ctx, seen)
	}
}

func (s *Store) lookOnce(ctx context.Context, seen map[string]sight) {
	if !s.Alive() {
		clear(seen) // NATS was away for others, too: they have a lease's time to come back
		return
	}
	if err := s.lookAt(ctx, seen); err != nil && ctx.Err() == nil {
		clear(seen)
		s.log.Warn("the leases of others cannot be read", "error", err)
	}
}

func (s *Store) lookAt(ctx context.Context, seen map[string]sight) error {
	asking, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	began := s.cfg.now()
	info, err := s.stream.Info(asking, jetstream.WithSubjectFilter(s.leaseSubject(">")))
	if err != nil {
		return err
	}
	s.watchClock(began, info)
	maps.DeleteFunc(seen, func(id string, _ sight) bool {
		_, there := info.State.Subjects[s.leaseSubject(id)]
		return !there
	})
	living := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		id := strings.TrimPrefix(subject, s.leaseSubject(""))
		if id == s.id {
			continue
		}
		sequence, r, err := s.holder(ctx, id)
		if sequence != 0 && !r.Done && !r.Free {
			living = append(living, id)
			s.compareNames(id, sequence, r)
		}
		switch last := seen[id]; {
		case err != nil:
			return err
		case sequence == 0 || r.Done:
		case r.Free:
			err = s.succeed(ctx, id, sequence)
		case last.sequence != sequence:
			seen[id] = sight{sequence, time.Now()}
		case time.Since(last.since) >= max(s.cfg.Lease, r.Lease):
			s.log.Warn("a node is silent", "silent", r.Node, "id", id, "for", time.Since(last.since))
			err = s.succeed(ctx, id, sequence)
		}
		if err != nil && !isConflict(err) {
			return err
		}
	}
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	s.lease.living, s.looked = living, true
	return nil
}

// compareNames logs once that a node has the name of this one, which came later, and lives. One
// that has died under that name a moment ago renews nothing.
func (s *Store) compareNames(id string, sequence uint64, r leaseRecord) {
	switch before, same := s.namesakes[id]; {
	case r.Node != s.cfg.Node || r.ID != id:
	case !s.looked:
		s.namesakes[id] = sequence
	case same && before != sequence:
		delete(s.namesakes, id)
		s.log.Warn("another node has the same name", "id", id)
	}
}

// Living implements [presence.Shared].
func (s *Store) Living() []string {
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	return append([]string{s.id}, s.lease.living...)
}

// doneFor is how long it is remembered that a dead node has an heir, for those who have a
// dialog's tag from it; doneLease is how long its lease is kept.
const (
	doneFor   = 30 * 24 * time.Hour
	doneLease = time.Hour
)

// succeed takes the place of a node whose lease is over and was seen with that sequence.
// It begins a new epoch first, which shuts out what the dead may still be writing. Who is
// beaten to any of it leaves it to the other; one that stops on the way is silent itself,
// and so is the lease that it has taken.
func (s *Store) succeed(ctx context.Context, id string, seen uint64) error {
	before, err := s.lastEpoch(ctx, id)
	if err != nil {
		return err
	}
	taken := s.own()
	sequence, err := s.write(ctx, s.leaseSubject(id), taken, seen)
	if err != nil {
		return err
	}
	if _, err := s.write(ctx, s.epochSubject(id), taken, before); err != nil {
		return err
	}
	revisions, err := s.Apply(ctx, []presence.Write{{
		Kind: presence.KindHeir, Key: id, Value: []byte(s.id), Expires: time.Now().Add(doneFor), Conditional: true,
	}})
	if err != nil {
		return err
	}
	if revisions[0] != 0 {
		s.log.Info("this node takes the place of another", "id", id)
	}
	taken.Done = true
	_, err = s.write(ctx, s.leaseSubject(id), taken, sequence, jetstream.WithMsgTTL(doneLease))
	return err
}

// Close gives the lease back, so that another node takes this one's place at once. It is
// called after the server's Shutdown, which has written what was left. It waits until ctx
// ends.
func (s *Store) Close(ctx context.Context) error {
	s.calls.end()
	s.lease.mu.Lock()
	cancel := s.lease.cancel
	s.lease.mu.Unlock()
	if cancel == nil { // it has never joined
		s.lease.end()
		return nil
	}
	cancel()
	s.lease.work.Wait()
	alive := s.Alive()
	s.lease.end()
	s.lease.lapse()
	if !alive {
		return nil
	}
	free := s.own()
	free.Free = true
	_, err := s.write(ctx, s.leaseSubject(s.id), free, s.lease.sequence)
	if isConflict(err) { // with a renewal of its own, perhaps, of which it never heard
		if sequence, holder, e := s.holder(ctx, s.id); e == nil && holder.ID == s.id {
			_, err = s.write(ctx, s.leaseSubject(s.id), free, sequence)
		}
	}
	if err != nil {
		return fmt.Errorf("natsstore: give the lease back: %w", err)
	}
	return nil
}
