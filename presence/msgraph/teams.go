package msgraph

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/presence"
)

// TeamsConfig configures a [Teams]. Zero values are defaults; what is negative is refused.
type TeamsConfig struct {
	Interval time.Duration // between two readings of a user; default 10 seconds
	// Lifetime is how long a reading counts without a newer one; default six times Interval. It is
	// longer than Interval.
	Lifetime time.Duration
	Table    []Row  // what availability and activity mean; nil: [DefaultTable]
	Away     string // the text of who is out of the office and has written none; default "Out of office"
	// User returns the object ID of a user in the tenant. It may block. nil: it is looked up by the
	// mail address of the entry.
	User func(ctx context.Context, entry directory.Entry) (string, error)
}

// Teams reads the presence of users from Teams. It is a [presence.ExternalMonitor], is safe for
// concurrent use, and has goroutines only while it monitors, or a [Writer] serves.
type Teams struct {
	app   *App
	cfg   TeamsConfig
	hub   *hub[presence.ExternalState]
	zones calendar.Zones

	mu       sync.Mutex // a leaf
	people   map[string]*person
	sessions map[string]*session
	refused  map[string]known // IDs that Graph does not like
}

var _ presence.ExternalMonitor = (*Teams)(nil)

// person is what is known of a user who is monitored.
type person struct {
	monitors int
	sequence string
	accepted time.Time // when the last reading was taken
	value    presence.ExternalState
	own      time.Time // when a reading was taken last that is no echo
	calls    bool      // whether that was a call
	above    bool      // whether it would hide a session, so that an echo says that it is over
}

// readMost is how many users one request may name.
const readMost = 650

// NewTeams checks the configuration. It sends nothing.
func (a *App) NewTeams(cfg TeamsConfig) (*Teams, error) {
	check := conf.Of("msgraph: TeamsConfig")
	conf.Default(check, "Interval", &cfg.Interval, 10*time.Second)
	conf.Default(check, "Lifetime", &cfg.Lifetime, 6*cfg.Interval)
	conf.Or(&cfg.Away, "Out of office")
	if cfg.Lifetime <= cfg.Interval {
		check.Failf("Lifetime", "%v is not longer than the interval of %v", cfg.Lifetime, cfg.Interval)
	}
	if cfg.Table == nil {
		cfg.Table = DefaultTable()
	}
	if err := check.Err(); err != nil {
		return nil, err
	}
	t := &Teams{app: a, cfg: cfg, people: make(map[string]*person), sessions: make(map[string]*session),
		refused: make(map[string]known)}
	t.hub = newHub[presence.ExternalState](readMost, 2, cfg.Interval)
	t.hub.ask = t.ask
	t.hub.failed = func(err error, failures int) { logFailures(a.cfg.Logger, "Teams presence", err, failures) }
	return t, nil
}

// MonitorExternal reads the presence of a user until ctx ends, and calls update after each reading.
// While Graph fails or throttles it goes on trying, less and less often, and the last value fades
// after its lifetime. The error is that of ctx, or says why the user cannot be read: [ErrNotFound],
// [ErrAmbiguous], [ErrForbidden], or that of [TeamsConfig.User]. It is remembered for a while, so
// that to call again costs no request.
func (t *Teams) MonitorExternal(ctx context.Context, user directory.Entry, update func(presence.ExternalState)) error {
	id, err := t.find(ctx, user)
	if err != nil {
		return err
	}
	if err := t.enter(id); err != nil {
		return err
	}
	defer t.exit(id)
	m := t.hub.join(id)
	defer t.hub.leave(m)
	for {
		state, err := m.next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			update(state)
		case refusal(err):
			return err
		}
	}
}

// find finds the object ID of a user, however long that takes.
func (t *Teams) find(ctx context.Context, user directory.Entry) (string, error) {
	var pause backoff.Backoff
	for {
		id, err := t.lookUp(ctx, user)
		if err == nil || refusal(err) || ctx.Err() != nil || t.cfg.User != nil {
			return id, err
		}
		if err := backoff.Sleep(ctx, max(pause.Next(), backoff.Beyond(retryAfter(err)))); err != nil {
			return "", err
		}
	}
}

// lookUp tries to find the object ID of a user.
func (t *Teams) lookUp(ctx context.Context, user directory.Entry) (id string, err error) {
	switch {
	case t.cfg.User != nil:
		if id, err = t.cfg.User(ctx, user); err != nil {
			err = fmt.Errorf("msgraph: user: %w", err)
		}
	case user.Mail == "":
		err = fmt.Errorf("%w: the entry has no mail address", ErrNotFound)
	default:
		id, err = t.app.users.id(ctx, user.Mail)
	}
	if err == nil && !isAddress(id) {
		err = fmt.Errorf("%w: malformed ID", ErrNotFound)
	}
	return strings.ToLower(id), err
}

// enter notes that a user is monitored, unless Graph has refused the ID a while ago.
func (t *Teams) enter(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.refused[id]; ok {
		if time.Now().Before(k.until) {
			return k.err
		}
		delete(t.refused, id)
	}
	if t.people[id] == nil {
		t.people[id] = new(person)
	}
	t.people[id].monitors++
	return nil
}

func (t *Teams) exit(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.people[id]; p.monitors > 1 {
		p.monitors--
	} else {
		delete(t.people, id)
	}
}

type states = map[string]result[presence.ExternalState]

// ask reads the presence of some users. Of one whom the answer does not name, nothing is known.
// Where Graph refuses all because it does not like one of them, that one is looked for, and
// remembered.
func (t *Teams) ask(ctx context.Context, ids []string) (states, error) {
	left := mostParts
	results, err := t.askParts(ctx, ids, &left)
	if err != nil {
		return nil, err
	}
	var refused error
	bad := 0
	for _, r := range results {
		if r.err != nil {
			bad, refused = bad+1, r.err
		}
	}
	if bad == len(ids) && bad > 1 {
		return nil, refused // it is not about them
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, r := range results {
		if r.err != nil {
			r.err = fmt.Errorf("%w: %w", ErrNotFound, r.err)
			results[id] = r
			t.refused[id] = known{err: r.err, until: time.Now().Add(notFoundFor)}
		}
	}
	return results, nil
}

// mostParts is how many requests may be made to find those whom Graph does not like: several of
// 650.
const mostParts = 64

// askParts asks for all, and where that is refused, for each half.
func (t *Teams) askParts(ctx context.Context, ids []string, left *int) (states, error) {
	asked := time.Now()
	*left--
	list, err := t.app.presences(ctx, ids)
	e, ok := errors.AsType[*Error](err)
	switch {
	case ok && rejected(e.Status) && e.Status != http.StatusUnauthorized && e.Status != http.StatusForbidden && *left > 0:
		if len(ids) == 1 {
			return states{ids[0]: {err: err}}, nil
		}
		first, err := t.askParts(ctx, ids[:len(ids)/2], left)
		if err != nil {
			return nil, err
		}
		second, err := t.askParts(ctx, ids[len(ids)/2:], left)
		maps.Copy(first, second)
		return first, err
	case err != nil:
		return nil, err
	}
	results := make(states, len(ids))
	for _, id := range ids {
		results[id] = result[presence.ExternalState]{}
	}
	for i := range list {
		r := &list[i]
		if _, ok := results[r.ID]; !ok {
			continue // nobody asked
		}
		if state, ok := t.take(r, asked); ok {
			results[r.ID] = result[presence.ExternalState]{value: state}
		} else {
			delete(results, r.ID)
		}
	}
	return results, nil
}

// presences asks Graph.
func (a *App) presences(ctx context.Context, ids []string) ([]reading, error) {
	var answer collection
	err := a.do(ctx, call{
		method: http.MethodPost, url: "/v1.0/communications/getPresencesByUserId", body: map[string][]string{"ids": ids},
	}, &answer)
	if err != nil {
		return nil, err
	}
	list, err := answer.list()
	if err != nil {
		return nil, err
	}
	found, broken := readPresences(list)
	if broken > 0 {
		a.cfg.Logger.Warn("presences that cannot be read", "count", broken)
	}
	return found, nil
}

// take makes a reading a value, and reports whether it is one: an answer that is older than the
// last is not. One that may be the echo of a line leaves the value as it was, unless that is over.
func (t *Teams) take(r *reading, asked time.Time) (presence.ExternalState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.people[r.ID]
	if p == nil {
		return presence.ExternalState{}, false // left meanwhile
	}
	// A sequence that begins anew must not hide a user for longer than a value lasts.
	if r.Sequence != "" && r.Sequence < p.sequence && asked.Sub(p.accepted) < t.cfg.Lifetime {
		return presence.ExternalState{}, false
	}
	p.sequence, p.accepted = r.Sequence, asked
	s := t.sessions[r.ID]
	if s.read(asked) && r.echo() {
		if p.above {
			p.calls, p.above, p.value = false, false, presence.ExternalState{Lifetime: t.cfg.Lifetime}
		}
		return p.value, true
	}
	called := p.calls
	p.own, p.calls, p.above, p.value = asked, r.call(), r.above(), t.state(r, asked)
	if s != nil && called && !p.calls {
		s.wake()
	}
	return p.value, true
}

// state is what a reading means.
func (t *Teams) state(r *reading, now time.Time) presence.ExternalState {
	row := lookUp(t.cfg.Table, r.Availability, r.Activity)
	state := presence.ExternalState{Lifetime: t.cfg.Lifetime}
	if row.Status == "" && row.TelephoneEvent == "" {
		return state
	}
	state.Status, state.TelephoneEvent = row.Status, row.TelephoneEvent
	state.FreeText = r.message(now, &t.zones)
	if state.FreeText == "" && r.away() {
		state.FreeText = t.cfg.Away
	}
	conf.Or(&state.FreeText, row.FreeText)
	return state
}
