// Package logqueue keeps a log that nobody reads from stopping a server: lines wait in
// a bounded queue, and a goroutine of their own hands them to the handler that the host
// gave. What the queue cannot take is dropped and counted.
package logqueue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Size is how many lines wait at most.
const Size = 1024

// A Queue stands between loggers and the handler of a host. Make one with [New].
type Queue struct {
	handler slog.Handler
	dropped atomic.Int64

	mu      sync.Mutex
	lines   []line
	running bool
}

type line struct {
	handler slog.Handler // with the attributes and groups of its logger
	record  slog.Record
}

// New returns a queue before the handler of a logger. Its goroutine lives while there
// are lines.
func New(l *slog.Logger) *Queue { return &Queue{handler: l.Handler()} }

// Logger returns a logger that never blocks.
func (q *Queue) Logger() *slog.Logger { return slog.New(&queued{q, q.handler}) }

// Dropped returns how many lines were dropped.
func (q *Queue) Dropped() int64 { return q.dropped.Load() }

func (q *Queue) add(l line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) >= Size {
		q.dropped.Add(1)
		return
	}
	q.lines = append(q.lines, l)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *Queue) run() {
	for {
		q.mu.Lock()
		lines := q.lines
		if len(lines) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.lines = nil
		q.mu.Unlock()
		for _, l := range lines {
			_ = l.handler.Handle(context.Background(), l.record)
		}
	}
}

// queued is a handler that queues.
type queued struct {
	queue *Queue
	of    slog.Handler
}

// Enabled implements [slog.Handler]. Handlers answer it by a level, without a write.
func (h *queued) Enabled(ctx context.Context, level slog.Level) bool { return h.of.Enabled(ctx, level) }

// Handle implements [slog.Handler].
func (h *queued) Handle(_ context.Context, r slog.Record) error {
	h.queue.add(line{h.of, r.Clone()})
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *queued) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &queued{h.queue, h.of.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h *queued) WithGroup(name string) slog.Handler { return &queued{h.queue, h.of.WithGroup(name)} }
