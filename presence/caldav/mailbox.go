package caldav

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
)

type appointments = []aa.Appointment

// rediscover is how often the calendars of a mailbox are looked for again.
const rediscover = time.Hour

// mailbox is what is known of the calendars of one mailbox. It is used by one
// goroutine.
type mailbox struct {
	cfg         *Config
	mail        string
	log         *slog.Logger
	refused     *calendar.Refusals
	zones       *calendar.Zones
	client      *client
	resolved    time.Time // when the collections were looked for
	collections []*collection
}

// poll brings the collections up to date and returns what lies in the window.
func (b *mailbox) poll(ctx context.Context, window calendar.Window) (appointments, error) {
	credentials, err := b.refresh(ctx, time.Now(), window)
	if err != nil {
		if errors.Is(err, ErrUnauthorized) && credentials.User != "" {
			b.refused.Note(credentials.User, credentials.Password)
		}
		return nil, err
	}
	return b.collect(window), nil
}

// refresh brings the collections up to date. The credentials are those that it
// sent.
func (b *mailbox) refresh(ctx context.Context, now time.Time, window calendar.Window) (Credentials, error) {
	if b.client == nil || now.Sub(b.resolved) >= rediscover {
		if credentials, err := b.resolve(ctx); err != nil {
			return credentials, err
		}
		b.resolved = now
	}
	return b.client.credentials, b.pollAll(ctx, window)
}

// pollAll polls the collections. One that fails hides none of the others: what was
// known of it is shown for as long as failing polls are tolerated, and nothing where it
// is refused. Both are errors where no other could be read. What fails for all of them,
// as the network does, is an error at once.
func (b *mailbox) pollAll(ctx context.Context, window calendar.Window) error {
	work := &budget{steps: pollSteps}
	var first error
	kept := make([]*collection, 0, len(b.collections))
	read, unauthorized := 0, 0
	for _, c := range b.collections {
		err := c.poll(ctx, window, work)
		if err == nil {
			c.failures = 0
			read++
			kept = append(kept, c)
			continue
		}
		if first == nil || refusal(first) {
			first = err // rather one that passes
		}
		if errors.Is(err, ErrUnauthorized) {
			unauthorized++ // of this one alone, maybe; but accounts get locked
		}
		if ctx.Err() != nil || !ofOne(err) || unauthorized > 1 {
			return err
		}
		if c.failures++; refusal(err) || c.failures > b.cfg.Failures {
			c.log.Warn("a calendar is left out until calendars are looked for again", "error", err)
			continue
		}
		c.log.Warn("a calendar could not be read", "error", err, "failures", c.failures)
		kept = append(kept, c)
	}
	if read == 0 {
		return first // and all are asked again
	}
	b.collections = kept
	return nil
}

// resolve finds the collections, and keeps what is known of those that are
// known already.
func (b *mailbox) resolve(ctx context.Context) (sent Credentials, err error) {
	var credentials Credentials
	if b.cfg.Credentials != nil {
		if credentials, err = b.cfg.Credentials(ctx, b.mail); err != nil {
			return Credentials{}, fmt.Errorf("caldav: credentials: %w", err)
		}
	}
	if credentials.User != "" && b.refused.Recent(credentials.User, credentials.Password) {
		return Credentials{}, fmt.Errorf("%w a short while ago, not sent again yet", ErrUnauthorized)
	}
	c := newClient(b.cfg, credentials)
	urls, addresses, err := b.find(ctx, c)
	if err != nil {
		return credentials, err
	}
	if len(urls) == 0 {
		return credentials, ErrNoCalendar
	}
	if n := b.cfg.Limits.Calendars; len(urls) > n {
		return credentials, fmt.Errorf("%w: more than %d calendars", ErrLimit, n)
	}
	addresses = append(addresses, b.mail)
	if b.cfg.Addresses != nil {
		addresses = append(addresses, b.cfg.Addresses(b.mail)...)
	}
	collections := make([]*collection, 0, len(urls))
	for _, u := range urls {
		found := &collection{cfg: b.cfg, found: u, url: u, log: b.log.With("calendar", u.Path), addresses: addresses,
			names: b.zones}
		i := slices.IndexFunc(b.collections, func(k *collection) bool { return *k.found == *u })
		if i >= 0 && slices.Equal(b.collections[i].addresses, addresses) {
			found = b.collections[i]
		}
		found.client = c
		collections = append(collections, found)
	}
	b.client, b.collections = c, collections
	return credentials, nil
}

// find returns the URLs of the calendars, and further addresses of the owner.
func (b *mailbox) find(ctx context.Context, c *client) ([]*url.URL, []string, error) {
	if b.cfg.Calendars == nil && !isTemplate(b.cfg.URL) {
		return discover(ctx, c, b.cfg.URL)
	}
	urls := []string{expandTemplate(b.cfg.URL, b.mail)}
	if b.cfg.Calendars != nil {
		var err error
		if urls, err = b.cfg.Calendars(ctx, b.mail); err != nil {
			return nil, nil, fmt.Errorf("caldav: calendars: %w", err)
		}
	}
	var found []*url.URL
	for _, s := range urls {
		u, err := parseURL(s)
		if err != nil {
			return nil, nil, fmt.Errorf("caldav: URL of a calendar: %w", err)
		}
		found = append(found, u)
	}
	return found, nil, nil
}

// collect returns the appointments of all collections within the window. Of one that
// is in several calendars, the first counts.
func (b *mailbox) collect(window calendar.Window) appointments {
	var all appointments
	for _, c := range b.collections {
		for _, path := range c.paths() {
			for _, a := range c.objects[path].appointments {
				if window.Has(a.From, a.End) {
					all = append(all, a)
				}
			}
		}
	}
	return all
}
