package auth

import (
	"context"
	"errors"
)

// knownAccount is what is remembered of a client that signed in to an account
// from its source before, so that somebody else's failures do not hold it up.
//
// It is a tag of 16 bits of a keyed digest of the password, and how often
// another password was tried while the account or source was held. 16 bits are
// far too few to find a password by, and let one wrong password in 65,536 through
// to the verifier.
type knownAccount struct {
	passes   bool // the tag is that of the password at hand
	misses   byte
	revision uint64
	tag      string
}

// knownAs is the client that an account may be known to. A controller is one
// client, whichever of its users it signs in (§2.11): it has one account, and
// somebody's failures with that must not keep out the users who come later.
func knownAs(r *Request) string {
	if r.AMCC {
		return "controller"
	}
	return r.Client
}

func knownKey(s subject) string { return hashKey([]byte(s.account + s.client)) }

// known looks an account up.
func (g *Guard) known(ctx context.Context, s subject, c Credentials) (knownAccount, error) {
	if s.account == "" {
		return knownAccount{}, nil
	}
	record, err := g.cfg.Store.Get(ctx, KindKnown, knownKey(s))
	if errors.Is(err, ErrNotFound) || err == nil && len(record.Value) != 3 {
		return knownAccount{}, nil
	} else if err != nil {
		return knownAccount{}, err
	}
	k := knownAccount{misses: record.Value[2], revision: record.Revision, tag: record.Value[:2]}
	k.passes = k.tag == g.tag(s, c)
	return k, nil
}

func (g *Guard) tag(s subject, c Credentials) string {
	mac := g.mac("known", []byte(s.account), c.Password.Reveal())
	return string(mac[:2])
}

// remember makes a client known to the account.
func (g *Guard) remember(ctx context.Context, s subject, c Credentials) error {
	if s.account == "" {
		return nil // nothing is throttled
	}
	return g.cfg.Store.Put(ctx, KindKnown, knownKey(s), g.tag(s, c)+"\x00", g.cfg.KnownLifetime)
}

// forget is for an account whose password is no longer what it was: its tag must
// not carry a second attempt past the throttle.
func (g *Guard) forget(ctx context.Context, s subject, k knownAccount) error {
	if !k.passes {
		return nil
	}
	return g.cfg.Store.Delete(ctx, KindKnown, knownKey(s))
}

// missed counts an attempt that was held although the account is known here.
// After as many as there may be failures, it is known no more: otherwise who
// passes for the client could try passwords against the tag without end.
func (g *Guard) missed(ctx context.Context, s subject, k knownAccount) error {
	if k.revision == 0 {
		return nil
	}
	if int(k.misses)+1 >= g.cfg.MaxFailures {
		return g.cfg.Store.Delete(ctx, KindKnown, knownKey(s))
	}
	err := g.cfg.Store.Swap(ctx, KindKnown, knownKey(s), k.tag+string([]byte{k.misses + 1}), g.cfg.KnownLifetime, k.revision)
	if errors.Is(err, ErrConflict) {
		// Somebody tried at the same time. Not to know is the safe side.
		return g.cfg.Store.Delete(ctx, KindKnown, knownKey(s))
	}
	return err
}
