package calendar_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests exist everywhere

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
)

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"":                           "",
		" Lunch\r\nwith\x01 Meg\xff": "Lunch  with  Meg",
		strings.Repeat("ü", 128):     strings.Repeat("ü", 128),
		strings.Repeat("ü", 129):     strings.Repeat("ü", 126) + "…",
		strings.Repeat("x", 1<<20):   strings.Repeat("x", 253) + "…",
	} {
		require.Equal(t, want, calendar.Text(s))
	}
}

func TestID(t *testing.T) {
	require.Equal(t, "AAMk=/ü", calendar.ID("AAMk=/ü"))
	require.Regexp(t, "^[0-9a-f]{64}$", calendar.ID(strings.Repeat("x", 256)))
	require.Regexp(t, "^[0-9a-f]{64}$", calendar.ID("a\nb"))
	require.NotEqual(t, calendar.ID("a\nb"), calendar.ID("a\nc"))
}

// The words of Exchange, Graph and iCalendar (BSP-3.2-6, BSX-15).
func TestWords(t *testing.T) {
	for word, want := range map[string]aa.CalendarState{
		"Free": aa.CalendarFree, "WorkingElsewhere": aa.CalendarFree, "tentative": aa.CalendarTentative, "BUSY": aa.CalendarBusy,
		"OOF": aa.CalendarOutOfOffice, "OutOfOffice": aa.CalendarOutOfOffice,
	} {
		got, ok := calendar.State(word)
		require.True(t, ok, word)
		require.Equal(t, want, got, word)
	}
	for _, word := range []string{"", "NoData", "unknown", "unknownFutureValue"} {
		got, ok := calendar.State(word)
		require.False(t, ok, word)
		require.Equal(t, aa.CalendarUnknown, got)
	}
	for word, want := range map[string]bool{
		"": false, "Normal": false, "personal": false, "Private": true, "CONFIDENTIAL": true, "unknownFutureValue": true,
	} {
		require.Equal(t, want, calendar.Private(word), word)
	}
}

// RFC 5545 §3.3.5: a time that the clock skips, and one that it shows twice.
func TestInstant(t *testing.T) {
	const layout = "2006-01-02 15:04"
	for _, tt := range []struct{ zone, clock, want string }{
		{"Europe/Berlin", "2026-03-29 01:59", "2026-03-29 00:59"},
		{"Europe/Berlin", "2026-03-29 02:30", "2026-03-29 01:30"},
		{"Europe/Berlin", "2026-03-29 03:00", "2026-03-29 01:00"},
		{"Europe/Berlin", "2026-10-25 02:30", "2026-10-25 00:30"},
		{"Europe/Berlin", "2026-10-25 03:00", "2026-10-25 02:00"},
		{"America/Sao_Paulo", "2018-11-04 00:00", "2018-11-04 03:00"}, // no midnight that day
		{"America/Havana", "2026-11-01 00:30", "2026-11-01 04:30"},
		{"UTC", "2026-03-29 02:30", "2026-03-29 02:30"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		require.NoError(t, err)
		clock, err := time.Parse(layout, tt.clock)
		require.NoError(t, err)
		require.Equal(t, tt.want, calendar.Instant(clock, zone).UTC().Format(layout), tt)
	}
}

// Each name of the table is a zone that exists.
func TestWindowsZones(t *testing.T) {
	for row := range strings.Lines(strings.TrimSpace(calendar.WindowsZones)) {
		windows, name, _ := strings.Cut(strings.TrimSpace(row), "\t")
		var zones calendar.Zones
		l := zones.Find(windows)
		require.NotNil(t, l, windows)
		require.Equal(t, name, l.String())
	}
}

// Credentials are remembered as refused for a while, without being kept.
func TestRefusals(t *testing.T) {
	r := calendar.NewRefusals(time.Hour)
	wrong, right := auth.NewSecret([]byte("wrong")), auth.NewSecret([]byte("right"))
	r.Note("presence", wrong)
	require.True(t, r.Recent("presence", wrong))
	require.False(t, r.Recent("presence", right))
	require.False(t, r.Recent("other", wrong))
	r = calendar.NewRefusals(0)
	r.Note("presence", wrong)
	require.False(t, r.Recent("presence", wrong))
}
