package ews

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

const (
	// settle is how long a group waits for further members before it subscribes.
	settle = time.Second
	// shortLived is how long a stream or a subscription lasts at least that did not
	// fail at once.
	shortLived = time.Minute
	// farewell bounds the time in which a group that ends gives its subscriptions
	// back.
	farewell = 2 * time.Second
)

// group is up to 200 mailboxes whose subscriptions are on one mailbox server, and
// come over one stream. One of them is the anchor, which says which server that is.
type group struct {
	hub      *hub
	server   *server
	grouping string
	log      *slog.Logger
	affinity *affinity
	changed  chan struct{} // has an element when there is a new member
	cancel   context.CancelFunc
	done     chan struct{}

	members []*member // guarded by hub.mu
	left    []*member // likewise: have left since the stream was opened

	anchor string // "": none yet. For the goroutine of the group, as what follows
	stream *stream
	pause  backoff.Backoff
	opens  time.Time // no stream before
}

// stream is a stream under way.
type stream struct {
	members []*member
	began   time.Time
	cancel  context.CancelFunc
	ended   chan error
}

// stop ends the stream, and waits for its end.
func (s *stream) stop() {
	s.cancel()
	<-s.ended
}

// run looks after the subscriptions and the stream of a group until ctx ends.
func (g *group) run(ctx context.Context) {
	defer close(g.done)
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		var ended chan error
		if g.stream != nil {
			ended = g.stream.ended
		}
		select {
		case <-ctx.Done():
			g.close()
			return
		case <-g.changed:
			if backoff.Sleep(ctx, settle) != nil {
				continue
			}
		case err := <-ended:
			g.over(err)
		case <-timer.C:
		}
		timer.Reset(g.tend(ctx))
	}
}

// tend subscribes who is not, and opens the stream where it is not, or does not
// have all. It returns after which time there is more to do.
func (g *group) tend(ctx context.Context) time.Duration {
	next := g.subscribe(ctx)
	now := time.Now()
	if now.Before(g.opens) {
		return min(next, g.opens.Sub(now))
	}
	members := g.subscribed()
	if g.stream != nil {
		if !slices.ContainsFunc(members, func(m *member) bool { return !slices.Contains(g.stream.members, m) }) {
			return next
		}
		g.stream.stop()
		g.stream = nil
	}
	g.release(ctx)
	if len(members) > 0 {
		g.open(ctx, members)
	}
	return next
}

// current returns the members, sorted by mailbox.
func (g *group) current() []*member {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	members := slices.Clone(g.members)
	slices.SortFunc(members, func(a, b *member) int { return strings.Compare(a.mail, b.mail) })
	return members
}

func (g *group) subscribed() []*member {
	return slices.DeleteFunc(g.current(), func(m *member) bool { return m.subscription == "" })
}

// subscribe subscribes the members that are not, and returns after which time to
// try again. The first that succeeds is the anchor.
func (g *group) subscribe(ctx context.Context) time.Duration {
	next := time.Hour
	for _, m := range g.current() {
		if m.subscription != "" {
			continue
		}
		if wait := time.Until(m.retry); wait > 0 {
			next = min(next, wait)
			continue
		}
		anchor := g.anchor
		if anchor == "" {
			anchor, g.affinity = m.mail, new(affinity)
		}
		answer, err := g.server.call(ctx, subscribe(m.mail, anchor, g.affinity))
		if err == nil {
			if m.subscription = subscriptionIn(answer); m.subscription == "" {
				err = ErrAnswer
			}
		}
		switch {
		case ctx.Err() != nil:
			return next
		case err == nil:
			g.anchor, m.made = anchor, time.Now()
			continue
		}
		g.log.Debug("no subscription", "mailbox", m.mail, "error", err)
		wait := time.Hour // polled meanwhile
		switch meaningOf(err) {
		case crowded, noMailbox, noAccess, notImpersonated, ourFault:
		default:
			wait = m.pause.Next()
			if asked := retryAfter(err); asked > 0 {
				wait = max(wait, backoff.Beyond(asked))
			}
		}
		_, held := errors.AsType[*heldError](err)
		_, answered := errors.AsType[*Error](err)
		if answered || !held {
			m.retry = time.Now().Add(wait)
			next = min(next, wait)
		}
		if !answered { // no use to ask for the others now
			return min(next, g.pause.Next())
		}
	}
	return next
}

func subscriptionIn(r *response) string {
	if len(r.Several.Messages) != 1 {
		return ""
	}
	id := strings.TrimSpace(r.Several.Messages[0].SubscriptionID)
	if len(id) > maxSubscriptionID {
		return ""
	}
	return id
}

const maxSubscriptionID = 1024

// release gives back the subscriptions of those who have left. An error does not
// matter: they end by themselves.
func (g *group) release(ctx context.Context) {
	g.hub.mu.Lock()
	left := g.left
	g.left = nil
	g.hub.mu.Unlock()
	for _, m := range left {
		if m.subscription == "" {
			continue
		}
		if _, err := g.server.call(ctx, unsubscribe(m.subscription, m.mail, g.anchor, g.affinity)); meaningOf(err) == passing && err != nil {
			return
		}
	}
}

// close ends the stream, and gives the subscriptions back.
func (g *group) close() {
	if g.stream != nil {
		g.stream.stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	g.release(ctx)
}

// open opens a stream for the subscriptions of members.
func (g *group) open(ctx context.Context, members []*member) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{members: members, began: time.Now(), cancel: cancel, ended: make(chan error, 1)}
	g.stream = s
	ids, byID := make([]string, len(members)), make(map[string]*member, len(members))
	for i, m := range members {
		ids[i], byID[m.subscription] = m.subscription, m
	}
	request := getStreamingEvents(ids, g.anchor, g.affinity, streamTime)
	go func() {
		live := false
		s.ended <- g.server.listen(ctx, request, func(m *message) {
			if !live {
				live = true
				g.setLive(members)
			}
			for i := range m.Notifications {
				n := &m.Notifications[i]
				if told := byID[strings.TrimSpace(n.Subscription)]; told != nil && n.changed() {
					g.note(told)
				}
			}
		})
	}()
}

// setLive notes that the stream tells of changes from now on. What changed before
// is seen by one more poll.
func (g *group) setLive(members []*member) {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	for _, m := range members {
		if !m.live && slices.Contains(g.members, m) {
			m.live = true
			m.changed(rand.N(g.hub.cfg.Interval / 2))
		}
	}
}

// note notes an event of a mailbox.
func (g *group) note(m *member) {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	if m.live {
		m.changed(max(afterEvent, time.Until(m.asked.Add(betweenEvents))))
	}
}

// setSilent notes that no stream tells of the changes of members.
func (g *group) setSilent(members []*member) {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	for _, m := range members {
		m.live, m.fresh = false, false
	}
}

// over notes how the stream ended, and when to open the next. Where the server
// closed it in order, that is at once: nothing is lost between two streams, as long
// as a subscription lives.
func (g *group) over(err error) {
	s := g.stream
	s.cancel()
	g.stream = nil
	if time.Since(s.began) >= shortLived {
		g.pause.Reset()
	}
	now := time.Now()
	g.opens = now
	if err == nil {
		if time.Since(s.began) < shortLived {
			g.setSilent(s.members)
			g.opens = now.Add(g.pause.Next())
		}
		return
	}
	g.log.Debug("stream of notifications ended", "mailboxes", len(s.members), "after", time.Since(s.began), "error", err)
	switch meaning := meaningOf(err); meaning {
	case subscriptionGone, subscriptionTaken:
		lost := s.members
		if e, ok := errors.AsType[*Error](err); ok && len(e.subscriptions) > 0 {
			lost = slices.DeleteFunc(slices.Clone(lost), func(m *member) bool { return !slices.Contains(e.subscriptions, m.subscription) })
		}
		if len(lost) == 0 { // it names none of ours
			lost = s.members
		}
		g.lose(lost, meaning == subscriptionTaken)
	case moving, wrongServer, noMailbox, noAccess, notImpersonated, crowded: // of the anchor
		for _, m := range s.members {
			if m.mail == g.anchor {
				m.retry = now.Add(time.Hour)
			}
		}
		g.anchor, g.affinity = "", new(affinity)
		g.lose(s.members, false)
		g.opens = now.Add(g.pause.Next())
	default:
		g.setSilent(s.members)
		g.opens = now.Add(g.pause.Next())
		if asked := retryAfter(err); asked > 0 {
			g.opens = later(g.opens, now.Add(backoff.Beyond(min(asked, maxHold))))
		}
	}
}

// lose forgets subscriptions that the server has not any more. They are made anew
// at once, or later where they did not last: what is taken away again and again is
// polled most of the time.
func (g *group) lose(members []*member, taken bool) {
	g.setSilent(members)
	for _, m := range members {
		m.subscription = ""
		if time.Since(m.made) < shortLived || taken {
			m.retry = later(m.retry, time.Now().Add(m.pause.Next()))
		} else {
			m.pause.Reset()
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
