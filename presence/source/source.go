package source

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/deadline"
)

// Source is one key of a [Table]: its value, its listeners, and the monitor that runs while
// somebody watches it. A listener that does not watch is told of the value, but does not make the
// monitor run.
type Source[V any] struct {
	table *Table[V]
	key   string

	kept atomic.Pointer[kept[V]] // nobody changes it; nil before the first; set with mu held

	mu        sync.Mutex
	listeners []Listener
	watching  int
	wanted    bool               // somebody watches it, or did so less than a linger time ago
	stop      context.CancelFunc // of the monitor, if it runs here
	ended     chan struct{}      // closed when the last call of the monitor has returned
	said      bool               // the monitor that runs here has said the value
	held      time.Time          // when the value expires that Config.Changed was told last
	fade      deadline.Item
	linger    deadline.Item
}

// kept is a value, and whether it is one.
type kept[V any] struct {
	value Value[V]
	known bool
}

// Watched is what sources of all kinds have in common.
type Watched interface {
	// Watch has the monitor run: here or, with Config.Others, in another process. Each call is
	// undone by one of Unwatch. A linger time after the last one the monitor ends.
	Watch()
	Unwatch()
	// Leave undoes [Table.Join].
	Leave(l Listener)
	// Fed reports whether the host has set the value.
	Fed() bool
}

// Key returns the key.
func (src *Source[V]) Key() string { return src.key }

// Read returns the value, and whether there is one. When a value has been cleared, Changed is
// the time of that. Read takes no lock.
func (src *Source[V]) Read() (v Value[V], known bool) {
	if k := src.kept.Load(); k != nil {
		return k.value, k.known
	}
	return v, false
}

// Fed implements [Watched].
func (src *Source[V]) Fed() bool {
	v, known := src.Read()
	return known && v.Owner == Feed
}

// Leave implements [Watched].
func (src *Source[V]) Leave(l Listener) {
	src.table.mu.Lock()
	defer src.table.mu.Unlock()
	src.mu.Lock()
	defer src.mu.Unlock()
	if i := slices.Index(src.listeners, l); i >= 0 {
		src.listeners = slices.Delete(src.listeners, i, i+1)
	}
	src.dropIfIdle()
}

// dropIfIdle forgets a source without a value, listeners and watchers. Both locks are held.
func (src *Source[V]) dropIfIdle() {
	if _, known := src.Read(); !known && len(src.listeners) == 0 && src.watching == 0 && !src.wanted {
		delete(src.table.sources, src.key)
	}
}

// take takes a new value, the lifetime of which starts now. It returns who is to be told.
func (src *Source[V]) take(v V, owner Owner) []Listener {
	now := time.Now()
	src.mu.Lock()
	defer src.mu.Unlock()
	next := Value[V]{Value: v, Owner: owner, Received: now, Changed: now}
	old, known := src.Read()
	same := known && src.table.cfg.Equal(old.Value, v)
	if same {
		next.Changed = old.Changed
	}
	lifetime := src.table.cfg.Lifetime(v)
	said := owner == Monitored
	again := same && said && src.said && (src.held.IsZero() == (lifetime <= 0)) && (lifetime <= 0 || time.Until(src.held) > lifetime/2)
	src.said = said
	src.set(next, true, lifetime)
	if !again { // a monitor may say the same every few seconds
		src.changed()
	}
	return slices.Clone(src.listeners)
}

// clear makes the value unknown, if still reports true for it or is nil. It tells the listeners,
// and reports whether it did so.
func (src *Source[V]) clear(still func(Value[V]) bool) bool {
	src.table.mu.Lock()
	src.mu.Lock()
	var told []Listener
	v, had := src.Read()
	had = had && (still == nil || still(v))
	if had {
		told = src.forget()
	}
	src.dropIfIdle()
	src.mu.Unlock()
	src.table.mu.Unlock()
	tell(told)
	return had
}

// forget makes the value unknown and returns who is to be told. src.mu is held.
func (src *Source[V]) forget() []Listener {
	src.said = false
	src.set(Value[V]{Changed: time.Now()}, false, 0)
	src.changed()
	return slices.Clone(src.listeners)
}

func (src *Source[V]) changed() {
	v, _ := src.Read()
	src.held = v.Expires
	if src.table.cfg.Changed != nil {
		src.table.cfg.Changed(src.key)
	}
}

// set makes v the value, which fades after d, or never if d is 0. src.mu is held.
func (src *Source[V]) set(v Value[V], known bool, d time.Duration) {
	v.Expires = time.Time{}
	if d > 0 {
		v.Expires = time.Now().Add(d)
		src.table.deadlines.Set(&src.fade, (*fading[V])(src), v.Expires)
	} else {
		src.table.deadlines.Remove(&src.fade)
	}
	src.kept.Store(&kept[V]{v, known})
}

// again is the time after which Config.MayExpire is asked again.
const again = time.Second

// fading is a source whose value is to fade.
type fading[V any] Source[V]

// Expired implements [deadline.Expirer]. Listeners may take their time: so they are told by
// another goroutine.
func (f *fading[V]) Expired() {
	src := (*Source[V])(f)
	if may := src.table.cfg.MayExpire; may != nil && !may() {
		src.mu.Lock()
		defer src.mu.Unlock()
		if v, known := src.Read(); known && !v.Expires.IsZero() && time.Until(v.Expires) <= 0 {
			src.table.deadlines.Set(&src.fade, f, time.Now().Add(again))
		}
		return
	}
	src.table.start(func() {
		src.clear(func(v Value[V]) bool { return !v.Expires.IsZero() && time.Until(v.Expires) <= 0 })
	})
}

// Watch implements [Watched].
func (src *Source[V]) Watch() {
	src.table.mu.Lock()
	defer src.table.mu.Unlock()
	src.mu.Lock()
	defer src.mu.Unlock()
	src.watching++
	src.table.deadlines.Remove(&src.linger)
	if src.table.cfg.Monitor == nil || src.wanted {
		return
	}
	src.wanted = true
	if others := src.table.cfg.Others; others != nil {
		others.Want(src.key)
	}
	src.decide()
}

// decide starts the monitor if it is to run here, and stops it if it is not. Both locks are held.
func (src *Source[V]) decide() {
	others := src.table.cfg.Others
	is := src.wanted && (others == nil || others.Mine(src.key))
	switch {
	case is == (src.stop != nil):
	case !is:
		src.stop()
		src.stop, src.said = nil, false
		if v, known := src.Read(); known && v.Owner == Monitored {
			src.table.deadlines.Remove(&src.fade) // the process that runs the monitor now sees to that
		}
	default:
		ctx, cancel := context.WithCancel(src.table.ctx)
		before, ended := src.ended, make(chan struct{})
		if !src.table.startLocked(func() {
			defer close(ended)
			if before != nil {
				<-before
			}
			src.run(ctx)
		}) {
			cancel()
			return
		}
		src.stop, src.ended = cancel, ended
		if v, known := src.Read(); known && v.Owner == Monitored && others != nil {
			src.set(v, true, src.table.cfg.Grace) // as before, until the monitor speaks
		}
	}
}

// Unwatch implements [Watched].
func (src *Source[V]) Unwatch() {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.watching--
	if src.watching == 0 && src.wanted {
		src.table.deadlines.Set(&src.linger, (*lingering[V])(src), time.Now().Add(src.table.cfg.Linger))
	}
}

// lingering is a source that nobody watches any more.
type lingering[V any] Source[V]

// Expired implements [deadline.Expirer].
func (l *lingering[V]) Expired() { (*Source[V])(l).table.start((*Source[V])(l).unwant) }

// unwant ends the monitor of a source that nobody has watched for a linger time.
func (src *Source[V]) unwant() {
	src.table.mu.Lock()
	src.mu.Lock()
	var told []Listener
	if src.watching == 0 && src.wanted {
		src.wanted = false
		src.decide()
		others := src.table.cfg.Others
		last := others == nil || others.Unwant(src.key)
		if v, known := src.Read(); last && known && v.Owner == Monitored {
			told = src.forget() // nobody looks after it any more
		}
		src.dropIfIdle()
	}
	src.mu.Unlock()
	src.table.mu.Unlock()
	tell(told)
}

// run keeps a monitor going until ctx ends. When it fails, its last value stays for the grace
// time.
func (src *Source[V]) run(ctx context.Context) {
	cfg := &src.table.cfg
	var pause backoff.Backoff
	said := ""
	for ctx.Err() == nil {
		began := time.Now()
		err := cfg.Monitor(ctx, src.key, func(v V) { src.update(ctx, v) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > backoff.DefaultMax {
			pause.Reset()
		}
		wait := pause.Next()
		level := slog.LevelDebug // the same error again
		if text := fmt.Sprint(err); text != said {
			level, said = slog.LevelWarn, text
		}
		cfg.Logger.Log(ctx, level, "monitor ended, will be started again", "kind", cfg.Name, "key", src.key, "error", err, "pause", wait)
		src.mu.Lock()
		if v, known := src.Read(); ctx.Err() == nil && known && v.Owner == Monitored && (v.Expires.IsZero() || time.Until(v.Expires) > cfg.Grace) {
			src.set(v, true, cfg.Grace)
		}
		src.mu.Unlock()
		if backoff.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// update takes a value from a monitor, unless that has been stopped.
func (src *Source[V]) update(ctx context.Context, v V) {
	cfg := &src.table.cfg
	v, err := cfg.Check(src.key, v)
	if err != nil {
		cfg.Logger.Warn("a monitor's value is not taken", "kind", cfg.Name, "key", src.key, "error", err)
		return
	}
	src.table.mu.Lock() // decide stops the monitor with it held
	if ctx.Err() != nil {
		src.table.mu.Unlock()
		return
	}
	told := src.take(v, Monitored)
	src.table.mu.Unlock()
	tell(told)
}
