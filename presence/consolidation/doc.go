// Package consolidation turns what many sources say about a user into one status
// and one document (§3 of the interface description). It is made of pure functions:
// no clock, no lock, no network.
//
// A [State] holds what the sources say. Its [Claim] values are what that amounts to
// at a moment: "busy, says line 2719". A table of [Rule] values, [DefaultRules] or
// the host's own, picks the one that wins: [Consolidate] returns the [Result], and
// [Explain] tells how it came about. [Document] writes the result for those who may
// see it.
package consolidation
