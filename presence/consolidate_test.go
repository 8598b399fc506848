package presence_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
)

var at = time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)

func own(status pidf.Status) presence.Own { return presence.Own{Status: status} }

func meeting(state pidf.CalendarState) presence.Meeting {
	return presence.Meeting{Appointment: pidf.Appointment{ID: "1", State: state, From: at.Add(-time.Hour), End: at.Add(time.Hour)}}
}

// BSP-3.2-3: the first of the ordered rules wins, of all that the sources say.
func TestConsolidate(t *testing.T) {
	busy, idle := presence.Line{DN: "1", State: pidf.LineBusy}, presence.Line{DN: "2", State: pidf.LineIdle}
	ringing, unknown := presence.Line{DN: "3", State: pidf.LineRinging}, presence.Line{DN: "4", State: pidf.LineUnknown}
	phone := &presence.External{Status: pidf.StatusAvailable, TelephoneEvent: "on-the-phone"}
	for name, tt := range map[string]struct {
		state  presence.State
		rule   string
		status presence.Status
		note   string
	}{
		"nothing":                           {presence.State{}, "unknown", presence.StatusUnknown, ""},
		"lines idle, ringing, unknown":      {presence.State{Lines: []presence.Line{idle, ringing, unknown}}, "unknown", presence.StatusUnknown, ""},
		"own unknown":                       {presence.State{Own: []presence.Own{own("unknown")}}, "unknown", presence.StatusUnknown, ""},
		"available":                         {presence.State{Own: []presence.Own{own("available")}, Lines: []presence.Line{idle}}, "available", presence.StatusAvailable, "Available"},
		"dnd before a call":                 {presence.State{Own: []presence.Own{own("do not disturb")}, Lines: []presence.Line{busy}}, "do not disturb", presence.StatusUnavailable, "Unavailable"},
		"external dnd before a call":        {presence.State{External: &presence.External{Status: "do not disturb"}, Lines: []presence.Line{busy}}, "do not disturb", presence.StatusUnavailable, "Unavailable"},
		"call before meeting":               {presence.State{Lines: []presence.Line{idle, busy}, Calendar: []presence.Meeting{meeting("busy")}}, "call", presence.StatusBusy, "In a call"},
		"external call":                     {presence.State{External: phone}, "call", presence.StatusBusy, "In a call"},
		"meeting before busy":               {presence.State{Own: []presence.Own{own("busy")}, Calendar: []presence.Meeting{meeting("busy")}}, "meeting", presence.StatusBusy, "In a meeting"},
		"free, tentative and out of office": {presence.State{Own: []presence.Own{own("available")}, Calendar: []presence.Meeting{meeting("free"), meeting("tentative"), meeting("out of office")}}, "available", presence.StatusAvailable, "Available"},
		"busy before external available":    {presence.State{Own: []presence.Own{own("busy")}, External: &presence.External{Status: "available"}}, "busy", presence.StatusBusy, "Busy"},
		"external busy, own available":      {presence.State{Own: []presence.Own{own("available")}, External: &presence.External{Status: "busy"}}, "busy", presence.StatusBusy, "Busy"},
		"away":                              {presence.State{Own: []presence.Own{own("away")}, External: &presence.External{Status: "available"}}, "away", presence.StatusAway, "Away"},
		"inactive":                          {presence.State{Own: []presence.Own{own("inactive")}}, "inactive", presence.StatusAway, "Inactive"},
		"be right back":                     {presence.State{Own: []presence.Own{own("be right back")}}, "be right back", presence.StatusAway, "Be right back"},
		"other":                             {presence.State{Own: []presence.Own{own("other")}}, "other", presence.StatusOther, "Other"},
		"signed out":                        {presence.State{Own: []presence.Own{own("signed out")}}, "signed out", presence.StatusSignedOut, "Signed out"},
		"signed out, external available":    {presence.State{Own: []presence.Own{own("signed out")}, External: &presence.External{Status: "available"}}, "available", presence.StatusAvailable, "Available"},
		"signed out, on the phone":          {presence.State{Own: []presence.Own{own("signed out")}, Lines: []presence.Line{busy}}, "call", presence.StatusBusy, "In a call"},
		"free text":                         {presence.State{Own: []presence.Own{{Status: "available", Note: "HELLO"}}, Lines: []presence.Line{busy}}, "call", presence.StatusBusy, "HELLO"},
		"free text of two":                  {presence.State{Own: []presence.Own{{Status: "away", Note: "At lunch"}, {Status: "busy", Note: "HELLO"}}}, "busy", presence.StatusBusy, "HELLO"},
		"free text of the newest":           {presence.State{Own: []presence.Own{{Status: "busy", Note: "HELLO"}, {Status: "busy", Note: "At work"}}}, "busy", presence.StatusBusy, "HELLO"},
		"free text of the other":            {presence.State{Own: []presence.Own{{Status: "away", Note: "At lunch"}, own("busy")}}, "busy", presence.StatusBusy, "At lunch"},
		"free texts, nothing said":          {presence.State{Own: []presence.Own{{Status: "unknown", Note: "HELLO"}, {Status: "unknown", Note: "At work"}}}, "unknown", presence.StatusUnknown, "HELLO"},
		"two publications":                  {presence.State{Own: []presence.Own{own("available"), own("busy")}}, "busy", presence.StatusBusy, "Busy"},
	} {
		t.Run(name, func(t *testing.T) {
			got := presence.Consolidate(presence.DefaultRules(), &tt.state, at)
			require.Equal(t, tt.rule, got.Rule)
			require.Equal(t, tt.status, got.Status)
			require.Equal(t, tt.note, got.Note, "BSP-3.2-2")
		})
	}
}

// BSP-3.2-4: an appointment counts from its start to its end.
func TestAppointmentCounts(t *testing.T) {
	state := presence.State{Calendar: []presence.Meeting{meeting("busy")}}
	for offset, rule := range map[time.Duration]string{
		-time.Hour - 1: "unknown", -time.Hour: "meeting", 0: "meeting", time.Hour - 1: "meeting", time.Hour: "unknown",
	} {
		require.Equal(t, rule, presence.Consolidate(presence.DefaultRules(), &state, at.Add(offset)).Rule)
	}
}

// BSP-3.2-3, BSP-3.2-7, BSP-3.2-1, BSP-3.2-2: all combinations of what a user
// published, their line, an appointment that is running and external presence. The
// first of the guide's order wins; BluStar watchers see one of the five statuses,
// whatever it is, and the text of what won.
func TestAllCombinations(t *testing.T) {
	owns := []pidf.Status{"", "available", "busy", "away", "do not disturb", "signed out", "inactive", "be right back", "other", "unknown"}
	lines := []pidf.LineState{pidf.LineIdle, pidf.LineRinging, pidf.LineBusy, pidf.LineUnknown}
	calendars := []pidf.CalendarState{"", "free", "tentative", "busy", "out of office", "unknown"}
	externals := []pidf.Status{"", "available", "busy", "away", "do not disturb", "signed out", "inactive", "be right back", "unknown", "on-the-phone"}
	type row struct {
		value, note string
		five, own   string // the activity shown to BluStar watchers, and to others
	}
	guide := []row{
		{"do not disturb", "Unavailable", "other:unavailable", "other:unavailable"},
		{"call", "In a call", "busy", "busy"},
		{"meeting", "In a meeting", "busy", "busy"},
		{"busy", "Busy", "busy", "busy"},
		{"away", "Away", "busy", "away"},
		{"inactive", "Inactive", "busy", "away"},
		{"be right back", "Be right back", "busy", "away"},
		{"other", "Other", "busy", "other:other"},
		{"available", "Available", "other:available", "other:available"},
		{"signed out", "Signed out", "other:signed out", "other:signed out"},
		{"", "", "other:unknown", "other:unknown"},
	}
	n := 0
	for _, published := range owns {
		for _, line := range lines {
			for _, calendar := range calendars {
				for _, external := range externals {
					n++
					state := presence.State{Lines: []presence.Line{{DN: "2719", State: line}}}
					says := map[string]bool{"": true, string(published): true, string(external): true,
						"call": line == pidf.LineBusy || external == "on-the-phone", "meeting": calendar == "busy"}
					if published != "" {
						state.Own = []presence.Own{own(published)}
					}
					if calendar != "" {
						state.Calendar = []presence.Meeting{meeting(calendar)}
					}
					switch external {
					case "":
					case "on-the-phone":
						state.External = &presence.External{TelephoneEvent: "on-the-phone"}
					default:
						state.External = &presence.External{Status: external}
					}
					want := guide[slices.IndexFunc(guide, func(r row) bool { return says[r.value] })]
					result := presence.Consolidate(presence.DefaultRules(), &state, at)
					for all, activity := range map[bool]string{false: want.five, true: want.own} {
						doc := presence.Document("sip:tom@example.com", &state, result, at, presence.Showing{AllStatuses: all})
						got := shownOf(doc)
						require.Equal(t, []string{activity, want.note}, []string{got.activity, got.note},
							"own %q, line %q, calendar %q, external %q", published, line, calendar, external)
					}
				}
			}
		}
	}
	require.Equal(t, 2400, n)
}

// BSP-3.2-3: the table is data: a host reorders it and adds to it.
func TestHostRules(t *testing.T) {
	ringing := presence.Rule{Name: "ringing", Status: presence.StatusBusy, Note: "Ringing",
		Match: func(c presence.Claim) bool { return c.Value == string(pidf.LineRinging) }}
	rules := append([]presence.Rule{ringing}, presence.DefaultRules()...)
	state := presence.State{Own: []presence.Own{own("do not disturb")}, Lines: []presence.Line{{DN: "1", State: pidf.LineRinging}}}
	got := presence.Consolidate(rules, &state, at)
	require.Equal(t, "ringing", got.Rule)
	require.Equal(t, "line 1", got.Winner.Source)
	for _, c := range presence.Explain(rules, &state, at).Claims {
		require.True(t, c.Counts, "%s: a rule matches it", c.Source)
		require.Equal(t, c.Source == "line 1", c.Won)
	}
}

// BSX-1: Explain says which rule won, what every source says, and when the result
// next changes by itself.
func TestExplain(t *testing.T) {
	received := at.Add(-12 * time.Second)
	state := presence.State{
		Own:      []presence.Own{{Status: "available", Provenance: presence.Provenance{Owner: "sip:tom@192.0.2.8", Received: received}}},
		Lines:    []presence.Line{{DN: "2719", State: pidf.LineBusy, Provenance: presence.Provenance{Owner: "feed", Received: received, Expires: at.Add(2 * time.Hour)}}, {DN: "2720", State: pidf.LineIdle}},
		Calendar: []presence.Meeting{meeting("busy")},
	}
	e := presence.Explain(presence.DefaultRules(), &state, at)
	require.Equal(t, "call", e.Rule)
	require.Equal(t, at.Add(time.Hour), e.NextChange)
	require.Len(t, e.Claims, 4)
	type row struct {
		source, value string
		counts, won   bool
	}
	var rows []row
	for _, c := range e.Claims {
		rows = append(rows, row{c.Source, c.Value, c.Counts, c.Won})
	}
	require.Equal(t, []row{
		{"blustar", "available", true, false}, {"line 2719", "busy", true, true},
		{"line 2720", "idle", false, false}, {"calendar 1", "busy", true, false},
	}, rows)
	require.Equal(t, "feed", e.Winner.Owner)
}
