package msgraph

import (
	"strings"

	"github.com/openblustar/blustar/pidf"
)

// Row says what one pair of availability and activity means, as Teams reports them. Both compare
// without regard to case; an empty one is any. An empty Status says nothing: the user's presence is
// what the other sources make of it.
type Row struct {
	Availability, Activity string

	Status         pidf.Status
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
		{"DoNotDisturb", "InACall", pidf.StatusDoNotDisturb, OnThePhone, ""},
		{"DoNotDisturb", "InAConferenceCall", pidf.StatusDoNotDisturb, OnThePhone, ""},
		{"", "InACall", pidf.StatusBusy, OnThePhone, ""},
		{"", "InAConferenceCall", pidf.StatusBusy, OnThePhone, ""},
		{"", "Presenting", pidf.StatusDoNotDisturb, OnThePhone, ""},

		{"Offline", "OffWork", pidf.StatusAway, "", ""},
		{"Offline", "", "", "", ""},
		{"PresenceUnknown", "", "", "", ""},

		{"Available", "", pidf.StatusAvailable, "", ""},
		{"AvailableIdle", "Inactive", pidf.StatusInactive, "", ""},
		{"AvailableIdle", "", pidf.StatusAvailable, "", ""},
		{"Busy", "InAMeeting", pidf.StatusBusy, "", InAMeeting},
		{"Busy", "", pidf.StatusBusy, "", ""},
		{"BusyIdle", "InAMeeting", pidf.StatusBusy, "", InAMeeting},
		{"BusyIdle", "", pidf.StatusBusy, "", ""},
		{"DoNotDisturb", "", pidf.StatusDoNotDisturb, "", ""},
		{"Away", "Inactive", pidf.StatusInactive, "", ""},
		{"Away", "", pidf.StatusAway, "", ""},
		{"BeRightBack", "", pidf.StatusBeRightBack, "", ""},
		{"OutOfOffice", "", pidf.StatusAway, "", ""},

		// Newer values of availability are those of activity.
		{"InACall", "", pidf.StatusBusy, OnThePhone, ""},
		{"InAConferenceCall", "", pidf.StatusBusy, OnThePhone, ""},
		{"Presenting", "", pidf.StatusDoNotDisturb, OnThePhone, ""},
		{"InAMeeting", "", pidf.StatusBusy, "", InAMeeting},
		{"Focusing", "", pidf.StatusDoNotDisturb, "", ""},
		{"UrgentInterruptionsOnly", "", pidf.StatusDoNotDisturb, "", ""},
		{"Inactive", "", pidf.StatusInactive, "", ""},

		// An availability that nobody knows yet: the activity may say it.
		{"", "Available", pidf.StatusAvailable, "", ""},
		{"", "InAMeeting", pidf.StatusBusy, "", InAMeeting},
		{"", "Busy", pidf.StatusBusy, "", ""},
		{"", "DoNotDisturb", pidf.StatusDoNotDisturb, "", ""},
		{"", "Focusing", pidf.StatusDoNotDisturb, "", ""},
		{"", "UrgentInterruptionsOnly", pidf.StatusDoNotDisturb, "", ""},
		{"", "Away", pidf.StatusAway, "", ""},
		{"", "BeRightBack", pidf.StatusBeRightBack, "", ""},
		{"", "Inactive", pidf.StatusInactive, "", ""},
		{"", "OutOfOffice", pidf.StatusAway, "", ""},
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
