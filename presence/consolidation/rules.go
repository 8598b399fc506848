package consolidation

import (
	"errors"
	"fmt"
	"time"
)

// Status is a consolidated presence status: what watchers are shown.
type Status string

// The consolidated statuses (§3.2, and StatusAway and StatusOther besides, which the
// BluStar dialect shows as busy).
const (
	StatusAvailable   Status = "available"
	StatusBusy        Status = "busy"
	StatusAway        Status = "away"
	StatusOther       Status = "other"
	StatusUnavailable Status = "unavailable"
	StatusSignedOut   Status = "signed out"
	StatusUnknown     Status = "unknown"
)

// Rule is one row of the consolidation table. If it is the first one that matches a claim, the
// user has Status, and Note unless they have set a text.
type Rule struct {
	Name string // for Explain
	// Match sees every claim, even without a Meaning, and everything else that is known of the
	// user. It must not change them. Package presence calls it without a lock held: a Match that
	// blocks holds up its user, and nobody else.
	Match  func(c *Claim, s *State) bool
	Status Status
	Note   string
}

// Means returns a Match for claims of this meaning.
func Means(m Meaning) func(*Claim, *State) bool {
	return func(c *Claim, _ *State) bool { return c.Meaning == m }
}

// DefaultRules returns the consolidation table, the order of which a BluStar user
// guide (41-001514-01, p. 101) prints. The first rule that matches a claim wins:
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

// CheckRules tells everything that is wrong with a table: it is empty, or a rule lacks its name or
// Match, or has a status that no document can say.
func CheckRules(rules []Rule) error {
	if len(rules) == 0 {
		return errors.New("no rules")
	}
	var errs []error
	for i, r := range rules {
		switch r.Status {
		case StatusAvailable, StatusBusy, StatusAway, StatusOther, StatusUnavailable, StatusSignedOut, StatusUnknown:
		default:
			errs = append(errs, fmt.Errorf("rule %d (%s): no document can say status %q", i, r.Name, r.Status))
		}
		if r.Name == "" || r.Match == nil {
			errs = append(errs, fmt.Errorf("rule %d needs Name and Match", i))
		}
	}
	return errors.Join(errs...)
}

// Result is a consolidated presence.
type Result struct {
	Status Status `json:"status"`
	Note   string `json:"note"`   // the user's free text, else that of the rule
	Rule   string `json:"rule"`   // the name of the rule that won; "unknown" if none matched
	Winner Claim  `json:"winner"` // the newest claim that it matched

	published *Published // the newest document among the claims that it matched; may be nil
}

// Consolidate applies rules to what state says at now. It changes nothing, and reads no clock.
func Consolidate(rules []Rule, state *State, now time.Time) Result {
	return consolidate(rules, state, state.Claims(now), now)
}

func consolidate(rules []Rule, state *State, claims []Claim, now time.Time) Result {
	r := Result{Status: StatusUnknown, Rule: "unknown", Note: state.freeText(rules, claims, now)}
	for i := range rules {
		won := -1
		for j := range claims {
			c := &claims[j]
			if !rules[i].Match(c, state) {
				continue
			}
			if won < 0 || c.Received.After(claims[won].Received) {
				won = j
			}
			if p := c.published; p != nil && p.Reading != nil && (r.published == nil || p.Received.After(r.published.Received)) {
				r.published = p
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

// freeText returns the user's free text. Of several publications with a text, the one counts that the
// rules put first, and of equal ones the newest (BSX-6). A publication without a text leaves that
// to the others. claims are those of s.
func (s *State) freeText(rules []Rule, claims []Claim, now time.Time) string {
	newest, several := "", false
	for i := range s.Published {
		switch note := s.Published[i].noteAt(now); {
		case note == "":
		case newest == "":
			newest = note
		default:
			several = true
		}
	}
	if !several {
		return newest
	}
	for i := range rules {
		for j := range claims {
			if p := claims[j].published; p != nil && rules[i].Match(&claims[j], s) {
				if note := p.noteAt(now); note != "" {
					return note
				}
			}
		}
	}
	return newest
}
