package natsstore_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/natsstore"
)

// A node whose clock is a minute ahead or behind is refused by name; one that gets so later says
// so, and goes on (BSX-12).
func TestClock(t *testing.T) {
	t.Parallel()
	s := start(t)
	var wrong atomic.Int64 // seconds
	clock := func() time.Time { return time.Now().Add(time.Duration(wrong.Load()) * time.Second) }
	for _, seconds := range []int64{-60, 60} {
		wrong.Store(seconds)
		_, err := natsstore.Open(t.Context(), natsstore.WithClock(natsstore.Config{Conn: connect(t, s)}, clock))
		require.ErrorIs(t, err, natsstore.ErrClock)
		require.Regexp(t, `the clocks of this machine and of NATS differ by (1m0|[45][0-9])`, err.Error())
	}
	wrong.Store(0)
	var lines lockedBuffer
	a := open(t, natsstore.WithClock(natsstore.Config{
		Conn: connect(t, s), Lease: natsstore.MinLease, Logger: slog.New(slog.NewTextHandler(&lines, nil)),
	}, clock))
	said := func(text string) {
		require.Eventually(t, func() bool { return strings.Contains(lines.String(), text) }, time.Minute, 10*time.Millisecond)
	}
	wrong.Store(60)
	said("the clocks of this machine and of NATS differ")
	wrong.Store(0)
	said("agree again")
	select {
	case <-a.Lost():
		t.Fatal("it has its lease by clocks of its own")
	default:
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
