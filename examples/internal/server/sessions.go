package server

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

// local reports whether an account is of the accounts file.
func (b *backends) local(id auth.Identity) bool {
	_, users := b.verifier.(accounts)
	return users || id.AMCC
}

// gone reports whether it is certain that an account is not there any more, or has another
// password. Of users whose passwords are checked elsewhere, LDAP can tell, if it is the directory.
func (b *backends) gone(ctx context.Context, id auth.Identity) bool {
	if b.local(id) {
		return !b.files.Load().accounts.HasAccount(id)
	}
	if b.ldap == nil {
		return false
	}
	listed, err := b.ldap.HasAccount(ctx, id)
	return err == nil && !listed
}

// endedBy returns what tells whose session a reload ends: of users who are gone.
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
	return func(id auth.Identity) bool {
		return slices.ContainsFunc(removed, func(e directory.Entry) bool { return auth.SameAccount(id, e.Account, e.ID) })
	}
}
