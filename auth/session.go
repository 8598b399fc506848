package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
)

// session is what a success opens for a client (BSP-2.10-8). As stored, it is
// the version, a flag, the proof, and the identity's three texts with their
// lengths. Reading it takes substrings and allocates nothing: this is what every
// request of a signed-in client does.
type session struct {
	identity Identity
	// proof is a keyed digest of what it was opened with.
	proof string
}

const sessionVersion = 1

func (g *Guard) session(ctx context.Context, client string) (session, error) {
	record, err := g.cfg.Store.Get(ctx, KindSession, client)
	if err != nil {
		return session{}, err
	}
	s, ok := readSession(record.Value)
	if !ok {
		return session{}, ErrNotFound // of another version: sign in again
	}
	return s, nil
}

func (g *Guard) openSession(ctx context.Context, client string, id Identity, proof [sha256.Size]byte) error {
	return g.cfg.Store.Put(ctx, KindSession, client, session{id, string(proof[:])}.String(), g.cfg.SessionLifetime)
}

// String returns the stored form.
func (s session) String() string {
	b := make([]byte, 0, 2+sha256.Size+6+len(s.identity.Account)+len(s.identity.ID)+len(s.identity.DN))
	b = append(b, sessionVersion, 0)
	if s.identity.AMCC {
		b[1] = 1
	}
	b = append(b, s.proof...)
	for _, text := range []string{s.identity.Account, s.identity.ID, s.identity.DN} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return string(b)
}

func readSession(v string) (s session, ok bool) {
	if len(v) < 2+sha256.Size || v[0] != sessionVersion {
		return session{}, false
	}
	s.identity.AMCC = v[1] == 1
	s.proof, v = v[2:2+sha256.Size], v[2+sha256.Size:]
	for _, text := range []*string{&s.identity.Account, &s.identity.ID, &s.identity.DN} {
		if *text, v, ok = cutText(v); !ok {
			return session{}, false
		}
	}
	return s, true
}

// cutText takes one text with its length off the front.
func cutText(v string) (text, rest string, ok bool) {
	var n uint64
	for i := 0; i < len(v) && i < 4; i++ {
		n |= uint64(v[i]&0x7f) << (7 * i)
		if v[i] < 0x80 {
			v = v[i+1:]
			if n > uint64(len(v)) {
				return "", "", false
			}
			return v[:n], v[n:], true
		}
	}
	return "", "", false
}
