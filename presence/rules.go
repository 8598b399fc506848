package presence

import (
	"slices"
	"time"
)

// Status is a consolidated presence status: what watchers are shown.
type Status string

// The consolidated statuses (§3.2, and BSP-3.2-7 for Away and Other).
const (
	StatusAvailable   Status = "available"
	StatusBusy        Status = "busy"
	StatusAway        Status = "away"
	StatusOther       Status = "other"
	StatusUnavailable Status = "unavailable"
	StatusSignedOut   Status = "signed out"
	StatusUnknown     Status = "unknown"
)

// Rule is one row of the consolidation table: where a claim matches, and no
// rule before it has one, the presentity has Status, and Note where the user
// set no free text.
type Rule struct {
	Name   string             // for Explain
	Match  func(c Claim) bool // sees every claim, those without a Meaning too
	Status Status
	Note   string
}

// Means returns a Match for claims of this meaning.
func Means(m Meaning) func(Claim) bool {
	return func(c Claim) bool { return c.Meaning == m }
}

// DefaultRules returns the consolidation table (BSP-3.2-3). The first rule that
// matches a claim wins:
//
//	do not disturb → unavailable    call → busy             meeting → busy
//	busy → busy                     away → away             inactive → away
//	be right back → away            other → other           available → available
//	signed out → signed out
//
// Each is named by the [Meaning] that it matches. The slice is the caller's, to
// replace, extend or reorder.
func DefaultRules() []Rule {
	rule := func(m Meaning, s Status, note string) Rule {
		return Rule{Name: string(m), Match: Means(m), Status: s, Note: note}
	}
	return []Rule{
		rule(MeansDoNotDisturb, StatusUnavailable, "Unavailable"),
		rule(MeansCall, StatusBusy, "In a call"),
		rule(MeansMeeting, StatusBusy, "In a meeting"),
		rule(MeansBusy, StatusBusy, "Busy"),
		rule(MeansAway, StatusAway, "Away"),
		rule(MeansInactive, StatusAway, "Inactive"),
		rule(MeansBeRightBack, StatusAway, "Be right back"),
		rule(MeansOther, StatusOther, "Other"),
		rule(MeansAvailable, StatusAvailable, "Available"),
		rule(MeansSignedOut, StatusSignedOut, "Signed out"),
	}
}

// Result is a consolidated presence.
type Result struct {
	Status Status
	Note   string // the user's free text, else that of the rule
	Rule   string // the name of the rule that won, "unknown" where none matched
	Winner Claim  // the newest claim that made it win
}

// Consolidate applies rules to what state says at now. It changes nothing and
// reads no clock.
func Consolidate(rules []Rule, state *State, now time.Time) Result {
	claims := state.Claims(now)
	return consolidate(rules, claims, state.note(rules, claims))
}

func consolidate(rules []Rule, claims []Claim, note string) Result {
	r := Result{Status: StatusUnknown, Rule: "unknown", Note: note}
	for i := range rules {
		won := -1
		for j := range claims {
			if rules[i].Match(claims[j]) && (won < 0 || claims[j].Received.After(claims[won].Received)) {
				won = j
			}
		}
		if won < 0 {
			continue
		}
		r.Status, r.Rule, r.Winner = rules[i].Status, rules[i].Name, claims[won]
		if r.Note == "" {
			r.Note = rules[i].Note
		}
		break
	}
	return r
}

// Explanation says why a presentity is shown as it is (BSX-1).
type Explanation struct {
	Result
	Claims     []Explained // everything that the sources say, those that lost and those that do not count too
	NextChange time.Time   // when a source next says something else by itself; zero for never
	At         time.Time   // when this was so
}

// Explained is a claim with what became of it.
type Explained struct {
	Claim
	Counts bool // some rule matches it
	Won    bool // it made the result
}

// Explain consolidates and tells how.
func Explain(rules []Rule, state *State, now time.Time) Explanation {
	claims := state.Claims(now)
	e := Explanation{
		Result:     consolidate(rules, claims, state.note(rules, claims)),
		NextChange: state.nextChange(now),
		At:         now,
	}
	for _, c := range claims {
		counts := slices.ContainsFunc(rules, func(r Rule) bool { return r.Match(c) })
		e.Claims = append(e.Claims, Explained{Claim: c, Counts: counts, Won: counts && c == e.Winner})
	}
	return e
}
