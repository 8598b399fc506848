package consolidation_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
)

var update = flag.Bool("update", false, "write the golden files anew")

func day(clock string) time.Time {
	at, err := time.Parse(time.RFC3339, "2012-12-10T"+clock+"Z")
	if err != nil {
		panic(err)
	}
	return at
}

// BSP-1.3-1, BSP-3.1-1, BSP-3.2-5: the documents that watchers get, as §3 and §4.4
// print them: namespaces, order of elements, texts.
func TestDocument(t *testing.T) {
	available := consolidation.Published{Status: aa.StatusAvailable, Timestamp: day("13:49:08")}
	idle := consolidation.Line{DN: "2719", State: aa.LineIdle, Changed: day("13:30:08")}
	busy := idle
	busy.State = aa.LineBusy
	services := consolidation.Services{Global: true, Audio: true, Message: true}
	for name, state := range map[string]consolidation.State{
		"status": {
			Published: []consolidation.Published{{Status: aa.StatusBusy, Note: "HELLO", Timestamp: day("14:49:08")}},
			Lines:     []consolidation.Line{idle}, Services: services,
		},
		"calendar": {
			Published: []consolidation.Published{available}, Lines: []consolidation.Line{idle}, Services: services,
			Calendar: []consolidation.Meeting{{Appointment: aa.Appointment{
				ID: "AQYAAAADYRyhCAAAAAVZvhcAAAAA", State: aa.CalendarBusy, Subject: "test",
				From: day("14:00:00"), End: day("16:00:00"), Timestamp: day("14:00:00"),
			}}},
		},
		"line": {Published: []consolidation.Published{available}, Lines: []consolidation.Line{busy}, Services: services},
		"everything": {
			Published: []consolidation.Published{available},
			Lines:     []consolidation.Line{idle, {DN: "7895", State: aa.LineIdle, Forward: "6894"}},
			Calendar: []consolidation.Meeting{{Appointment: aa.Appointment{
				State: aa.CalendarBusy, Subject: "Blustar Study", From: day("10:00:00"), End: day("17:00:00"),
				AllDay: true, Private: true, Timestamp: day("09:00:00"),
			}}},
			External: &consolidation.External{
				Status: aa.StatusAvailable, FreeText: "Working on BluStar 3.2", FwdDestination: "sip:someoneelse@example.com",
				TelephoneEvent: "on-the-phone", Changed: day("14:27:14"),
			},
			Services: consolidation.Services{Global: true, Video: true, Message: true},
		},
		"unknown": {},
	} {
		t.Run(name, func(t *testing.T) {
			now := day("15:00:00")
			result := consolidation.Consolidate(consolidation.DefaultRules(), &state, now)
			doc := consolidation.Document(&state, result, now, consolidation.Options{Entity: "sip:tom.hanks@astra.com"})
			require.NoError(t, doc.Validate(pidf.BluStarDialect))
			got := doc.Append(nil, pidf.BluStarDialect)
			file := filepath.Join("testdata", "documents", name+".xml")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
				require.NoError(t, os.WriteFile(file, got, 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

// RFC 4479 §3.3: where a service that is open can be reached, for clients of the RFCs.
func TestDocumentContacts(t *testing.T) {
	state := consolidation.State{Services: consolidation.Services{Global: true, Audio: true}}
	for _, standard := range []bool{true, false} {
		doc := consolidation.Document(&state, consolidation.Result{}, day("15:00:00"),
			consolidation.Options{Entity: "sip:tom.hanks@astra.com", Standard: standard})
		var contacts []string
		for _, tuple := range doc.Tuples {
			if tuple.Contact != nil {
				require.Equal(t, pidf.Open, tuple.Basic)
				contacts = append(contacts, tuple.ID+" "+tuple.Contact.URI)
			}
		}
		if standard {
			require.Equal(t, []string{"global service sip:tom.hanks@astra.com", "audio sip:tom.hanks@astra.com"}, contacts)
		} else {
			require.Empty(t, contacts)
		}
	}
}

// BSX-16: whoever may see no lines is not shown a call, either where another activity of
// the same document has won, or where it is all that the document says.
func TestNoLinesShowNoCall(t *testing.T) {
	now := day("15:00:00")
	call := pidf.Choice{Name: "on-the-phone"}
	for name, activities := range map[string][]pidf.Choice{
		"do not disturb": {call, {Name: "other", Text: "unavailable"}},
		"alone":          {call},
	} {
		state := consolidation.State{Published: []consolidation.Published{{
			Reading: consolidation.Read(&pidf.Presence{Persons: []pidf.Person{{Activities: &pidf.Activities{Values: activities}}}}),
		}}}
		result := consolidation.Consolidate(consolidation.DefaultRules(), &state, now)
		shown := func(sight consolidation.Sight) []pidf.Choice {
			return consolidation.Document(&state, result, now, consolidation.Options{Sight: sight, Standard: true}).Persons[0].Activities.Values
		}
		require.Contains(t, shown(consolidation.SightOthers), call, name)
		require.NotContains(t, shown(consolidation.SightNoLines), call, name)
		require.NotEmpty(t, shown(consolidation.SightNoLines), name)
	}
}
