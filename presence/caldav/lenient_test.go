package caldav_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/caldav"
)

// What programs write that RFC 5545 does not want, and what it can only mean.

// july returns a view of July 2025 for somebody in New York.
func july(t *testing.T) caldav.View {
	return caldav.View{
		From: time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2025, 8, 1, 0, 0, 0, 0, time.UTC),
		Location: zone(t, "America/New_York"), Addresses: []string{"tom@example.com"},
	}
}

// TestForeignTypes: EXDATE, RDATE and RECURRENCE-ID are of the type and zone of DTSTART
// (RFC 5545 §3.8.5.1, §3.8.5.2, §3.8.4.4), also where they are not written so.
func TestForeignTypes(t *testing.T) {
	const (
		allDay = "DTSTART;VALUE=DATE:20250701\r\nRRULE:FREQ=DAILY;COUNT=4\r\n"
		timed  = "DTSTART;TZID=Europe/Berlin:20250701T100000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"
		utc    = "DTSTART:20250701T100000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\n"
	)
	// Days begin at 04:00 UTC in New York.
	days := func(list ...string) (want []string) {
		for _, day := range list {
			want = append(want, "2025-07-"+day+"T04:00 24h0m0s")
		}
		return want
	}
	hours := func(hour string, list ...string) (want []string) {
		for _, day := range list {
			want = append(want, "2025-07-"+day+"T"+hour+":00 1h0m0s")
		}
		return want
	}
	for name, tt := range map[string]struct {
		lines string
		want  []string
	}{
		"EXDATE in UTC, all day":                    {allDay + "EXDATE:20250702T000000Z", days("01", "03", "04")},
		"EXDATE at midnight of another zone":        {allDay + "EXDATE;TZID=Europe/Berlin:20250703T000000", days("01", "02", "04")},
		"EXDATE of a floating midnight, all day":    {allDay + "EXDATE:20250703T000000", days("01", "02", "04")},
		"EXDATE at the own midnight in UTC":         {allDay + "EXDATE:20250703T040000Z", days("01", "02", "04")},
		"EXDATE with the time of a meeting":         {allDay + "EXDATE:20250703T090000", days("01", "02", "04")},
		"EXDATE in a list":                          {allDay + "EXDATE:20250702T000000Z,20250703T000000Z", days("01", "04")},
		"EXDATE as a date, timed":                   {timed + "EXDATE;VALUE=DATE:20250702", hours("08", "01", "03")},
		"EXDATE floating, timed":                    {timed + "EXDATE:20250702T100000", hours("08", "01", "03")},
		"EXDATE floating, DTSTART in UTC":           {utc + "EXDATE:20250702T100000", hours("10", "01", "03")},
		"EXDATE in another zone":                    {timed + "EXDATE;TZID=America/New_York:20250702T040000", hours("08", "01", "03")},
		"EXDATE in UTC, timed":                      {timed + "EXDATE:20250702T080000Z", hours("08", "01", "03")},
		"RDATE as a date, timed":                    {timed + "RDATE;VALUE=DATE:20250710", hours("08", "01", "02", "03", "10")},
		"RDATE floating, timed":                     {timed + "RDATE:20250710T100000", hours("08", "01", "02", "03", "10")},
		"RDATE with a time, all day":                {allDay + "RDATE:20250710T000000Z", days("01", "02", "03", "04", "10")},
		"RDATE at midnight of another zone, again":  {allDay + "RDATE;TZID=Asia/Tokyo:20250704T000000,20250705T000000", days("01", "02", "03", "04", "05")},
		"DTSTART floating, EXDATE as well":          {"DTSTART:20250701T100000\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=2\r\nEXDATE:20250702T100000", hours("14", "01")},
		"EXRULE":                                    {timed + "EXRULE:FREQ=DAILY;INTERVAL=2", hours("08", "02")},
		"EXRULE and RRULE without end":              {"DTSTART:20200101T100000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;BYDAY=TU,WE\r\nEXRULE:FREQ=WEEKLY;BYDAY=TU", hours("10", "02", "09", "16", "23", "30")},
		"SKIP=OMIT":                                 {"DTSTART:20250131T100000Z\r\nDURATION:PT1H\r\nRRULE:RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=OMIT", hours("10", "31")},
		"RECURRENCE-ID with a time, all day":        {allDay + "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20250720\r\nRECURRENCE-ID:20250702T000000Z", days("01", "03", "04", "20")},
		"RECURRENCE-ID at midnight of another zone": {allDay + "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20250720\r\nRECURRENCE-ID;TZID=Europe/Berlin:20250702T000000", days("01", "03", "04", "20")},
		"RECURRENCE-ID as a date, timed": {timed + "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20250720T100000\r\nDURATION:PT1H\r\nRECURRENCE-ID;VALUE=DATE:20250702",
			hours("08", "01", "03", "20")},
		"RECURRENCE-ID floating, timed": {timed + "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20250720T100000\r\nDURATION:PT1H\r\nRECURRENCE-ID:20250702T100000",
			hours("08", "01", "03", "20")},
		"RECURRENCE-ID as a date, and all that follow": {timed + "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20250702T110000\r\nDURATION:PT1H\r\nRECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20250702",
			append(hours("08", "01"), hours("09", "02", "03")...)},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := july(t).Appointments(t.Context(), calendar("BEGIN:VEVENT\r\nUID:1\r\n"+tt.lines+"\r\nEND:VEVENT"))
			require.NoError(t, err)
			require.Equal(t, tt.want, times(found))
		})
	}
}

// TestRulesNotFollowed: what of a rule is not supported is said, and DTSTART remains.
func TestRulesNotFollowed(t *testing.T) {
	for rule, want := range map[string]string{
		"RRULE:RSCALE=GREGORIAN;FREQ=MONTHLY;BYMONTHDAY=31;SKIP=FORWARD": "RRULE: SKIP",
		"RRULE:FREQ=MONTHLY;SKIP=BACKWARD":                               "RRULE: SKIP",
		"RRULE:RSCALE=CHINESE;FREQ=YEARLY":                               "RRULE: RSCALE",
		"RRULE:FREQ=DAILY;COUNT=3\r\nEXRULE:FREQ=SOMETIMES":              "EXRULE: ",
		"RRULE:FREQ=DAILY;COUNT=3\r\nEXRULE:FREQ=MONTHLY;SKIP=FORWARD":   "EXRULE: SKIP",
		"RRULE:FREQ=HOURLY;BYYEARDAY=200;COUNT=3":                        "RRULE: ",
		"RRULE:FREQ=MONTHLY;BYDAY=53MO":                                  "RRULE: ",
	} {
		found, err := july(t).Appointments(t.Context(), vevent("DTSTART:20250731T100000Z", "DURATION:PT1H", rule))
		require.ErrorContains(t, err, want, rule)
		require.NotEmpty(t, found, rule)
		require.Contains(t, times(found), "2025-07-31T10:00 1h0m0s")
	}
}

// TestParameters: a parameter that is written badly costs neither its event nor the
// others (RFC 5545 §3.2).
func TestParameters(t *testing.T) {
	for _, param := range []string{
		`CN="Ann \"Annie\" Lee";PARTSTAT=DECLINED`,
		`X-RESPONSE-COMMENT="see "you" there";PARTSTAT=DECLINED`,
		`CN="Ann "Annie Lee";PARTSTAT=DECLINED`,
		`CN="Ann Lee;PARTSTAT=DECLINED`,
		`CN=Ann "Annie" Lee;PARTSTAT=DECLINED`,
		`CN=O"Brien;PARTSTAT=DECLINED`,
		`PARTSTAT=DECLINED;`,
		`;PARTSTAT=DECLINED`,
		`PARTSTAT=DECLINED;;`,
		`RSVP;PARTSTAT=DECLINED`,
		`=x;PARTSTAT=DECLINED`,
		`PARTSTAT="DECLINED"`,
		`partstat=declined`,
		`CN="a;b:c,d";PARTSTAT=DECLINED`,
		`MEMBER="mailto:a@x","mailto:b@x";PARTSTAT=DECLINED`,
		`CN=` + strings.Repeat("long ", 1000) + `;PARTSTAT=DECLINED`,
		`CN="` + strings.Repeat(`"`, 999) + `;PARTSTAT=DECLINED`,
	} {
		t.Run(param[:min(len(param), 40)], func(t *testing.T) {
			found, err := july(t).Appointments(t.Context(), calendar(
				"BEGIN:VEVENT\r\nUID:before\r\nDTSTART:20250701T080000Z\r\nDURATION:PT1H\r\nEND:VEVENT",
				"BEGIN:VEVENT\r\nUID:declined\r\nDTSTART:20250701T100000Z\r\nDURATION:PT1H\r\nATTENDEE;"+param+":mailto:tom@example.com\r\nEND:VEVENT",
				"BEGIN:VEVENT\r\nUID:kept\r\nDTSTART:20250701T120000Z\r\nDURATION:PT1H\r\nATTENDEE;"+param+":mailto:ann@example.com\r\nEND:VEVENT",
				"BEGIN:VEVENT\r\nUID:after\r\nDTSTART:20250701T140000Z\r\nDURATION:PT1H\r\nEND:VEVENT"))
			require.NoError(t, err)
			require.Equal(t, []string{"2025-07-01T08:00 1h0m0s", "2025-07-01T12:00 1h0m0s", "2025-07-01T14:00 1h0m0s"}, times(found))
		})
	}
	for _, line := range []string{
		"garbage", ":", ";", ";:", "X", "=", `"`, `:"`, "X;", "X:", "\x00", "ATTENDEE", "ATTENDEE;", `ATTENDEE;CN="`, "END:VALARM", "END", "END:", "BEGIN:", "END:VTODO",
		"BEGIN:VALARM\r\nTRIGGER:x\r\nEND:VALARM", "BEGIN:VALARM\r\nBEGIN:X\r\nEND:VALARM", strings.Repeat("x", 1<<17) + ":y",
	} {
		found, err := july(t).Appointments(t.Context(), vevent("DTSTART:20250701T100000Z", line, "DURATION:PT1H"))
		require.NoError(t, err, line)
		require.Equal(t, []string{"2025-07-01T10:00 1h0m0s"}, times(found), line)
	}
}

// TestStructure: a component that does not end costs itself.
func TestStructure(t *testing.T) {
	const event = "BEGIN:VEVENT\r\nUID:%\r\nDTSTART:20250701T100000Z\r\nDURATION:PT1H\r\n"
	named := func(s, uid string) string { return strings.ReplaceAll(s, "%", uid) }
	found, err := july(t).Appointments(t.Context(), []byte("BEGIN:VCALENDAR\r\n"+named(event, "1")+"BEGIN:VALARM\r\nEND:VALARM\r\nEND:VEVENT\r\n"+named(event, "2")+"END:VCALENDAR\r\n"))
	require.NoError(t, err)
	require.Len(t, found, 2, "END:VCALENDAR ends what is in it")
	found, err = july(t).Appointments(t.Context(), []byte("BEGIN:VCALENDAR\r\n"+named(event, "1")+"BEGIN:VALARM\r\nEND:VEVENT\r\n"+named(event, "2")+"END:VEVENT\r\nEND:VCALENDAR\r\n"))
	require.NoError(t, err)
	require.Len(t, found, 2, "END:VEVENT ends the alarm in it")
	found, err = july(t).Appointments(t.Context(), []byte("begin:vcalendar\nbegin:vevent\nuid:1\ndtstart:20250701T100000Z\nduration:PT1H\nend:vevent\nend:vcalendar"))
	require.NoError(t, err)
	require.Len(t, found, 1)
}

// TestOrganizer: who organizes takes part, and owes no answer (RFC 5546 §3.2.2).
func TestOrganizer(t *testing.T) {
	view := july(t)
	view.Addresses = []string{"tom@example.com", "hanks@example.com"}
	for lines, want := range map[string]aa.CalendarState{
		"ORGANIZER:mailto:tom@example.com\r\nATTENDEE:mailto:tom@example.com":                                          aa.CalendarBusy,
		"ORGANIZER:MAILTO:Tom@Example.com\r\nATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:hanks@example.com":                  aa.CalendarBusy,
		"ORGANIZER;EMAIL=tom@example.com:urn:uuid:1\r\nATTENDEE:mailto:tom@example.com":                                aa.CalendarBusy,
		"ORGANIZER:mailto:tom@example.com\r\nATTENDEE:mailto:ann@example.com":                                          aa.CalendarBusy,
		"ORGANIZER:mailto:tom@example.com\r\nATTENDEE;PARTSTAT=TENTATIVE:mailto:tom@example.com":                       aa.CalendarTentative,
		"ORGANIZER:mailto:tom@example.com\r\nATTENDEE;PARTSTAT=DECLINED:mailto:tom@example.com":                        "",
		"ORGANIZER:mailto:ann@example.com\r\nATTENDEE:mailto:tom@example.com":                                          aa.CalendarTentative,
		"ATTENDEE:mailto:hanks@example.com\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:tom@example.com":                       aa.CalendarBusy,
		"ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:hanks@example.com\r\nATTENDEE;PARTSTAT=DECLINED:mailto:tom@example.com": "",
		"ORGANIZER:mailto:tom@example.com\r\nSTATUS:TENTATIVE\r\nATTENDEE:mailto:tom@example.com":                      aa.CalendarTentative,
		"ORGANIZER:mailto:tom@example.com\r\nTRANSP:TRANSPARENT\r\nATTENDEE:mailto:tom@example.com":                    aa.CalendarFree,
	} {
		found, err := view.Appointments(t.Context(), vevent("DTSTART:20250701T100000Z", "DURATION:PT1H", lines))
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, found, lines)
			continue
		}
		require.Len(t, found, 1, lines)
		require.Equal(t, want, found[0].State, lines)
	}
}

// TestForeignZoneNames: names with escapes, as TEXT has them (RFC 5545 §3.8.3.1), and
// names that say what they mean without a definition.
func TestForeignZoneNames(t *testing.T) {
	definition := func(id string) string {
		return "BEGIN:VTIMEZONE\r\nTZID:" + id + "\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0145\r\nTZOFFSETTO:+0145\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
	}
	for name, tt := range map[string]struct{ definition, param, want string }{
		"escaped comma":               {definition(`Head\, Office`), `"Head, Office"`, "10:15"},
		"escaped semicolon":           {definition(`Zone A\; B`), `"Zone A; B"`, "10:15"},
		"escaped backslash":           {definition(`A\\B`), `A\B`, "10:15"},
		"parameter escaped as well":   {definition(`Head\, Office`), `"Head\, Office"`, "10:15"},
		"parameter alone escaped":     {definition(`Head, Office`), `"Head\, Office"`, "10:15"},
		"quoted definition":           {definition(`"Head Office"`), `Head Office`, "10:15"},
		"without quotes":              {definition(`Head, Office`), `Head, Office`, "10:15"},
		"shown by Windows":            {"", `"(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna"`, "10:00"},
		"shown by Windows, escaped":   {"", `"(UTC+01:00) Amsterdam\, Berlin\, Bern"`, "10:00"},
		"shown by Windows, no quotes": {"", `(UTC+01:00) Amsterdam, Berlin, Bern`, "10:00"},
		"Windows with a number":       {"", `GMT Standard Time 1`, "11:00"},
		"Microsoft's UTC":             {"", `"tzone://Microsoft/Utc"`, "12:00"},
		"Microsoft's UTC, no quotes":  {"", `tzone://Microsoft/Utc`, "12:00"},
		"other letter case":           {"", `europe/berlin`, "10:00"},
		"offset":                      {"", `UTC+02:00`, "10:00"},
		"offset, no colon":            {"", `GMT-0500`, "17:00"},
		"offset, but defined":         {definition(`UTC+02:00`), `UTC+02:00`, "10:15"},
		"shown, but unknown":          {"", `"(UTC+05:00) Head Office"`, "07:00"},
		"shown, unknown, and defined": {definition(`(UTC+05:00) Head Office`), `"(UTC+05:00) Head Office"`, "10:15"},
		"a vendor's path, other case": {"", `/Example.org/2026/EUROPE/BERLIN`, "10:00"},
		"spaces for underscores":      {"", `America/New York`, "16:00"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := july(t).Appointments(t.Context(), calendar(tt.definition+
				"BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID="+tt.param+":20250701T120000\r\nDTEND;TZID="+tt.param+":20250701T130000\r\nEND:VEVENT"))
			require.NoError(t, err)
			require.Equal(t, []string{"2025-07-01T" + tt.want + " 1h0m0s"}, times(found))
		})
	}
}
