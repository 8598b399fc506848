package consolidation

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says why a user is shown as they are.
type Explanation struct {
	Result
	Claims     []Explained `json:"claims"`               // everything that the sources say, whether it counts or not
	NextChange time.Time   `json:"next_change,omitzero"` // when a source next says something else by itself; zero: never
	At         time.Time   `json:"at"`                   // when this was so
}

// Explained is a claim with what became of it.
type Explained struct {
	Claim
	Counts bool `json:"counts"` // some rule matches it
	Won    bool `json:"won"`    // it made the result
}

// Explain consolidates and tells how.
func Explain(rules []Rule, state *State, now time.Time) Explanation {
	claims := state.Claims(now)
	e := Explanation{
		Result:     consolidate(rules, state, claims, now),
		NextChange: state.NextChange(now),
		At:         now,
	}
	for _, c := range claims {
		counts := slices.ContainsFunc(rules, func(r Rule) bool { return r.Match(&c, state) })
		e.Claims = append(e.Claims, Explained{Claim: c, Counts: counts, Won: counts && c == e.Winner})
	}
	return e
}

// String tells it in lines of text: the result first, then a line for each claim.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s / %s, by rule %q\n", e.Status, e.Note, e.Rule)
	for _, c := range e.Claims {
		became := "lost"
		switch {
		case c.Won:
			became = "won"
		case !c.Counts:
			became = "does not count"
		}
		fmt.Fprintf(&b, "  %s says %q: %s", c.Source, c.Value, became)
		if c.Owner != "" {
			fmt.Fprintf(&b, ", from %s", c.Owner)
		}
		if !c.Received.IsZero() {
			fmt.Fprintf(&b, ", %v ago", e.At.Sub(c.Received).Round(time.Second))
		}
		if !c.Expires.IsZero() {
			fmt.Fprintf(&b, ", for %v more", c.Expires.Sub(e.At).Round(time.Second))
		}
		b.WriteByte('\n')
	}
	if !e.NextChange.IsZero() {
		fmt.Fprintf(&b, "  next change by itself in %v\n", e.NextChange.Sub(e.At).Round(time.Second))
	}
	return b.String()
}
