package source

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// Watch implements [Watched].
func (src *Source[V]) Watch() {
	t := src.table
	t.mu.Lock()
	defer t.mu.Unlock()
	src.watching++
	t.deadlines.Remove(&src.linger)
	if t.cfg.Monitor == nil || src.wanted {
		return
	}
	src.wanted = true
	if t.cfg.Others != nil {
		t.cfg.Others.Want(src.key)
	}
	src.decide()
}

// Unwatch implements [Watched].
func (src *Source[V]) Unwatch() {
	t := src.table
	t.mu.Lock()
	defer t.mu.Unlock()
	src.watching--
	if src.watching == 0 && src.wanted {
		t.deadlines.Set(&src.linger, (*lingering[V])(src), time.Now().Add(t.cfg.Linger))
	}
}

// lingering is a source that nobody watches any more.
type lingering[V any] Source[V]

// Expired implements [deadline.Expirer].
func (l *lingering[V]) Expired() {
	src := (*Source[V])(l)
	src.table.mu.Lock()
	defer src.table.mu.Unlock()
	src.table.start(src.unwant)
}

// unwant ends the monitor of a source that nobody has watched for a linger time.
func (src *Source[V]) unwant() {
	t := src.table
	var told []Listener
	t.mu.Lock()
	if src.watching == 0 && src.wanted {
		src.wanted = false
		src.decide()
		last := t.cfg.Others == nil || t.cfg.Others.Unwant(src.key)
		if last && src.owner() == Monitored {
			told = src.forget() // nobody looks after it any more
		}
		src.dropIfIdle()
	}
	t.mu.Unlock()
	tell(told)
}

// Decide asks Config.Others once more whether the monitor of a key is to run here. The value stays.
// If the monitor begins to run here, the value stays until the monitor says one, or the grace
// time is over.
func (t *Table[V]) Decide(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if src := t.sources[key]; src != nil {
		src.decide()
	}
}

// decide starts the monitor if it is to run here, and stops it if it is not. table.mu is held.
func (src *Source[V]) decide() {
	t := src.table
	is := src.wanted && (t.cfg.Others == nil || t.cfg.Others.Mine(src.key))
	switch {
	case is == (src.stop != nil):
	case !is:
		src.stop()
		src.stop, src.said = nil, false
		if src.owner() == Monitored {
			t.deadlines.Remove(&src.fade) // the process that runs the monitor now sees to that
		}
	default:
		ctx, cancel := context.WithCancel(t.ctx)
		before, ended := src.ended, make(chan struct{})
		if !t.start(func() {
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
		if t.cfg.Others != nil {
			src.asBefore()
		}
	}
}

// Said reports whether the value of a key is from the monitor that runs here.
func (t *Table[V]) Said(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.sources[key]
	return src != nil && src.said
}

// Abandon makes the value of a monitor unknown, unless somebody watches the key here.
func (t *Table[V]) Abandon(key string) {
	t.clear(key, func(src *Source[V]) bool { return !src.wanted && src.owner() == Monitored })
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
		cfg.Logger.Log(ctx, level, "monitor ended, will be started again", "kind", cfg.Name, "key", src.key, "error", err,
			"pause", wait)
		src.table.mu.Lock()
		if v, _ := src.Read(); ctx.Err() == nil && (v.Expires.IsZero() || time.Until(v.Expires) > cfg.Grace) {
			src.asBefore()
		}
		src.table.mu.Unlock()
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
	var told []Listener
	src.table.mu.Lock() // decide stops the monitor with it held
	if ctx.Err() == nil {
		told = src.take(v, Monitored)
	}
	src.table.mu.Unlock()
	tell(told)
}
