package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// session is what a success opens for a client (BSP-2.10-8).
type session struct {
	identity Identity
	// proof is a keyed digest of what it was opened with. It is in memory alone, and
	// zero in a session that was restored.
	proof [sha256.Size]byte
	// key is what its credentials were encrypted with, where there are other nodes: so that these
	// can read them when they come again.
	key string
	// connection is that of Request if it is secure: the session belongs to it.
	connection uint64
}

// boundTo is the connection that a session of the request belongs to, 0 for none.
func (r *Request) boundTo() uint64 {
	if !r.Secure {
		return 0
	}
	return r.Connection
}

// session returns the session of a request without credentials. Another connection
// than its own has no part in it.
func (g *Guard) session(client recordKey, r *Request) (session, bool) {
	s, ok := g.sessions.get(client)
	return s, ok && (s.connection == r.boundTo() || g.cfg.AnySource)
}

// openSession makes a success last. A client that has a session of another account
// gets none: two users share From, Contact and address, or one of them takes the
// other's. Neither has a session then, and each is asked again.
func (g *Guard) openSession(client recordKey, s session) {
	expires := time.Now().Add(g.cfg.SessionLifetime)
	var mine bool
	g.sessions.update(client, keyOf("account", s.identity.Account), expires,
		func(old session, found bool) (session, bool) {
			old.identity.Stamp = s.identity.Stamp // the account may have another password now
			mine = !found || old.identity == s.identity
			return s, mine
		})
	if !mine {
		expires = time.Time{}
	}
	if g.cfg.KeepSession != nil && s.connection == 0 {
		g.cfg.KeepSession(s.record(client, expires))
	}
}

// EndSessions ends the sessions of all identities for which gone returns true, and returns how
// many: for accounts that were removed, or have another password ([Identity.Stamp]). gone is called
// once for each identity that has a session, and may block. Call it also after sessions were
// restored: what has changed meanwhile is not in their records.
func (g *Guard) EndSessions(gone func(Identity) bool) int {
	ended := make(map[Identity]bool)
	g.sessions.drop(func(s session) bool {
		ended[s.identity] = false
		return false
	})
	for id := range ended {
		ended[id] = gone(id)
	}
	keys := g.sessions.drop(func(s session) bool { return ended[s.identity] })
	g.forget(keys...)
	return len(keys)
}

// forget tells the store of sessions that have ended.
func (g *Guard) forget(keys ...recordKey) {
	for _, key := range keys {
		if g.cfg.KeepSession != nil {
			g.cfg.KeepSession(session{}.record(key, time.Time{}))
		}
	}
}

// Disown is for a request that was accepted and is about another than its account, by From
// or by its dialog: who knows a user's From and Contact can sign in with them as somebody
// else, from behind the same address. It returns what to answer: a challenge, or, where the
// request brought credentials, that it is forbidden. The session ends, unless the request
// was a datagram without credentials, which anybody can forge: the user's answer to the
// challenge ends an impostor's.
func (g *Guard) Disown(ctx context.Context, r Request) Decision {
	if key := g.sessionKey(&r); r.Connection != 0 || r.hasRauth() {
		g.sessions.update(key, recordKey{}, time.Time{}, func(s session, _ bool) (session, bool) { return s, false })
		g.forget(key)
	}
	if r.hasRauth() || len(r.Authorization) > 0 {
		return Decision{Verdict: Forbid, Reason: ErrNotPermitted}
	}
	return g.decision(ctx, &r, outcome{verdict: Challenge, reason: ErrNoCredentials})
}

// SessionRecord is a session, or who is known where (see the package documentation on
// throttling), in a form that a store can keep over a restart.
type SessionRecord struct {
	// Key is 22 characters of the URL-safe base64 alphabet.
	Key string
	// Value is a few hundred bytes of JSON with a version in it. It holds the
	// account, its directory entry and its Stamp, or a hash of the account, and nothing of
	// the credentials.
	Value []byte
	// Expires is when it ends. The zero time means that it has ended and
	// that a store should forget it.
	Expires time.Time
}

// sessionVersion tells the values of this version of the package from those of others.
const sessionVersion = 1

type storedSession struct {
	Version int    `json:"v"`
	Account string `json:"account,omitempty"`
	ID      []byte `json:"id,omitempty"` // of a directory: any bytes
	DN      string `json:"dn,omitempty"`
	AMCC    bool   `json:"amcc,omitempty"`
	Stamp   string `json:"stamp,omitempty"`
	Known   []byte `json:"known,omitempty"` // the key of an account that is known; then there is nothing else
}

func (s session) record(client recordKey, expires time.Time) SessionRecord {
	r := SessionRecord{Key: client.String(), Expires: expires.Round(0)}
	if !expires.IsZero() {
		id := s.identity
		// texts and a bool
		r.Value, _ = json.Marshal(storedSession{sessionVersion, id.Account, []byte(id.ID), id.DN, id.AMCC, id.Stamp, nil})
	}
	return r
}

// knownRecord says that an account is known at a source with a From.
func knownRecord(client, account recordKey, until time.Time) SessionRecord {
	value, _ := json.Marshal(storedSession{Version: sessionVersion, Known: account[:]}) // texts and a bool
	return SessionRecord{Key: client.String(), Value: value, Expires: until.Round(0)}
}

// RestoreSession takes back a session that [Config.KeepSession] was given, in this
// process or an earlier one. One that has expired is ignored, and none lasts longer
// than [Config.SessionLifetime] from now, whatever the clock was meanwhile. Without
// Expires it has ended elsewhere, and ends here. The error says that it is no session of
// this version of the package.
func (g *Guard) RestoreSession(r SessionRecord) error {
	key, err := parseKey(r.Key)
	if err != nil {
		return err
	}
	if r.Expires.IsZero() {
		g.sessions.update(key, recordKey{}, time.Time{}, func(s session, _ bool) (session, bool) { return s, false })
		return nil
	}
	var s storedSession
	if err := json.Unmarshal(r.Value, &s); err != nil || s.Account == "" && len(s.Known) != len(recordKey{}) {
		return errors.New("auth: not a session")
	}
	if s.Version != sessionVersion {
		return fmt.Errorf("auth: session of version %d, want %d", s.Version, sessionVersion)
	}
	if s.Account == "" {
		if left := min(time.Until(r.Expires), g.cfg.KnownLifetime); left > 0 {
			until := time.Now().Add(left)
			g.throttle.knows(key, recordKey(s.Known), until, until)
		}
		return nil
	}
	left := min(time.Until(r.Expires), g.cfg.SessionLifetime)
	if left <= 0 {
		return nil
	}
	id := Identity{Account: s.Account, ID: string(s.ID), DN: s.DN, AMCC: s.AMCC, Stamp: s.Stamp}
	g.sessions.update(key, keyOf("account", s.Account), time.Now().Add(left), func(old session, _ bool) (session, bool) {
		if old.identity == id {
			return old, true // with what proves it here
		}
		return session{identity: id}, true
	})
	return nil
}
