package msgraph

import (
	"strings"

	"github.com/openblustar/blustar/pidf/aa"
)

// Row says what one pair of availability and activity means, as Teams reports them. Both compare
// without regard to case; an empty one is any. An empty Status says nothing: the user's presence is
// what the other sources make of it.
type Row struct {
	Availability, Activity string

	Status         aa.Status
	TelephoneEvent string
	FreeText       string // where the user has written nothing
}

// Of telephone events and texts in [DefaultTable].
const (
	OnThePhone = "on-the-phone"
	InAMeeting = "In a meeting"
)

// DefaultTable returns the rows that [TeamsConfig.Table] stands for where it is nil. The first that
// fits counts; a pair that fits none says nothing. Somebody who is offline, or has no Teams at all,
// says nothing.
func DefaultTable() []Row {
	return []Row{
		{"DoNotDisturb", "InACall", aa.StatusDoNotDisturb, OnThePhone, ""},
		{"DoNotDisturb", "InAConferenceCall", aa.StatusDoNotDisturb, OnThePhone, ""},
		{"", "InACall", aa.StatusBusy, OnThePhone, ""},
		{"", "InAConferenceCall", aa.StatusBusy, OnThePhone, ""},
		{"", "Presenting", aa.StatusDoNotDisturb, OnThePhone, ""},

		{"Offline", "OffWork", aa.StatusAway, "", ""},
		{"Offline", "", "", "", ""},
		{"PresenceUnknown", "", "", "", ""},

		{"Available", "", aa.StatusAvailable, "", ""},
		{"AvailableIdle", "Inactive", aa.StatusInactive, "", ""},
		{"AvailableIdle", "", aa.StatusAvailable, "", ""},
		{"Busy", "InAMeeting", aa.StatusBusy, "", InAMeeting},
		{"Busy", "", aa.StatusBusy, "", ""},
		{"BusyIdle", "InAMeeting", aa.StatusBusy, "", InAMeeting},
		{"BusyIdle", "", aa.StatusBusy, "", ""},
		{"DoNotDisturb", "", aa.StatusDoNotDisturb, "", ""},
		{"Away", "Inactive", aa.StatusInactive, "", ""},
		{"Away", "", aa.StatusAway, "", ""},
		{"BeRightBack", "", aa.StatusBeRightBack, "", ""},
		{"OutOfOffice", "", aa.StatusAway, "", ""},

		// Newer values of availability are those of activity.
		{"InACall", "", aa.StatusBusy, OnThePhone, ""},
		{"InAConferenceCall", "", aa.StatusBusy, OnThePhone, ""},
		{"Presenting", "", aa.StatusDoNotDisturb, OnThePhone, ""},
		{"InAMeeting", "", aa.StatusBusy, "", InAMeeting},
		{"Focusing", "", aa.StatusDoNotDisturb, "", ""},
		{"UrgentInterruptionsOnly", "", aa.StatusDoNotDisturb, "", ""},
		{"Inactive", "", aa.StatusInactive, "", ""},

		// An availability that nobody knows yet: the activity may say it.
		{"", "Available", aa.StatusAvailable, "", ""},
		{"", "InAMeeting", aa.StatusBusy, "", InAMeeting},
		{"", "Busy", aa.StatusBusy, "", ""},
		{"", "DoNotDisturb", aa.StatusDoNotDisturb, "", ""},
		{"", "Focusing", aa.StatusDoNotDisturb, "", ""},
		{"", "UrgentInterruptionsOnly", aa.StatusDoNotDisturb, "", ""},
		{"", "Away", aa.StatusAway, "", ""},
		{"", "BeRightBack", aa.StatusBeRightBack, "", ""},
		{"", "Inactive", aa.StatusInactive, "", ""},
		{"", "OutOfOffice", aa.StatusAway, "", ""},
	}
}

// lookUp returns the row of a pair; the zero Row where there is none.
func lookUp(table []Row, availability, activity string) Row {
	fits := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	for _, row := range table {
		if fits(row.Availability, availability) && fits(row.Activity, activity) {
			return row
		}
	}
	return Row{}
}
