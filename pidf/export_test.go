package pidf

import (
	"strconv"
	"strings"
)

// Change is one difference between two documents.
type Change struct {
	Path          string // such as "presence/tuple[audio]/status/basic"
	Before, After string // empty where there was, or is, nothing at the path, or an empty element
	Kind          ChangeKind
}

// ChangeKind says what happened to a path.
type ChangeKind int

const (
	Changed ChangeKind = iota
	Added
	Removed
)

// String returns one line: a path with both values, or a path behind + or -.
func (c Change) String() string {
	switch {
	case c.Kind == Added && c.After == "":
		return "+ " + c.Path
	case c.Kind == Added:
		return "+ " + c.Path + ": " + strconv.Quote(c.After)
	case c.Kind == Removed && c.Before == "":
		return "- " + c.Path
	case c.Kind == Removed:
		return "- " + c.Path + ": " + strconv.Quote(c.Before)
	}
	return c.Path + ": " + strconv.Quote(c.Before) + " -> " + strconv.Quote(c.After)
}

// Diff returns what one has to change in a to get b, sorted by path. It returns nothing where Equal reports true.
func Diff(a, b *Presence) []Change {
	var changes []Change
	before, after := factsOf(a), factsOf(b)
	// What both have drops out first, so that values of one path that only moved do not look like changes.
	before, after = without(before, after), without(after, before)
	for len(before) > 0 || len(after) > 0 {
		order := 0
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = strings.Compare(before[0].path, after[0].path)
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Path: before[0].path, Before: before[0].value, Kind: Removed})
			before = before[1:]
		case order > 0:
			changes = append(changes, Change{Path: after[0].path, After: after[0].value, Kind: Added})
			after = after[1:]
		default:
			changes = append(changes, Change{Path: before[0].path, Before: before[0].value, After: after[0].value})
			before, after = before[1:], after[1:]
		}
	}
	return changes
}

// without returns a less b; both are sorted and may hold a fact more than once.
func without(a, b []fact) []fact {
	var rest []fact
	for _, f := range a {
		for len(b) > 0 && compareFacts(b[0], f) < 0 {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == f {
			b = b[1:]
			continue
		}
		rest = append(rest, f)
	}
	return rest
}
