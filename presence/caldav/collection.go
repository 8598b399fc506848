package caldav

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
)

// object is one calendar object resource: its appointments are kept, its text
// is not.
type object struct {
	etag         string
	appointments appointments
}

// collection is what is known of one calendar.
type collection struct {
	cfg       *Config
	client    *client
	found     *url.URL // as it was named
	url       *url.URL // as the server names it
	log       *slog.Logger
	addresses []string // of the owner

	objects     map[string]*object // by path; nil until loaded
	order       []string           // the paths, sorted; nil: not known
	loaded      calendar.Window    // for which they were expanded
	token, ctag string
	incomplete  bool           // the server failed to give an object: it is to be asked for again
	refused     int            // tokens refused in a row
	location    *time.Location // of dates and floating times
	transparent bool
	names       *calendar.Zones
	zones       *zones
	work        *budget // of the poll that is under way
	failures    int     // in a row, while other calendars could be read
}

const (
	// slack is how far beyond the window is loaded, so that it may move; when it
	// has moved that far, everything is loaded anew.
	slack = 24 * time.Hour
	// widest is what a zone can shift dates and floating times: servers compare
	// them with a range in UTC.
	widest = 24 * time.Hour
	// chunk is how many objects are asked for at a time.
	chunk = 50
	// maxPages bounds the answers that one sync-collection comes in.
	maxPages = 100
	// maxRefused is after how many refused tokens they are not used any more.
	maxRefused = 2
)

// poll brings the collection up to date, by the cheapest way that the server
// offers. What is known stays where it fails.
func (c *collection) poll(ctx context.Context, window calendar.Window, work *budget) error {
	c.work = work
	if c.objects == nil || window.To.After(c.loaded.To) {
		return c.load(ctx, window)
	}
	if c.incomplete { // neither token nor ctag tells of what has not changed since
		return c.list(ctx)
	}
	if c.token != "" && c.refused < maxRefused {
		err := c.sync(ctx)
		if err == nil {
			c.refused = 0
			return nil
		}
		if !tokenRefused(err) {
			return err
		}
		c.log.Debug("sync-token refused", "error", err)
		c.refused++
		return c.load(ctx, window)
	}
	return c.compare(ctx)
}

// tokenRefused reports whether err ends the use of a token: it is not valid any
// more, the changes are too many, or the server can't after all. Servers have many
// ways to say so; a failure that is none of it fails the listing as well.
func tokenRefused(err error) bool {
	if errors.Is(err, errTooManyChanges) || errors.Is(err, errNoNewToken) || errors.Is(err, errMultiStatus) {
		return true
	}
	e, ok := errors.AsType[*StatusError](err)
	return ok && e.RetryAfter == 0 && e.Status != http.StatusUnauthorized && e.Status != http.StatusProxyAuthRequired &&
		e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests &&
		e.Status != http.StatusServiceUnavailable
}

// load loads everything in the window and the slack.
func (c *collection) load(ctx context.Context, window calendar.Window) error {
	// The state is asked for first: what changes from here on is reported again.
	state, err := c.state(ctx, askState)
	if err != nil {
		return err
	}
	c.zones = newZones(c.names)
	c.location, c.transparent = c.cfg.Location, state.Transparent != nil
	if state.Timezone != "" {
		if l := c.zones.calendar([]byte(state.Timezone)); l != nil {
			c.location = l
		}
	}
	loaded := calendar.Window{From: window.From, To: window.To.Add(slack)}
	objects := make(map[string]*object)
	c.incomplete = false
	if err := c.refresh(ctx, loaded, objects); err != nil {
		return err
	}
	c.objects, c.order, c.loaded = objects, nil, loaded
	c.token, c.ctag = state.SyncToken, state.CTag
	return nil
}

// compare looks for changes by the ctag, where there is one.
func (c *collection) compare(ctx context.Context) error {
	var ctag string
	if c.ctag != "" {
		state, err := c.state(ctx, askCTag)
		if err != nil {
			return err
		}
		if ctag = state.CTag; ctag == c.ctag {
			return nil
		}
	}
	if err := c.list(ctx); err != nil {
		return err
	}
	c.ctag = ctag
	return nil
}

// list looks for changes by the entity tags of all objects.
func (c *collection) list(ctx context.Context) error {
	objects := maps.Clone(c.objects)
	c.incomplete = false
	if err := c.refresh(ctx, c.loaded, objects); err != nil {
		c.incomplete = true
		return err
	}
	c.objects, c.order = objects, nil
	return nil
}

// state reads properties of the collection.
func (c *collection) state(ctx context.Context, ask string) (properties, error) {
	var p properties
	err := c.client.propfind(ctx, c.url, "0", ask, 1, func(at *url.URL, r *response) {
		p = r.found()
		c.url = at
	})
	return p, err
}

// refresh lists what lies in the calendar.Window and makes objects the same, fetching
// those whose entity tag is new.
func (c *collection) refresh(ctx context.Context, s calendar.Window, objects map[string]*object) error {
	body, _, err := c.client.send(ctx, "REPORT", c.url, "1",
		askRange(calendar.Window{From: s.From.Add(-widest), To: s.To.Add(widest)}))
	if err != nil {
		return err
	}
	changes := make(map[string]string)
	listed := make(map[string]struct{})
	_, err = readMultiStatus(body, c.cfg.Limits.Objects, func(r *response) error {
		path, again := hrefIn(c.url, r.Href)
		if path == "" || r.code() == "404" {
			return nil
		}
		listed[path] = struct{}{}
		etag := r.found().ETag
		if o := objects[path]; o == nil || etag == "" || o.etag != etag {
			changes[path] = again
		}
		return nil
	})
	if err != nil {
		return err
	}
	maps.DeleteFunc(objects, func(path string, _ *object) bool {
		_, ok := listed[path]
		return !ok
	})
	return c.fetch(ctx, s, slices.Sorted(maps.Values(changes)), objects)
}

// Why a token is not used any more, apart from what the server may answer.
var (
	errTooManyChanges = fmt.Errorf("%w: too many changes", ErrLimit)
	errNoNewToken     = errors.New("caldav: changes without a new sync-token")
)

// sync asks for what has changed since the token, and fetches it.
func (c *collection) sync(ctx context.Context) error {
	objects := maps.Clone(c.objects)
	changes := make(map[string]string)
	token := c.token
	for more, page := true, 0; more; page++ {
		if page == maxPages {
			return errTooManyChanges
		}
		more = false
		body, _, err := c.client.send(ctx, "REPORT", c.url, "0", askChanges(token))
		if err != nil {
			return err
		}
		next, err := readMultiStatus(body, c.cfg.Limits.Objects, func(r *response) error {
			path, again := hrefIn(c.url, r.Href)
			switch {
			case r.code() == "507": // of the collection: there is more (RFC 6578 §3.6)
				more = true
			case path == "":
			case r.code() == "404":
				delete(objects, path)
				delete(changes, path)
			default:
				if o, etag := objects[path], r.found().ETag; o == nil || etag == "" || o.etag != etag {
					changes[path] = again
				}
			}
			return nil
		})
		switch {
		case errors.Is(err, ErrLimit), len(changes) > c.cfg.Limits.Objects:
			return errTooManyChanges
		case err != nil:
			return err
		case next == "" || more && next == token:
			return errNoNewToken
		}
		token = next
	}
	if err := c.fetch(ctx, c.loaded, slices.Sorted(maps.Values(changes)), objects); err != nil {
		return err
	}
	if len(objects) > c.cfg.Limits.Objects { // those outside the calendar.Window among them
		return errTooManyChanges
	}
	c.token = token
	if len(changes) > 0 || len(objects) != len(c.objects) {
		c.objects, c.order = objects, nil
	}
	return nil
}

// paths returns the paths of the objects, sorted, so that the same calendar
// gives the same answer.
func (c *collection) paths() []string {
	if c.order == nil {
		c.order = slices.Sorted(maps.Keys(c.objects))
	}
	return c.order
}

// fetch gets objects by name, expands them, and puts them into objects. Those
// that have gone since are removed; those that cannot be read have no
// appointments.
func (c *collection) fetch(ctx context.Context, s calendar.Window, hrefs []string, objects map[string]*object) error {
	for part := range slices.Chunk(hrefs, chunk) {
		if err := c.fetchPart(ctx, s, part, objects); err != nil {
			return err
		}
		held := 0
		for _, o := range objects {
			held += len(o.appointments)
		}
		if most := c.cfg.Limits.Held; held > most {
			return fmt.Errorf("%w: more than %d occurrences in one calendar", ErrLimit, most)
		}
	}
	return nil
}

// fetchPart halves what is too large for one response, so that one large object
// does not hide others.
func (c *collection) fetchPart(ctx context.Context, s calendar.Window, hrefs []string, objects map[string]*object) error {
	body, _, err := c.client.send(ctx, "REPORT", c.url, "1", askObjects(hrefs))
	if err != nil {
		return err
	}
	_, err = readMultiStatus(body, len(hrefs), func(r *response) error {
		path, _ := hrefIn(c.url, r.Href)
		p := r.found()
		switch {
		case path == "":
		case p.Data == "" && r.failed():
			c.incomplete = true // and what is known of it stays
		case p.Data == "":
			delete(objects, path)
		default:
			found, err := c.expand(ctx, s, path, p.Data)
			if err != nil {
				return err
			}
			objects[path] = &object{etag: p.ETag, appointments: found}
		}
		return nil
	})
	if !errors.Is(err, ErrLimit) {
		return err
	}
	if len(hrefs) == 1 {
		c.log.Warn("calendar object left out", "object", hrefs[0], "error", err)
		return nil
	}
	half := len(hrefs) / 2
	if err := c.fetchPart(ctx, s, hrefs[:half], objects); err != nil {
		return err
	}
	return c.fetchPart(ctx, s, hrefs[half:], objects)
}

// expand returns the appointments of an object. What it cannot read is logged;
// the error is only that of ctx.
func (c *collection) expand(ctx context.Context, s calendar.Window, path, data string) (appointments, error) {
	view := View{
		From: s.From, To: s.To, Addresses: c.addresses, Location: c.location, Transparent: c.transparent,
		MaxBytes: c.cfg.Limits.ObjectBytes, MaxOccurrences: c.cfg.Limits.Occurrences,
	}
	found, err := view.expand(ctx, []byte(data), c.zones, c.work)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		c.log.Warn("calendar object not read in full", "object", path, "error", err)
	}
	return found, nil
}
