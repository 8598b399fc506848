package msgraph

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// hub asks for many at once what each of its members wants to know of one. It has goroutines only
// while it has members. It is safe for concurrent use.
type hub[V any] struct {
	size     int           // keys that one request may name
	workers  int           // requests under way at once
	interval time.Duration // after which a key is asked for again
	// ask asks for keys, and returns what there is to tell of them: of one that is missing, nothing
	// is told.
	ask func(ctx context.Context, keys []string) (map[string]result[V], error)
	// failed is told of requests that fail, and how many did in a row; with nil, of the end of
	// that.
	failed func(err error, failures int)

	queue *queue

	mu      sync.Mutex
	members map[string][]*member[V]
	run     *run
	pause   backoff.Backoff
}

// run is the time during which a hub has members.
type run struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// result is what an answer says of one key.
type result[V any] struct {
	value V
	err   error
}

// member is told of one key.
type member[V any] struct {
	key  string
	news chan result[V] // the newest result, where it has not been fetched yet
}

const (
	gather  = time.Second            // how long a new member waits for others, to be asked for with them
	spacing = 200 * time.Millisecond // between the beginnings of two requests: after a start, there is no storm
)

func newHub[V any](size, workers int, interval time.Duration) *hub[V] {
	return &hub[V]{
		size: size, workers: workers, interval: interval, queue: newQueue(), members: make(map[string][]*member[V]),
		pause: backoff.Backoff{First: interval, Max: max(interval, time.Minute)},
	}
}

// join makes a member, which must leave.
func (h *hub[V]) join(key string) *member[V] {
	m := &member[V]{key: key, news: make(chan result[V], 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members[key] = append(h.members[key], m)
	h.queue.add(key, time.Now().Add(gather))
	if h.run == nil {
		ctx, cancel := context.WithCancel(context.Background())
		h.run = &run{cancel: cancel}
		for range h.workers {
			h.run.done.Go(func() { h.work(ctx) })
		}
	}
	return m
}

// leave ends a membership. With the last one it waits until no request is under way.
func (h *hub[V]) leave(m *member[V]) {
	h.mu.Lock()
	rest := slices.DeleteFunc(h.members[m.key], func(other *member[V]) bool { return other == m })
	h.members[m.key] = rest
	var last *run
	if len(rest) == 0 {
		delete(h.members, m.key)
		h.queue.remove(m.key)
		if len(h.members) == 0 {
			last, h.run = h.run, nil
		}
	}
	h.mu.Unlock()
	if last != nil {
		last.cancel()
		last.done.Wait()
	}
}

// next waits for news.
func (m *member[V]) next(ctx context.Context) (V, error) {
	select {
	case r := <-m.news:
		return r.value, r.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// tell replaces news that were not fetched. One goroutine at a time tells.
func (m *member[V]) tell(r result[V]) {
	select {
	case <-m.news:
	default:
	}
	m.news <- r
}

func (h *hub[V]) work(ctx context.Context) {
	for {
		keys := h.queue.take(ctx, h.size, true, spacing)
		if keys == nil {
			return
		}
		asked := time.Now()
		results, err := h.ask(ctx, keys)
		if ctx.Err() != nil {
			h.again(keys, asked) // for those who joined since
			return
		}
		h.deliver(keys, results, err, asked)
	}
}

// again has the keys that still have members asked for at a time.
func (h *hub[V]) again(keys []string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		if len(h.members[key]) > 0 {
			h.queue.add(key, at)
		}
	}
}

// deliver tells the members what a request has brought.
func (h *hub[V]) deliver(keys []string, results map[string]result[V], err error, asked time.Time) {
	if err != nil {
		results = make(map[string]result[V], len(keys))
		for _, key := range keys {
			results[key] = result[V]{err: err}
		}
	}
	h.mu.Lock()
	before := h.pause.Failures()
	if err != nil {
		h.queue.hold(max(h.pause.Next(), backoff.Beyond(retryAfter(err))))
	} else {
		h.pause.Reset()
	}
	for key, r := range results {
		for _, m := range h.members[key] {
			m.tell(r)
		}
	}
	h.mu.Unlock()
	h.again(keys, asked.Add(h.interval))
	if err != nil || before > 0 {
		h.failed(err, before+1)
	}
}
