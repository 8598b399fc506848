package pidf

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest is a number that two documents have in common where [Equal] would find them
// written in the same order, in this process or another one, and hardly ever else. It
// is not 0.
func Digest(p *Presence) uint64 {
	w := newWriter(nil, BluStarDialect)
	defer w.done()
	w.sketch(p)
	sum := sha256.Sum256(w.scratch)
	return binary.BigEndian.Uint64(sum[:]) | 1
}
