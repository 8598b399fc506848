package client

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

// maxRetry bounds the pause between attempts to refresh a publication.
const maxRetry = 5 * time.Minute

// publications are the client's: its presence and, in the BluStar dialect, its
// forwarding. They share the user's entity-tag.
type publications struct {
	c           *Client
	callID, tag string

	// These change with requests and are guarded by the client's turn.
	seq  uint32
	etag string // empty where there is no publication

	mu       sync.Mutex // guards the pointers
	presence *publication
	forward  *publication
}

// A publication is one of them while it is kept alive.
type publication struct {
	stopped chan struct{}                                // closed when it is kept no longer
	soon    chan struct{}                                // holds a token where it is to be refreshed now
	refresh func(context.Context) (time.Duration, error) // returns what was granted
	backoff backoff.Backoff
}

func (ps *publications) init(c *Client) {
	ps.c, ps.callID, ps.tag = c, rand.Text(), rand.Text()
}

func (ps *publications) publish(ctx context.Context, p Publication) error {
	c := ps.c
	var lasts time.Duration
	err := c.patiently(ctx, func() (err error) {
		if err = c.take(ctx); err != nil {
			return err
		}
		defer c.release()
		if lasts, err = ps.put(ctx, p); err != nil {
			return err
		}
		ps.keepPresence(p, lasts)
		return nil
	})
	return err
}

// put publishes p: as a change where there is a publication, else as the first
// and then, where it must count, as a change of that (BSP-2.4-3).
func (ps *publications) put(ctx context.Context, p Publication) (lasts time.Duration, err error) {
	for range 3 {
		body := p.document(ps.c.own.String(), time.Now(), ps.c.cfg.Standard)
		if ps.etag == "" {
			lasts, err = ps.send(ctx, message{body: body, expires: ps.c.cfg.PublishExpires})
			if err != nil || p.AsDefault || ps.c.cfg.Standard {
				return lasts, err
			}
		}
		lasts, err = ps.send(ctx, message{body: body, expires: ps.c.cfg.PublishExpires})
		if statusOf(err) != 412 {
			return lasts, err
		}
	}
	return lasts, err
}

// keepPresence refreshes the presence from now on; the caller has the turn.
func (ps *publications) keepPresence(p Publication, lasts time.Duration) {
	c := ps.c
	p.AsDefault = true // whatever comes later only keeps it up
	ps.keep(&ps.presence, lasts, func(ctx context.Context) (time.Duration, error) {
		if ps.etag != "" {
			lasts, err := ps.send(ctx, message{expires: ps.c.cfg.PublishExpires})
			if status := statusOf(err); status != 412 && status != 400 {
				return lasts, err
			}
			ps.etag = "" // the server has lost it: begin again
			c.forgotten(nil, time.Time{})
		}
		return ps.put(ctx, p)
	})
}

// keep has refresh called in time, with the turn held, and puts an end to what
// was kept in this place before.
func (ps *publications) keep(place **publication, lasts time.Duration, refresh func(context.Context) (time.Duration, error)) {
	p := &publication{
		stopped: make(chan struct{}), soon: make(chan struct{}, 1),
		refresh: refresh, backoff: backoff.Backoff{Max: maxRetry},
	}
	ps.stop(place)
	ps.mu.Lock()
	*place = p
	ps.mu.Unlock()
	ps.c.wg.Go(func() { ps.run(p, subscriber.RefreshAfter(lasts)) })
}

// run refreshes p after a wait, and again and again. What ends it lets a PUBLISH that is
// under way have its outcome.
func (ps *publications) run(p *publication, wait time.Duration) {
	for wait > 0 {
		select {
		case <-time.After(wait):
		case <-p.soon:
		case <-p.stopped:
		case <-ps.c.life.Done():
		}
		wait = ps.refresh(ps.c.life, p)
		select {
		case <-p.soon: // it has just been
		default:
		}
	}
}

// stop ends keeping one of them alive, and reports whether it was kept.
func (ps *publications) stop(place **publication) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := *place
	if p == nil {
		return false
	}
	*place = nil
	close(p.stopped)
	return true
}

// refreshNow has them refreshed at once.
func (ps *publications) refreshNow() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range []*publication{ps.presence, ps.forward} {
		if p != nil {
			select {
			case p.soon <- struct{}{}:
			default:
			}
		}
	}
}

// refresh refreshes p, unless that was stopped, and returns how long it may wait until
// the next time; 0 is for ever.
func (ps *publications) refresh(ctx context.Context, p *publication) time.Duration {
	c := ps.c
	if c.take(ctx) != nil {
		return 0
	}
	select {
	case <-p.stopped: // also while we waited
		c.release()
		return 0
	default:
	}
	lasts, err := p.refresh(ctx)
	c.release()
	switch {
	case err == nil:
		p.backoff.Reset()
		return subscriber.RefreshAfter(lasts)
	case ctx.Err() != nil:
	case permanent(err):
		c.log.Error("the publication is given up", "error", err)
		if c.cfg.PublicationLost != nil {
			c.cfg.PublicationLost(err)
		}
	default:
		wait := max(p.backoff.Next(), retryAfterOf(err))
		c.log.Warn("PUBLISH failed", "error", err, "wait", wait)
		return wait
	}
	return 0
}

// end ends them all with Expires 0, and reports whether there was one.
func (ps *publications) end(ctx context.Context) (published bool, err error) {
	ps.stop(&ps.forward) // ends with the presence
	if !ps.stop(&ps.presence) {
		return false, nil
	}
	if err := ps.c.take(ctx); err != nil {
		return false, err
	}
	defer ps.c.release()
	_, err = ps.send(ctx, message{})
	ps.etag = ""
	if statusOf(err) == 412 {
		err = nil // there is none: as wanted
	}
	return true, err
}

// A message is one PUBLISH, of presence unless event says otherwise.
type message struct {
	event   string
	to      sipx.URI
	body    []byte
	expires time.Duration
}

// send sends a PUBLISH with the current entity-tag and takes over the new one. A
// 412 forgets it.
func (ps *publications) send(ctx context.Context, m message) (time.Duration, error) {
	c := ps.c
	if m.event == "" {
		m.event, m.to = "presence", c.own
	}
	x := &subscriber.Exchange{Expires: m.expires}
	res, err := c.exchange(ctx, x, func() *sipx.Request {
		ps.seq++
		req := &sipx.Request{
			Method: "PUBLISH",
			URI:    c.requestURI(m.to),
			From:   sipx.Address{URI: c.own}.WithTag(ps.tag),
			To:     sipx.Address{URI: m.to},
			CallID: ps.callID,
			CSeq:   ps.seq,
			Route:  c.route(),
			Flow:   c.cfg.Flow,
			Body:   m.body,
			Header: sipx.Header{
				{Name: "Contact", Value: c.contact()},
				{Name: "Event", Value: m.event},
				{Name: "User-Agent", Value: c.cfg.UserAgent},
			},
		}
		if ps.etag != "" {
			req.Header.Add("SIP-If-Match", ps.etag)
		}
		if m.body != nil {
			req.Header.Add("Content-Type", pidf.TypePIDF)
		}
		return req
	})
	if err != nil {
		if statusOf(err) == 412 {
			ps.etag = ""
		}
		return 0, err
	}
	if etag := res.Header.Get("SIP-ETag"); etag != "" && len(etag) <= 256 {
		ps.etag = etag
	}
	return x.Granted(res), nil
}
