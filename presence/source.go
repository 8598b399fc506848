package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
)

// LineState is what a PBX says of a device.
type LineState struct {
	State    pidf.LineState // mandatory: idle, ringing, busy or unknown
	Forward  string         // destination of an immediate forward, or empty; at most 1024 bytes
	Lifetime time.Duration  // the value fades to unknown after it; 0: it does not
}

// CalendarState is what a calendar system says of a mailbox. Each appointment
// has one of the states of pidf, and ends after it begins; its ID, subject and
// location have at most 1024 bytes. The zero CalendarState is a calendar without
// appointments.
type CalendarState struct {
	Appointments []pidf.Appointment
	Lifetime     time.Duration // as in LineState
}

// ExternalState is what an external presence system says of a user. Its texts
// have at most 1024 bytes. The zero ExternalState counts for nothing.
type ExternalState struct {
	Status         pidf.Status // empty: it does not say; "other" is for BluStar clients alone
	FreeText       string
	FwdDestination string
	TelephoneEvent string
	Lifetime       time.Duration // as in LineState
}

// LineMonitor watches devices. MonitorLine watches one until ctx ends and calls
// update with each state, the first as soon as it is known; it returns when ctx
// has ended, or with the error that keeps it from going on, after which it is
// called again with back-off. There is one call for each device, however many
// presentities have it, from a goroutine of its own.
//
// dn is the number as the directory entry has it, without visual separators.
// update may be called from any goroutine, one call at a time, and not after
// MonitorLine has returned. It does not wait for the network. A value that is not
// valid is logged and left out.
type LineMonitor interface {
	MonitorLine(ctx context.Context, dn string, update func(LineState)) error
}

// CalendarMonitor watches mailboxes, as [LineMonitor] does devices. mail is in
// lower case. Of a calendar with bad appointments, or too many, the others are
// taken.
type CalendarMonitor interface {
	MonitorCalendar(ctx context.Context, mail string, update func(CalendarState)) error
}

// ExternalMonitor watches users, as [LineMonitor] does devices. user is the entry
// that the directory had when somebody began to watch.
type ExternalMonitor interface {
	MonitorExternal(ctx context.Context, user directory.Entry, update func(ExternalState)) error
}

// ErrTooMany says that a bound of [Config] is reached.
var ErrTooMany = errors.New("presence: too many")

const (
	ownerFeed    = "feed"
	ownerMonitor = "monitor"
)

// sources holds the values of one kind of source by key: the number, the
// mailbox or the presentity.
type sources[V any] struct {
	server   *Server
	max      int
	lifetime func(V) time.Duration
	equal    func(a, b V) bool
	check    func(V) error
	monitor  func(ctx context.Context, user directory.Entry, key string, update func(V)) error // nil: none

	mu sync.Mutex // guards m and adding to it; taken before a source's
	m  map[string]*source[V]
}

// source is one of them: its value, the presentities that show it, and the
// monitor that runs while one of them is watched.
type source[V any] struct {
	of  *sources[V]
	key string

	mu       sync.Mutex // a leaf: nothing else is locked while it is held
	value    V
	known    bool
	prov     Provenance
	changed  time.Time
	shown    []*presentity
	keeper   *presentity // stays in memory while there is a value; a reference
	watching int
	stop     context.CancelFunc // of the running monitor
	linger   *time.Timer
	fade     *time.Timer
}

func newSources[V any](s *Server, max int, lifetime func(V) time.Duration, equal func(a, b V) bool, check func(V) error) *sources[V] {
	return &sources[V]{server: s, max: max, lifetime: lifetime, equal: equal, check: check, m: make(map[string]*source[V])}
}

// get finds or makes the source of key, which p shows from then on.
func (t *sources[V]) get(key string, p *presentity) (*source[V], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	src, err := t.make(key)
	if err != nil {
		return nil, err
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if !slices.Contains(src.shown, p) {
		src.shown = append(src.shown, p)
	}
	return src, nil
}

// put sets the value of the source of key, which is kept even where nobody
// shows it. whose, which may be nil, finds the presentity that would; it is
// referred to from then on, until the value is cleared.
func (t *sources[V]) put(key string, v V, whose func() *presentity) error {
	if err := t.check(v); err != nil {
		return err
	}
	var p *presentity
	if !t.isShown(key) {
		p = whose()
	}
	t.mu.Lock()
	src, err := t.make(key)
	if err != nil {
		t.mu.Unlock()
		t.server.presentities.releaseAny(p)
		return err
	}
	src.mu.Lock()
	if src.keeper == nil {
		src.keeper, p = p, nil
	}
	src.mu.Unlock()
	shown := src.take(t.server.ctx, v, ownerFeed)
	t.mu.Unlock()
	t.server.presentities.releaseAny(p)
	t.server.updateAll(shown)
	return nil
}

// isShown reports whether a presentity shows the source of key.
func (t *sources[V]) isShown(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.m[key]
	if src == nil {
		return false
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	return len(src.shown) > 0
}

func (t *sources[V]) make(key string) (*source[V], error) {
	src := t.m[key]
	if src == nil {
		if len(t.m) >= t.max {
			return nil, ErrTooMany
		}
		src = &source[V]{of: t, key: key}
		t.m[key] = src
	}
	return src, nil
}

// release ends that p shows src.
func (src *source[V]) release(p *presentity) {
	src.of.mu.Lock()
	defer src.of.mu.Unlock()
	src.mu.Lock()
	defer src.mu.Unlock()
	src.shown = slices.DeleteFunc(src.shown, func(other *presentity) bool { return other == p })
	src.dropIfIdle()
}

// dropIfIdle forgets a source that says nothing and interests nobody. Both locks
// are held.
func (src *source[V]) dropIfIdle() {
	if !src.known && len(src.shown) == 0 && src.watching == 0 && src.stop == nil {
		delete(src.of.m, src.key)
	}
}

// read returns the value and whether there is one.
func (src *source[V]) read() (v V, prov Provenance, changed time.Time, known bool) {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.value, src.prov, src.changed, src.known
}

// take takes a new value from an owner that lives as long as ctx. Its lifetime
// starts now. It returns who shows it.
func (src *source[V]) take(ctx context.Context, v V, owner string) []*presentity {
	now := time.Now()
	src.mu.Lock()
	defer src.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	if !src.known || !src.of.equal(src.value, v) {
		src.changed = now
	}
	src.value, src.known = v, true
	src.prov = Provenance{Owner: owner, Received: now}
	src.fadeAfter(src.of.lifetime(v))
	return slices.Clone(src.shown)
}

// clear makes the value unknown.
func (src *source[V]) clear() {
	src.of.mu.Lock()
	src.mu.Lock()
	shown, keeper := src.forget()
	src.dropIfIdle()
	src.mu.Unlock()
	src.of.mu.Unlock()
	src.of.server.updateAll(shown)
	src.of.server.presentities.releaseAny(keeper)
}

// forget makes the value unknown, and returns who showed it, and its keeper to be
// released. src.mu is held.
func (src *source[V]) forget() (shown []*presentity, keeper *presentity) {
	if !src.known {
		return nil, nil
	}
	var none V
	src.value, src.known, src.prov = none, false, Provenance{}
	src.changed = time.Now()
	src.fadeAfter(0)
	keeper, src.keeper = src.keeper, nil
	return slices.Clone(src.shown), keeper
}

// fadeAfter has the value cleared after d; 0 for never. src.mu is held.
func (src *source[V]) fadeAfter(d time.Duration) {
	if src.fade != nil {
		src.fade.Stop()
		src.fade = nil
	}
	src.prov.Expires = time.Time{}
	if d <= 0 {
		return
	}
	src.prov.Expires = time.Now().Add(d)
	var timer *time.Timer
	timer = src.of.server.after(d, func() {
		src.mu.Lock()
		current := src.fade == timer
		src.mu.Unlock()
		if current {
			src.clear()
		}
	})
	src.fade = timer
}

// watch starts the monitor with the first watched presentity.
func (src *source[V]) watch(user directory.Entry) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.watching++
	if src.linger != nil {
		src.linger.Stop()
		src.linger = nil
	}
	if src.of.monitor == nil || src.stop != nil || src.watching > 1 {
		return
	}
	ctx, cancel := context.WithCancel(src.of.server.ctx)
	if !src.of.server.start(func() { src.run(ctx, user) }) {
		cancel()
		return
	}
	src.stop = cancel
}

// unwatch stops it after the linger time of the last.
func (src *source[V]) unwatch() {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.watching--
	if src.watching > 0 || src.stop == nil {
		return
	}
	src.linger = src.of.server.after(src.of.server.cfg.Linger, src.stopMonitor)
}

func (src *source[V]) stopMonitor() {
	src.of.mu.Lock()
	src.mu.Lock()
	var shown []*presentity
	var keeper *presentity
	if src.watching == 0 && src.stop != nil {
		src.stop()
		src.stop = nil
		if src.prov.Owner == ownerMonitor {
			shown, keeper = src.forget() // nobody looks after it any more
		}
		src.dropIfIdle()
	}
	src.mu.Unlock()
	src.of.mu.Unlock()
	src.of.server.updateAll(shown)
	src.of.server.presentities.releaseAny(keeper)
}

// run keeps a monitor going until ctx ends. While it fails, its last value
// stays for the grace time only.
func (src *source[V]) run(ctx context.Context, user directory.Entry) {
	server := src.of.server
	pause := time.Second
	said := ""
	for {
		began := time.Now()
		err := src.of.monitor(ctx, user, src.key, func(v V) {
			if err := src.of.check(v); err != nil {
				server.cfg.Logger.Warn("a monitor's value is not taken", "source", src.key, "error", err)
				return
			}
			server.updateAll(src.take(ctx, v, ownerMonitor))
		})
		if ctx.Err() != nil {
			return
		}
		level := slog.LevelDebug // it says the same again
		if text := fmt.Sprint(err); text != said {
			level, said = slog.LevelWarn, text
		}
		server.cfg.Logger.Log(ctx, level, "monitor ended, will be started again", "source", src.key, "error", err, "pause", pause)
		src.mu.Lock()
		expires := src.prov.Expires
		if src.known && src.prov.Owner == ownerMonitor && (expires.IsZero() || time.Until(expires) > server.cfg.Grace) {
			src.fadeAfter(server.cfg.Grace)
		}
		src.mu.Unlock()
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		if !sleep(ctx, jitter(pause)) {
			return
		}
		pause = min(2*pause, time.Minute)
	}
}

// stopTimers stops the fading and lingering of all of them.
func (t *sources[V]) stopTimers() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, src := range t.m {
		src.mu.Lock()
		stopTimer(&src.fade)
		stopTimer(&src.linger)
		src.mu.Unlock()
	}
}

// sleep waits for d and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter spreads d over ±25 %, so that what failed together is not tried again
// together.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
