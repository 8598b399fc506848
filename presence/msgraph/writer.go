package msgraph

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// WriterConfig configures a [Writer]. Zero values are defaults.
type WriterConfig struct {
	// Lifetime is after how long Teams itself ends a session that is not renewed; from 5 minutes,
	// the default, to 4 hours. It is renewed when 60 % of that are over.
	Lifetime time.Duration
	// Spread is the time over which the sessions are cleared that may be left from before; default
	// 1 minute.
	Spread time.Duration
}

// Writer shows in Teams who speaks on a line of the PBX: it keeps a session "in a call" for each
// user with a busy line. It is safe for concurrent use. [Writer.Serve] does the work.
//
// Line states are all that it writes, and all that may be given to it: never anything that came
// from Teams. What it writes comes back when [Teams] reads; while a session stands, and shortly
// after, a reading that may be its echo is not taken for the user's own presence. For a user who is
// in a call of Teams already, nothing is written.
type Writer struct {
	teams *Teams
	cfg   WriterConfig
	queue *queue

	mu    sync.Mutex // before Teams.mu
	users map[string]*written
}

// written is what a writer knows of a user.
type written struct {
	key     string // the ID of the entry
	entry   directory.Entry
	lines   map[string]time.Time // those that are busy, and until when; zero: for good
	working bool                 // a goroutine looks after the user
	again   bool                 // and is to do so again

	// Used by that goroutine only.
	pause   backoff.Backoff
	id      string
	cleared bool // what may be left from before is not there any more
	renew   time.Time
}

const (
	sessionCalls   = 4 // requests under way at once
	sessionSpacing = 50 * time.Millisecond
	callCheck      = 30 * time.Second // how often it is looked whether a call of Teams has ended
	renewAfter     = 0.6              // of a session's lifetime
)

// NewWriter checks the configuration. There is one Writer for a Teams.
func (t *Teams) NewWriter(cfg WriterConfig) (*Writer, error) {
	check := conf.Of("msgraph: WriterConfig")
	conf.Default(check, "Lifetime", &cfg.Lifetime, 5*time.Minute)
	conf.Within(check, "Lifetime", cfg.Lifetime, 5*time.Minute, 4*time.Hour)
	conf.Default(check, "Spread", &cfg.Spread, time.Minute)
	if err := check.Err(); err != nil {
		return nil, err
	}
	return &Writer{teams: t, cfg: cfg, queue: newQueue(), users: make(map[string]*written)}, nil
}

// SetLine says what a device of a user does. dn names the device. A user of whom it is said for the
// first time that no line is busy is cleared, in case a session is left from before. SetLine does
// not wait for the network.
func (w *Writer) SetLine(user directory.Entry, dn string, line presence.LineState) {
	key := user.ID
	w.mu.Lock()
	u, known := w.users[key]
	if !known {
		u = &written{key: key, lines: make(map[string]time.Time)}
		w.users[key] = u
	}
	u.entry = user
	_, before := u.lines[dn]
	busy := line.State == aa.LineBusy
	switch {
	case busy && line.Lifetime > 0:
		u.lines[dn] = time.Now().Add(line.Lifetime)
	case busy:
		u.lines[dn] = time.Time{}
	default:
		delete(u.lines, dn)
	}
	w.mu.Unlock()
	switch {
	case busy || before:
		w.queue.add(key, time.Now())
	case !known:
		w.queue.add(key, time.Now().Add(rand.N(w.cfg.Spread)))
	}
}

// Serve writes until ctx ends. Then it clears the sessions that stand, as far as that can be done
// in the time that one request may take, and returns the error of ctx. It is called once.
func (w *Writer) Serve(ctx context.Context) error {
	w.work(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.teams.app.cfg.Timeout)
	defer cancel()
	w.clearAll(last)
	return ctx.Err()
}

// work has goroutines look after the users whose turn it is, until ctx ends.
func (w *Writer) work(ctx context.Context) {
	var workers sync.WaitGroup
	for range sessionCalls {
		workers.Go(func() {
			for {
				keys := w.queue.take(ctx, 1, false, sessionSpacing)
				if keys == nil {
					return
				}
				w.serve(ctx, keys[0])
			}
		})
	}
	workers.Wait()
}

// serve looks after one user, unless another goroutine does.
func (w *Writer) serve(ctx context.Context, key string) {
	w.mu.Lock()
	u := w.users[key]
	if u.working {
		u.again = true
		w.mu.Unlock()
		return
	}
	u.working, u.again = true, false
	w.mu.Unlock()

	due, err := w.step(ctx, u)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		due = time.Now().Add(w.failed(u, err))
	default:
		u.pause.Reset()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	u.working = false
	if u.again {
		due = time.Now()
	}
	if !due.IsZero() && ctx.Err() == nil {
		w.queue.add(key, due)
	}
}

// failed returns how long to leave a user alone, and all where Graph asks for it.
func (w *Writer) failed(u *written, err error) time.Duration {
	if d := retryAfter(err); d > 0 {
		w.queue.hold(backoff.Beyond(d))
	}
	pause := u.pause.Next()
	if refusal(err) {
		pause = w.teams.app.cfg.RefusedPause
	}
	level := slog.LevelWarn
	if u.pause.Failures() > 1 {
		level = slog.LevelDebug
	}
	w.teams.app.cfg.Logger.Log(context.Background(), level, "a line is not shown in Teams", "user", u.key, "error", err,
		"pause", pause)
	return pause
}

// busy reports whether a line of the user is busy, and until when at most; zero: that is not known.
func (w *Writer) busy(u *written, now time.Time) (entry directory.Entry, busy bool, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for dn, end := range u.lines {
		if !end.IsZero() && !now.Before(end) {
			delete(u.lines, dn)
			continue
		}
		busy = true
		if !end.IsZero() && (until.IsZero() || end.Before(until)) {
			until = end
		}
	}
	return u.entry, busy, until
}

// step brings what Teams shows in line with the lines of a user, and returns when to look again;
// zero: when a line changes.
func (w *Writer) step(ctx context.Context, u *written) (time.Time, error) {
	now := time.Now()
	entry, busy, until := w.busy(u, now)
	if u.id == "" {
		id, err := w.teams.lookUp(ctx, entry)
		if err != nil {
			return time.Time{}, err
		}
		u.id = id
	}
	s := w.session(u)
	if !busy {
		return time.Time{}, w.clear(ctx, u, s)
	}
	if !s.standing(w.teams, now) {
		switch calls, err := w.teams.calls(ctx, u.id, s); {
		case err != nil:
			return time.Time{}, err
		case calls && !u.cleared: // perhaps it is one of ours
			return now.Add(callCheck), w.clear(ctx, u, s)
		case calls:
			return now.Add(callCheck), nil
		}
	} else if now.Before(u.renew) {
		return sooner(u.renew, until), nil
	}
	w.teams.mu.Lock()
	s.begin(now, w.cfg.Lifetime)
	w.teams.mu.Unlock()
	err := w.teams.app.do(ctx, call{
		method: http.MethodPost, url: sessionURL(u.id, "setPresence"),
		body: map[string]string{
			"sessionId": w.teams.app.cfg.ClientID, "availability": "Busy", "activity": "InACall",
			"expirationDuration": isoDuration(w.cfg.Lifetime),
		},
	}, nil)
	if err != nil {
		return time.Time{}, err
	}
	u.cleared = true
	u.renew = now.Add(time.Duration(renewAfter * float64(w.cfg.Lifetime)))
	return sooner(u.renew, until), nil
}

// isoDuration writes a duration as ISO 8601 does: in minutes, where it can be.
func isoDuration(d time.Duration) string {
	if d%time.Minute == 0 {
		return "PT" + strconv.Itoa(int(d/time.Minute)) + "M"
	}
	return "PT" + strconv.Itoa(int(d/time.Second)) + "S"
}

func sooner(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

func sessionURL(id, action string) string {
	return "/v1.0/users/" + url.PathEscape(id) + "/presence/" + action
}

// session returns that of a user.
func (w *Writer) session(u *written) *session {
	w.teams.mu.Lock()
	defer w.teams.mu.Unlock()
	s := w.teams.sessions[u.id]
	if s == nil {
		s = &session{wake: func() { w.queue.add(u.key, time.Now()) }}
		w.teams.sessions[u.id] = s
	}
	return s
}

// clear ends the session of a user, where there is one or may be one.
func (w *Writer) clear(ctx context.Context, u *written, s *session) error {
	stood := s.standing(w.teams, time.Now())
	if u.cleared && !stood {
		return nil
	}
	err := w.teams.app.do(ctx, call{
		method: http.MethodPost, url: sessionURL(u.id, "clearPresence"),
		body: map[string]string{"sessionId": w.teams.app.cfg.ClientID},
	}, nil)
	e, ok := errors.AsType[*Error](err)
	none := ok && e.Status == http.StatusNotFound
	if err != nil && !none {
		return err
	}
	u.cleared = true
	if stood || !none {
		w.teams.mu.Lock()
		defer w.teams.mu.Unlock()
		s.end(time.Now())
	}
	return nil
}

// clearAll clears the sessions that stand.
func (w *Writer) clearAll(ctx context.Context) {
	var clearing sync.WaitGroup
	calls := make(chan struct{}, sessionCalls)
	for _, u := range w.found() {
		s := w.session(u)
		if !s.standing(w.teams, time.Now()) {
			continue
		}
		clearing.Go(func() {
			calls <- struct{}{}
			defer func() { <-calls }()
			if err := w.clear(ctx, u, s); err != nil {
				w.teams.app.cfg.Logger.Warn("a session is left to fade", "user", u.key, "error", err)
			}
		})
	}
	clearing.Wait()
}

// found returns the users whose object ID is known. No goroutine looks after them any more.
func (w *Writer) found() (found []*written) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.users {
		if u.id != "" {
			found = append(found, u)
		}
	}
	return found
}

// standing reports whether the session stands.
func (s *session) standing(t *Teams, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.stands(now)
}

// calls reports whether a user is in a call of Teams, by the last reading, or by one of its own
// where that is too long ago.
func (t *Teams) calls(ctx context.Context, id string, s *session) (bool, error) {
	now := time.Now()
	t.mu.Lock()
	p := t.people[id]
	if p != nil && now.Sub(p.own) < 2*t.cfg.Interval {
		defer t.mu.Unlock()
		return p.calls, nil
	}
	t.mu.Unlock()
	list, err := t.app.presences(ctx, []string{id})
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range list {
		if r := &list[i]; r.ID == strings.ToLower(id) {
			return r.call() && !(s.read(now) && r.echo()), nil
		}
	}
	return false, nil
}
