package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net/netip"
	"sync"
	"time"
)

// throttle counts refused credentials by account and by source, and holds back
// whoever had too many. The package documentation has the rule.
//
// The counts are in the store. What is under way is in memory: an attempt is let
// through only where its failure, and that of all others under way, would not
// exceed the limit, since otherwise parallel attempts would pass before the
// first of them is counted. Those in excess wait for the others to end.
type throttle struct {
	store  Store
	max    [2]int // of an account and of a source
	window time.Duration
	shared []netip.Prefix

	mu    sync.Mutex
	gates map[string]*gate
	// ended counts the attempts that ended, by a hash of their key: whoever read
	// the store before one did must read again.
	ended [256]uint64
}

// gate is a key with attempts under way.
type gate struct {
	underway int
	wake     chan struct{} // closed when an attempt ends
}

// subject is whom an attempt counts against: the account and the source. A key
// that is "" is not counted. The client, at its source, is who may be known.
//
// The lane is the kind of check, a user's, a controller's or Digest. Attempts
// wait for others of their lane alone: those that need no directory are not to
// wait for one.
type subject struct{ account, source, client, lane string }

func (s subject) keys() [2]string { return [2]string{s.account, s.source} }

func newThrottle(cfg Config) *throttle {
	return &throttle{
		store: cfg.Store, max: [2]int{cfg.MaxFailures, cfg.MaxSourceFailures}, window: cfg.FailureWindow, shared: cfg.SharedSources,
		gates: make(map[string]*gate),
	}
}

// subject makes the keys of an account (see accountKey), a client and a source.
func (t *throttle) subject(account, client string, source netip.Addr) subject {
	if t.max[0] < 0 {
		return subject{}
	}
	source = source.Unmap().WithZone("")
	s := subject{
		account: hashKey([]byte("account " + account)),
		client:  hashKey([]byte("client " + client + " " + source.String())),
	}
	for _, p := range t.shared {
		if p.Contains(source) {
			return s
		}
	}
	s.source = hashKey([]byte("source " + sourceNet(source)))
	return s
}

// sourceNet is the unit that a source is counted by: one who has a /64 of IPv6
// has all its addresses.
func sourceNet(source netip.Addr) string {
	if source.Is6() {
		if p, err := source.Prefix(64); err == nil {
			return p.String()
		}
	}
	return source.String()
}

// begin reserves an attempt, or returns ErrThrottled, the store's error, or that
// of ctx. After nil, end must be called. A known subject passes in any case.
func (t *throttle) begin(ctx context.Context, s subject, known bool) error {
	for {
		before := t.endings(s)
		var failures [2]int
		for i, key := range s.keys() {
			f, _, err := t.failures(ctx, key)
			if err != nil {
				return err
			}
			if failures[i] = f.count(); failures[i] >= t.max[i] && key != "" && !known {
				return ErrThrottled
			}
		}
		wait, ok := t.reserve(s, failures, before, known)
		if ok {
			return nil
		}
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reserve enters the attempt, or returns what to wait for before trying again,
// nil where the store must be read again at once.
func (t *throttle) reserve(s subject, failures [2]int, before [2]uint64, known bool) (wait <-chan struct{}, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !known {
		if t.endingsLocked(s) != before {
			return nil, false
		}
		for i, key := range s.keys() {
			if g := t.gates[key+s.lane]; key != "" && g != nil && g.underway+failures[i] >= t.max[i] {
				return g.wake, false
			}
		}
	}
	for _, key := range s.keys() {
		if key == "" {
			continue
		}
		g := t.gates[key+s.lane]
		if g == nil {
			g = &gate{wake: make(chan struct{})}
			t.gates[key+s.lane] = g
		}
		g.underway++
	}
	return nil, true
}

// end gives a reservation back, after the result was counted.
func (t *throttle) end(s subject) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range s.keys() {
		g := t.gates[key+s.lane]
		if key == "" || g == nil {
			continue
		}
		t.ended[shard(key)]++
		close(g.wake)
		g.wake = make(chan struct{})
		if g.underway--; g.underway == 0 {
			delete(t.gates, key+s.lane)
		}
	}
}

func (t *throttle) endings(s subject) [2]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endingsLocked(s)
}

func (t *throttle) endingsLocked(s subject) [2]uint64 {
	return [2]uint64{t.ended[shard(s.account)], t.ended[shard(s.source)]}
}

func shard(key string) byte {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return byte(h.Sum32())
}

// failed counts a refusal against both.
func (t *throttle) failed(ctx context.Context, s subject) error {
	now := time.Now()
	add := func(most int) func(failures, string) failures {
		return func(f failures, of string) failures { return f.add(now, of, most) }
	}
	return errors.Join(t.update(ctx, s.account, s.source, add(t.max[0])), t.update(ctx, s.source, s.account, add(t.max[1])))
}

// succeeded forgets the account's failures, and of the source those that were
// with this account: whoever has one good account must not be able to wipe out
// his guesses at others.
func (t *throttle) succeeded(ctx context.Context, s subject) error {
	none := func(f failures, _ string) failures { return f[:min(len(f), 8)] }
	return errors.Join(t.update(ctx, s.account, s.source, none), t.update(ctx, s.source, s.account, failures.drop))
}

// update changes the failures of key, as far as they have to do with another.
func (t *throttle) update(ctx context.Context, key, other string, change func(failures, string) failures) error {
	const tries = 100
	if key == "" {
		return nil
	}
	for range tries {
		f, revision, err := t.failures(ctx, key)
		if err != nil {
			return err
		}
		changed := change(f, other)
		if changed == f {
			return nil
		}
		lifetime := max(t.window-time.Since(changed.last()), time.Millisecond)
		err = t.store.Swap(ctx, KindFailure, key, string(changed), lifetime, revision)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

func (t *throttle) failures(ctx context.Context, key string) (failures, uint64, error) {
	if key == "" {
		return "", 0, nil
	}
	record, err := t.store.Get(ctx, KindFailure, key)
	if errors.Is(err, ErrNotFound) {
		return "", 0, nil
	}
	return failures(record.Value), record.Revision, err
}

// failures is the stored form: the time of the last one, and for each of them a
// hash of the other side, 8 bytes each.
type failures string

func (f failures) count() int { return max(0, len(f)/8-1) }

func (f failures) last() time.Time {
	if len(f) < 8 {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64([]byte(f[:8]))))
}

func (f failures) add(now time.Time, of string, most int) failures {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	if len(f) > 8 {
		b = append(b, f[max(8, len(f)-8*(most-1)):]...)
	}
	return failures(append(b, mark(of)...))
}

func (f failures) drop(of string) failures {
	if len(f) < 8 {
		return f
	}
	kept, m := f[:8], failures(mark(of))
	for rest := f[8:]; len(rest) >= 8; rest = rest[8:] {
		if rest[:8] != m {
			kept += rest[:8]
		}
	}
	return kept
}

// mark shortens a store key; "" has a mark, too.
func mark(key string) string { return (key + "--------")[:8] }
