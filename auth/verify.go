package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// flights are the verifications under way. Requests with the same credentials
// share one: a client that sends several requests at once, or a controller that
// signs in a thousand of its users, costs one question, and one failure.
//
// Users and controllers have one each, so that a directory that hangs does not
// keep controllers waiting, which do not need it.
type flights struct {
	pending atomic.Int64  // requests that wait
	slots   chan struct{} // one for each verifier call

	mu    sync.Mutex
	byKey map[[sha256.Size]byte]*flight
}

type flight struct {
	done     chan struct{}   // closed when identity and err are set
	timeout  <-chan struct{} // closed when nobody should wait any longer
	identity Identity
	err      error
}

// attempt is what one verification is about.
type attempt struct {
	credentials Credentials
	subject     subject
	known       knownAccount
}

// verify asks the verifier, within the throttle. The error wraps
// ErrBadCredentials, ErrThrottled, or ErrUnavailable and what happened; or is
// ErrBusy.
func (g *Guard) verify(ctx context.Context, r *Request, c Credentials) (Identity, error) {
	fs := g.flights(c)
	defer fs.pending.Add(-1)
	if fs.pending.Add(1) > int64(g.cfg.MaxPending) {
		return Identity{}, ErrBusy
	}
	account, err := g.accountKey(ctx, c)
	if err != nil {
		return Identity{}, unavailable(err).reason
	}
	a := attempt{credentials: c, subject: g.throttle.subject(account, knownAs(r), r.Source)}
	a.subject.lane = "user"
	if c.AMCC {
		a.subject.lane = "amcc"
	}
	if a.known, err = g.known(ctx, a.subject, c); err != nil {
		return Identity{}, unavailable(err).reason
	}
	f, err := g.join(ctx, a)
	if err != nil {
		return Identity{}, err
	}
	select {
	case <-f.done:
	case <-f.timeout:
		// The end of the flight ends its context as well, after done.
		select {
		case <-f.done:
		default:
			return Identity{}, fmt.Errorf("%w: no answer within %v", ErrUnavailable, g.cfg.VerifyTimeout)
		}
	case <-ctx.Done():
		return Identity{}, unavailable(context.Cause(ctx)).reason
	}
	// The flight may be shared by several clients; what is known is of each.
	switch {
	case f.err == nil:
		err = g.remember(ctx, a.subject, c)
	case errors.Is(f.err, ErrThrottled):
		err = g.missed(ctx, a.subject, a.known)
	}
	if err != nil {
		return Identity{}, unavailable(err).reason
	}
	return f.identity, f.err
}

// accountKey is one text for each account, as far as can be told.
func (g *Guard) accountKey(ctx context.Context, c Credentials) (string, error) {
	keyer, ok := g.verifier(c).(AccountKeyer)
	if !ok {
		return fmt.Sprint(c.AMCC, " ", c.Name.bare()), nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.VerifyTimeout)
	defer cancel()
	key, err := keyer.AccountKey(ctx, c.Name)
	if key == "" {
		key = c.Name.bare()
	}
	return fmt.Sprint(c.AMCC, " ", key), err
}

func (g *Guard) verifier(c Credentials) Verifier {
	if c.AMCC {
		return g.cfg.AMCC
	}
	return g.cfg.Verifier
}

func (g *Guard) flights(c Credentials) *flights {
	if c.AMCC {
		return &g.controllers
	}
	return &g.users
}

// join returns the flight of these credentials, which may have to be started.
func (g *Guard) join(ctx context.Context, a attempt) (*flight, error) {
	c, fs := a.credentials, g.flights(a.credentials)
	key := g.mac("flight", []byte(c.Name.Account()), fmt.Appendf(nil, "%t %t", c.AMCC, a.known.passes),
		[]byte(a.subject.account), []byte(a.subject.source), c.Password.Reveal())
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.byKey[key]; f != nil {
		return f, nil
	}
	// A flight may outlive the request that began it, so their number is bounded
	// as well.
	if len(fs.byKey) >= g.cfg.MaxPending {
		return nil, ErrBusy
	}
	// Not the request's context: others may join, and whatever the verifier says
	// must be counted even if nobody waits for it any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.VerifyTimeout)
	f := &flight{done: make(chan struct{}), timeout: ctx.Done()}
	if fs.byKey == nil {
		fs.byKey = make(map[[sha256.Size]byte]*flight)
	}
	fs.byKey[key] = f
	a.credentials.Password = c.Password.Clone()
	go func() {
		defer cancel()
		f.identity, f.err = g.fly(ctx, a)
		a.credentials.Wipe()
		fs.mu.Lock()
		delete(fs.byKey, key)
		fs.mu.Unlock()
		close(f.done)
	}()
	return f, nil
}

// fly waits for the throttle, asks the verifier, and counts the result.
func (g *Guard) fly(ctx context.Context, a attempt) (Identity, error) {
	if err := g.throttle.begin(ctx, a.subject, a.known.passes); err != nil {
		if errors.Is(err, ErrThrottled) {
			return Identity{}, err
		}
		return Identity{}, unavailable(err).reason
	}
	defer g.throttle.end(a.subject)
	slots := g.flights(a.credentials).slots
	select {
	case slots <- struct{}{}:
	default:
		return Identity{}, ErrBusy
	}
	start := time.Now()
	g.counters.verifying.Add(1)
	identity, err := g.ask(ctx, a.credentials)
	g.counters.verifying.Add(-1)
	g.counters.verifications.Add(1)
	g.counters.verifyTime.Add(int64(time.Since(start)))
	<-slots

	// The time-out was for the verifier; its answer is counted all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.VerifyTimeout)
	defer cancel()
	var failed error
	switch {
	case err == nil:
		failed = g.throttle.succeeded(ctx, a.subject)
	case errors.Is(err, ErrBadCredentials):
		failed = errors.Join(g.throttle.failed(ctx, a.subject), g.forget(ctx, a.subject, a.known))
	}
	if failed != nil {
		return Identity{}, unavailable(failed).reason
	}
	return identity, err
}

// ask calls the verifier and makes sure of what it says.
func (g *Guard) ask(ctx context.Context, c Credentials) (identity Identity, err error) {
	defer func() {
		if p := recover(); p != nil {
			// Not its value: nobody knows what the verifier put into it.
			g.cfg.Logger.LogAttrs(ctx, slog.LevelError, "verifier panicked",
				slog.String("type", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
			identity, err = Identity{}, fmt.Errorf("%w: verifier panicked", ErrUnavailable)
		}
	}()
	identity, err = g.verifier(c).Verify(ctx, c)
	switch {
	case err == nil:
		if identity.Account == "" {
			identity.Account = c.Name.String()
		}
		identity.Account, identity.AMCC = fold(identity.Account), c.AMCC
		return identity, nil
	case prints(err, c.Password):
		// A verifier that prints the password must not make the log print it.
		if reason, ok := errors.AsType[*refusal](err); ok {
			return Identity{}, reason
		}
		if errors.Is(err, ErrBadCredentials) {
			return Identity{}, ErrBadCredentials
		}
		return Identity{}, fmt.Errorf("%w: error withheld, it holds the password", ErrUnavailable)
	case errors.Is(err, ErrBadCredentials):
		return Identity{}, err
	}
	return Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// prints reports whether an error, printed in any way, shows the secret.
func prints(err error, s Secret) bool {
	return bytes.Contains(fmt.Appendf(nil, "%v %+v %#v", err, err, err), s.Reveal())
}
