package pidf

import "strings"

// The values of enumerations, separated by bars. Those of RPID that are elements are in validate_rpid.go.
const (
	basics          = "open|closed"
	userInputs      = "active|idle"
	statuses        = "available|busy|away|do not disturb|signed out|inactive|be right back|unknown"
	bluStarStatuses = statuses + "|other"
	calendarStates  = "free|tentative|busy|out of office|unknown"
	lineStates      = "idle|ringing|busy|unknown"
	forwardTypes    = "immediate"

	audioPlaces = "noisy|ok|quiet|unknown"
	videoPlaces = "toobright|ok|dark|unknown"
	textPlaces  = "uncomfortable|inappropriate|ok|unknown"

	instanceStates  = "active|pending|terminated"
	documentStates  = "full|partial"
	watcherStatuses = "pending|active|waiting|terminated"
	watcherEvents   = "subscribe|approved|deactivated|probation|rejected|timeout|giveup|noresource"

	xpidfStatuses    = "open|closed|inuse|inactive"
	xpidfSubstatuses = "onthephone|busy|away|idle|berightback|outtolunch"
)

// isOneOf reports whether s is a value of a list.
func isOneOf(s, list string) bool {
	for value := range strings.SplitSeq(list, "|") {
		if value == s {
			return true
		}
	}
	return false
}

// folded returns the value of a list that s is but for its capitals, otherwise s itself.
func folded(s, list string) string {
	if strings.ToLower(s) == s {
		return s
	}
	for value := range strings.SplitSeq(list, "|") {
		if strings.EqualFold(value, s) {
			return value
		}
	}
	return s
}
