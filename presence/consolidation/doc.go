// Package consolidation turns what many sources say about a user into one status and one
// document (§3 of the BluStar interface description). It consists of pure functions: no
// clock, no lock, no network.
//
// A [State] holds what was published and what the sources say. A [Claim] is what one of
// them amounts to at a moment: "busy, says line 2719". A table of [Rule] values, which is
// [DefaultRules] or the host's own, picks the claim that wins. [Consolidate] returns the
// [Result], and [Explain] tells how it came about. [Document] writes the result for those
// who may see it; a [Sight] says how much that is.
package consolidation
