package consolidation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
)

var at = time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)

func own(status aa.Status) consolidation.Published { return consolidation.Published{Status: status} }

func meeting(state aa.CalendarState) consolidation.Meeting {
	return consolidation.Meeting{Appointment: aa.Appointment{ID: "1", State: state, From: at.Add(-time.Hour), End: at.Add(time.Hour)}}
}

// BSP-3.2-3: the first of the ordered rules wins, of all that the sources say.
func TestConsolidate(t *testing.T) {
	busy, idle := consolidation.Line{DN: "1", State: aa.LineBusy}, consolidation.Line{DN: "2", State: aa.LineIdle}
	ringing, unknown := consolidation.Line{DN: "3", State: aa.LineRinging}, consolidation.Line{DN: "4", State: aa.LineUnknown}
	phone := &consolidation.External{Status: aa.StatusAvailable, TelephoneEvent: "on-the-phone"}
	for name, tt := range map[string]struct {
		state  consolidation.State
		rule   string
		status consolidation.Status
		note   string
	}{
		"nothing":                           {consolidation.State{}, "unknown", consolidation.StatusUnknown, ""},
		"lines idle, ringing, unknown":      {consolidation.State{Lines: []consolidation.Line{idle, ringing, unknown}}, "unknown", consolidation.StatusUnknown, ""},
		"own unknown":                       {consolidation.State{Published: []consolidation.Published{own("unknown")}}, "unknown", consolidation.StatusUnknown, ""},
		"available":                         {consolidation.State{Published: []consolidation.Published{own("available")}, Lines: []consolidation.Line{idle}}, "available", consolidation.StatusAvailable, "Available"},
		"dnd before a call":                 {consolidation.State{Published: []consolidation.Published{own("do not disturb")}, Lines: []consolidation.Line{busy}}, "do not disturb", consolidation.StatusUnavailable, "Unavailable"},
		"external dnd before a call":        {consolidation.State{External: &consolidation.External{Status: "do not disturb"}, Lines: []consolidation.Line{busy}}, "do not disturb", consolidation.StatusUnavailable, "Unavailable"},
		"call before meeting":               {consolidation.State{Lines: []consolidation.Line{idle, busy}, Calendar: []consolidation.Meeting{meeting("busy")}}, "call", consolidation.StatusBusy, "In a call"},
		"external call":                     {consolidation.State{External: phone}, "call", consolidation.StatusBusy, "In a call"},
		"meeting before busy":               {consolidation.State{Published: []consolidation.Published{own("busy")}, Calendar: []consolidation.Meeting{meeting("busy")}}, "meeting", consolidation.StatusBusy, "In a meeting"},
		"free, tentative and out of office": {consolidation.State{Published: []consolidation.Published{own("available")}, Calendar: []consolidation.Meeting{meeting("free"), meeting("tentative"), meeting("out of office")}}, "available", consolidation.StatusAvailable, "Available"},
		"busy before external available":    {consolidation.State{Published: []consolidation.Published{own("busy")}, External: &consolidation.External{Status: "available"}}, "busy", consolidation.StatusBusy, "Busy"},
		"external busy, own available":      {consolidation.State{Published: []consolidation.Published{own("available")}, External: &consolidation.External{Status: "busy"}}, "busy", consolidation.StatusBusy, "Busy"},
		"away":                              {consolidation.State{Published: []consolidation.Published{own("away")}, External: &consolidation.External{Status: "available"}}, "away", consolidation.StatusAway, "Away"},
		"inactive":                          {consolidation.State{Published: []consolidation.Published{own("inactive")}}, "inactive", consolidation.StatusAway, "Inactive"},
		"be right back":                     {consolidation.State{Published: []consolidation.Published{own("be right back")}}, "be right back", consolidation.StatusAway, "Be right back"},
		"other":                             {consolidation.State{Published: []consolidation.Published{own("other")}}, "other", consolidation.StatusOther, "Other"},
		"signed out":                        {consolidation.State{Published: []consolidation.Published{own("signed out")}}, "signed out", consolidation.StatusSignedOut, "Signed out"},
		"signed out, external available":    {consolidation.State{Published: []consolidation.Published{own("signed out")}, External: &consolidation.External{Status: "available"}}, "available", consolidation.StatusAvailable, "Available"},
		"signed out, on the phone":          {consolidation.State{Published: []consolidation.Published{own("signed out")}, Lines: []consolidation.Line{busy}}, "call", consolidation.StatusBusy, "In a call"},
		"free text":                         {consolidation.State{Published: []consolidation.Published{{Status: "available", Note: "HELLO"}}, Lines: []consolidation.Line{busy}}, "call", consolidation.StatusBusy, "HELLO"},
		"free text of two":                  {consolidation.State{Published: []consolidation.Published{{Status: "away", Note: "At lunch"}, {Status: "busy", Note: "HELLO"}}}, "busy", consolidation.StatusBusy, "HELLO"},
		"free text of the newest":           {consolidation.State{Published: []consolidation.Published{{Status: "busy", Note: "HELLO"}, {Status: "busy", Note: "At work"}}}, "busy", consolidation.StatusBusy, "HELLO"},
		"free text of the other":            {consolidation.State{Published: []consolidation.Published{{Status: "away", Note: "At lunch"}, own("busy")}}, "busy", consolidation.StatusBusy, "At lunch"},
		"free texts, nothing said":          {consolidation.State{Published: []consolidation.Published{{Status: "unknown", Note: "HELLO"}, {Status: "unknown", Note: "At work"}}}, "unknown", consolidation.StatusUnknown, "HELLO"},
		"two publications":                  {consolidation.State{Published: []consolidation.Published{own("available"), own("busy")}}, "busy", consolidation.StatusBusy, "Busy"},
	} {
		t.Run(name, func(t *testing.T) {
			got := consolidation.Consolidate(consolidation.DefaultRules(), &tt.state, at)
			require.Equal(t, tt.rule, got.Rule)
			require.Equal(t, tt.status, got.Status)
			require.Equal(t, tt.note, got.Note, "BSP-3.2-2")
		})
	}
}

// BSP-3.2-4: an appointment counts from its start to its end.
func TestAppointmentCounts(t *testing.T) {
	state := consolidation.State{Calendar: []consolidation.Meeting{meeting("busy")}}
	for offset, rule := range map[time.Duration]string{
		-time.Hour - 1: "unknown", -time.Hour: "meeting", 0: "meeting", time.Hour - 1: "meeting", time.Hour: "unknown",
	} {
		require.Equal(t, rule, consolidation.Consolidate(consolidation.DefaultRules(), &state, at.Add(offset)).Rule)
	}
}

// BSP-3.2-7: the BluStar dialect shows five statuses, the others as busy with their
// own text; the Standard one, and a setting, have RPID's own words.
func TestFiveStatuses(t *testing.T) {
	for status, want := range map[aa.Status]pidf.Choice{
		"away": {Name: "away"}, "inactive": {Name: "away"}, "be right back": {Name: "away"}, "other": {Name: "other", Text: "other"},
	} {
		state := consolidation.State{Published: []consolidation.Published{own(status)}}
		result := consolidation.Consolidate(consolidation.DefaultRules(), &state, at)
		for _, tt := range []struct {
			options consolidation.Options
			want    pidf.Choice
		}{
			{consolidation.Options{}, pidf.Choice{Name: "busy"}},
			{consolidation.Options{AllStatuses: true}, want},
			{consolidation.Options{Standard: true}, want},
		} {
			activities := consolidation.Document(&state, result, at, tt.options).Persons[0].Activities
			require.Equal(t, []pidf.Choice{tt.want}, activities.Values, "%s, %+v", status, tt.options)
			require.Equal(t, result.Note, activities.Notes[0].Text)
		}
	}
}

// BSP-3.2-3, BSP-3.2-7, BSP-3.2-1, BSP-3.2-2: all combinations of what a user
// published, their line, an appointment that is running and external presence. The
// first of the guide's order wins; BluStar watchers see one of the five statuses,
// whatever it is, and the text of what won.
func TestAllCombinations(t *testing.T) {
	owns := []aa.Status{"", "available", "busy", "away", "do not disturb", "signed out", "inactive", "be right back", "other", "unknown"}
	lines := []aa.LineState{aa.LineIdle, aa.LineRinging, aa.LineBusy, aa.LineUnknown}
	calendars := []aa.CalendarState{"", "free", "tentative", "busy", "out of office", "unknown"}
	externals := []aa.Status{"", "available", "busy", "away", "do not disturb", "signed out", "inactive", "be right back", "unknown", "on-the-phone"}
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
					state := consolidation.State{Lines: []consolidation.Line{{DN: "2719", State: line}}}
					says := map[string]bool{"": true, string(published): true, string(external): true,
						"call": line == aa.LineBusy || external == "on-the-phone", "meeting": calendar == "busy"}
					if published != "" {
						state.Published = []consolidation.Published{own(published)}
					}
					if calendar != "" {
						state.Calendar = []consolidation.Meeting{meeting(calendar)}
					}
					switch external {
					case "":
					case "on-the-phone":
						state.External = &consolidation.External{TelephoneEvent: "on-the-phone"}
					default:
						state.External = &consolidation.External{Status: external}
					}
					want := guide[slices.IndexFunc(guide, func(r row) bool { return says[r.value] })]
					result := consolidation.Consolidate(consolidation.DefaultRules(), &state, at)
					for all, activity := range map[bool]string{false: want.five, true: want.own} {
						doc := consolidation.Document(&state, result, at, consolidation.Options{Entity: "sip:tom@example.com", AllStatuses: all})
						activities := doc.Persons[0].Activities
						got, note := activities.Values[0].Name, ""
						if text := activities.Values[0].Text; text != "" {
							got += ":" + text
						}
						for _, n := range activities.Notes {
							note += n.Text
						}
						require.Equal(t, []string{activity, want.note}, []string{got, note},
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
	ringing := consolidation.Rule{Name: "ringing", Status: consolidation.StatusBusy, Note: "Ringing",
		Match: func(c *consolidation.Claim, _ *consolidation.State) bool { return c.Value == string(aa.LineRinging) }}
	rules := append([]consolidation.Rule{ringing}, consolidation.DefaultRules()...)
	state := consolidation.State{Published: []consolidation.Published{own("do not disturb")}, Lines: []consolidation.Line{{DN: "1", State: aa.LineRinging}}}
	got := consolidation.Consolidate(rules, &state, at)
	require.Equal(t, "ringing", got.Rule)
	require.Equal(t, "line 1", got.Winner.Source)
	for _, c := range consolidation.Explain(rules, &state, at).Claims {
		require.True(t, c.Counts, "%s: a rule matches it", c.Source)
		require.Equal(t, c.Source == "line 1", c.Won)
	}
}

// BSX-1: Explain says which rule won, what every source says, and when the result
// next changes by itself.
func TestExplain(t *testing.T) {
	received := at.Add(-12 * time.Second)
	state := consolidation.State{
		Published: []consolidation.Published{{Status: "available", Provenance: consolidation.Provenance{Owner: "sip:tom@192.0.2.8", Received: received}}},
		Lines:     []consolidation.Line{{DN: "2719", State: aa.LineBusy, Provenance: consolidation.Provenance{Owner: "feed", Received: received, Expires: at.Add(2 * time.Hour)}}, {DN: "2720", State: aa.LineIdle}},
		Calendar:  []consolidation.Meeting{meeting("busy")},
	}
	e := consolidation.Explain(consolidation.DefaultRules(), &state, at)
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
