package logqueue_test

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/internal/logqueue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Lines come out as they were written, in their order, with attributes and groups.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := logqueue.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))).Logger()
		l.Debug("not enabled")
		l.With("a", 1).WithGroup("g").Info("one", "b", 2)
		l.Warn("two")
		synctest.Wait()
		require.Equal(t, "level=INFO msg=one a=1 g.b=2\nlevel=WARN msg=two\n", out.String())
	})
}

// BSX-7: a handler that blocks holds up nobody, and what was dropped is counted.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &blocked{free: make(chan struct{})}
		q := logqueue.New(slog.New(h))
		for i := range 3 * logqueue.Size {
			q.Logger().Info(strconv.Itoa(i))
			if i == 0 {
				synctest.Wait() // the first has gone to the handler
			}
		}
		require.EqualValues(t, 2*logqueue.Size-1, q.Dropped())
		close(h.free)
		synctest.Wait()
		require.EqualValues(t, logqueue.Size+1, h.lines.Load())
	})
}

type blocked struct {
	free  chan struct{}
	lines atomic.Int64
}

func (h *blocked) Enabled(context.Context, slog.Level) bool { return true }
func (h *blocked) Handle(context.Context, slog.Record) error {
	<-h.free
	h.lines.Add(1)
	return nil
}
func (h *blocked) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *blocked) WithGroup(string) slog.Handler      { return h }
