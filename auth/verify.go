package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// checks are the verifications of one kind of account. Users and controllers have one each, so
// that a directory that hangs does not keep controllers waiting, which do not need it.
type checks struct {
	lane     string
	verifier Verifier
	keyer    AccountKeyer // the verifier, or nil
	locks    bool
	places   *places
	slots    chan struct{} // one for each verifier call

	mu      sync.Mutex
	flights map[[sha256.Size]byte]*flight
}

// flight is a verification under way. Requests with the same credentials share one:
// a client that sends several requests at once, or a controller that signs in a
// thousand of its users, costs one question, and one failure.
type flight struct {
	done     chan struct{}   // closed when identity and err are set
	timeout  <-chan struct{} // closed when nobody should wait any longer
	identity Identity
	err      error
}

func newChecks(lane string, v Verifier, cfg Config, share int) *checks {
	keyer, _ := v.(AccountKeyer)
	never, ok := v.(interface{ LocksAccounts() bool })
	return &checks{
		lane: lane, verifier: v, keyer: keyer, locks: !ok || never.LocksAccounts(),
		places: newPlaces(cfg.MaxPending, share), slots: make(chan struct{}, cfg.MaxVerifications),
		flights: make(map[[sha256.Size]byte]*flight),
	}
}

// verify asks the verifier, within the throttle. The error wraps ErrBadCredentials,
// ErrThrottled, or ErrUnavailable and what happened; or is ErrBusy.
func (g *Guard) verify(ctx context.Context, r *Request, c Credentials) (Identity, error) {
	k := g.users
	if c.AMCC {
		k = g.controllers
	}
	// The name's own key, since to find the account may itself take a while.
	a := g.attempt(r, k.lane, c.Name.bare(), c.Name, k.locks)
	source, account := a.source, a.account
	if !k.places.take(source, account) {
		return Identity{}, ErrBusy
	}
	defer k.places.leave(source, account)
	if k.keyer != nil {
		bounded, cancel := context.WithTimeout(ctx, g.cfg.VerifyTimeout)
		key, err := k.keyer.AccountKey(bounded, c.Name)
		cancel()
		if err != nil {
			return Identity{}, unavailable(err).reason
		}
		a = g.attempt(r, k.lane, cmp.Or(key, c.Name.bare()), c.Name, k.locks)
	}
	f, err := g.join(ctx, k, a, c)
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
	return f.identity, f.err
}

// join returns the flight of these credentials, which may have to be started.
func (g *Guard) join(ctx context.Context, k *checks, a *attempt, c Credentials) (*flight, error) {
	key := g.mac("flight", []byte(c.Name.Account()), a.account[:], a.owner[:], a.party[:], c.Password.Reveal())
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.flights[key]; f != nil {
		return f, nil
	}
	// A flight may outlive the request that began it, so their number is bounded as well.
	if len(k.flights) >= g.cfg.MaxPending {
		return nil, ErrBusy
	}
	// Not the request's context: others may join, and whatever the verifier says
	// must be counted even if nobody waits for it any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.VerifyTimeout)
	f := &flight{done: make(chan struct{}), timeout: ctx.Done()}
	k.flights[key] = f
	c.Password = c.Password.Clone()
	go func() {
		defer cancel()
		f.identity, f.err = g.fly(ctx, k, a, c)
		c.Wipe()
		k.mu.Lock()
		delete(k.flights, key)
		k.mu.Unlock()
		close(f.done)
	}()
	return f, nil
}

// fly waits for the throttle, asks the verifier, and counts the result.
func (g *Guard) fly(ctx context.Context, k *checks, a *attempt, c Credentials) (Identity, error) {
	if err := g.throttle.begin(ctx, a); err != nil {
		if errors.Is(err, ErrThrottled) || errors.Is(err, ErrBusy) {
			return Identity{}, err
		}
		return Identity{}, unavailable(err).reason
	}
	defer g.throttle.end(a)
	select {
	case k.slots <- struct{}{}:
	default:
		return Identity{}, ErrBusy
	}
	start := time.Now()
	g.counters.verifying.Add(1)
	identity, err := g.ask(ctx, k.verifier, c)
	g.counters.verifying.Add(-1)
	g.counters.verifications.Add(1)
	g.counters.verifyTime.Add(int64(time.Since(start)))
	<-k.slots
	switch {
	case err == nil:
		g.throttle.succeeded(a, identity)
	case errors.Is(err, ErrBadCredentials):
		g.throttle.failed(a)
	}
	return identity, err
}

// ask calls the verifier and makes sure of what it says.
func (g *Guard) ask(ctx context.Context, v Verifier, c Credentials) (identity Identity, err error) {
	defer func() {
		if p := recover(); p != nil {
			// Not its value: nobody knows what the verifier put into it.
			g.cfg.Logger.LogAttrs(ctx, slog.LevelError, "verifier panicked",
				slog.String("type", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
			identity, err = Identity{}, fmt.Errorf("%w: verifier panicked", ErrUnavailable)
		}
	}()
	identity, err = v.Verify(ctx, c)
	switch {
	case err == nil:
		if identity.Account == "" {
			identity.Account = c.Name.String()
		}
		identity.Account, identity.AMCC = fold(identity.Account), c.AMCC
		return identity, nil
	case prints(err, c.Password):
		// A verifier that prints the password must not make the log print it.
		if errors.Is(err, ErrBadCredentials) {
			if why, ok := errors.AsType[*reason](err); ok && why.of != nil {
				return Identity{}, why
			}
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
