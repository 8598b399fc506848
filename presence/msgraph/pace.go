package msgraph

import (
	"context"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// pace lets requests begin one after the other, with a distance between them: what starts together,
// after a restart or an outage, does not arrive together. It also keeps a pause that the server
// asked for. It is safe for concurrent use.
type pace struct {
	every time.Duration

	mu    sync.Mutex
	next  time.Time // when the next request may begin
	until time.Time // nothing begins before
}

func perSecond(n int) time.Duration { return time.Second / time.Duration(n) }

// wait waits for the turn of a request.
func (p *pace) wait(ctx context.Context) error {
	for {
		if err := backoff.Sleep(ctx, p.turn()); err != nil || !p.held() {
			return err
		}
	}
}

// turn takes the next turn, and returns how far off it is.
func (p *pace) turn() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, earliest := range []time.Time{now, p.until} {
		if p.next.Before(earliest) {
			p.next = earliest
		}
	}
	turn := p.next
	p.next = turn.Add(p.every)
	return turn.Sub(now)
}

func (p *pace) held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.until)
}

// hold has all wait for d, those too that wait for their turn already.
func (p *pace) hold(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.until, p.next = until, until
	}
}
