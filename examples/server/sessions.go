package main

import (
	"context"
	"slices"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
)

// sweepEvery is how often sessions are held against the accounts that there are.
const sweepEvery = 5 * time.Minute

// sweepSessions ends the sessions of accounts that are gone, now, because a store may have
// brought some back, and until ctx ends.
func (s *server) sweepSessions(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		s.endSessions(func(id auth.Identity) bool { return s.backends.gone(ctx, id) })
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *server) endSessions(gone func(auth.Identity) bool) {
	if n := s.guard.EndSessions(gone); n > 0 {
		s.log.Info("sessions of removed or changed accounts have ended", "sessions", n)
	}
}

// gone reports whether it is certain that an account is not there any more. Of users whose
// passwords are checked elsewhere, LDAP can tell, if it is the directory.
func (b *backends) gone(ctx context.Context, id auth.Identity) bool {
	if _, local := b.verifier.(accounts); local || id.AMCC {
		account, ok := b.files.Load().accounts.Find(id.Account)
		return !ok || account != id.Account
	}
	if b.ldap == nil {
		return false
	}
	listed, err := b.ldap.HasAccount(ctx, id)
	return err == nil && !listed
}

// endedBy returns what tells whose session a reload ends: users and accounts that are
// gone, and accounts with another password.
func endedBy(before, after *inputs) func(auth.Identity) bool {
	var removed []directory.Entry
	if before.users != nil {
		left := make(map[string]bool)
		for e := range after.users.All() {
			left[e.ID] = true
		}
		for e := range before.users.All() {
			if !left[e.ID] {
				removed = append(removed, e)
			}
		}
	}
	now := make(map[string]auth.Account)
	for a := range after.accounts.All() {
		now[accountName(a)] = a
	}
	changed := make(map[string]bool)
	for a := range before.accounts.All() {
		other := now[accountName(a)]
		changed[accountName(a)] = a.PasswordHash != other.PasswordHash || a.AMCC != other.AMCC
	}
	return func(id auth.Identity) bool {
		return changed[id.Account] ||
			slices.ContainsFunc(removed, func(e directory.Entry) bool { return auth.SameAccount(id, e.Account, e.ID) })
	}
}

// accountName names an account as its identity does.
func accountName(a auth.Account) string {
	name, _ := auth.ParseName(a.Account) // it has been read
	return name.Account()
}
