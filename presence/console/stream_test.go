package console

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
)

// A listener that does not keep up is dropped, the others are not (BSX-4).
func TestSlowListener(t *testing.T) {
	s := new(Stream)
	slow, ok := s.join()
	require.True(t, ok)
	quick, ok := s.join()
	require.True(t, ok)
	for range MaxListeners - 2 {
		_, ok = s.join()
		require.True(t, ok)
	}
	_, ok = s.join()
	require.False(t, ok, "bounded")
	for range maxQueue + 1 {
		s.Changed(presence.Change{Entity: "sip:tom@example.com", Status: consolidation.StatusBusy})
		<-quick
	}
	n := 0
	for range slow {
		n++
	}
	require.Equal(t, maxQueue, n, "then it is closed")
	require.Equal(t, 1, s.Listeners())
	s.Close()
	_, open := <-quick
	require.False(t, open)
	_, ok = s.join()
	require.False(t, ok)
}

// A user who changes often costs no other user the history; all of it is bounded.
func TestTimeline(t *testing.T) {
	s := new(Stream)
	for i := range maxRemembered {
		s.Changed(presence.Change{Entity: fmt.Sprint("sip:", i)})
	}
	for i := range 10 * maxTimeline {
		s.Changed(presence.Change{Entity: "sip:0", Note: fmt.Sprint(i)})
	}
	require.Len(t, s.timeline("sip:0"), maxTimeline)
	require.Equal(t, fmt.Sprint(10*maxTimeline-1), s.timeline("sip:0")[0].Note)
	require.Len(t, s.timeline("sip:1"), 1)
	s.Changed(presence.Change{Entity: "sip:new"})
	require.Empty(t, s.timeline("sip:1"), "it has not changed again")
	require.Len(t, s.timeline("sip:0"), maxTimeline)
	require.Len(t, s.users, maxRemembered)
	require.Len(t, s.clock, maxRemembered)
	for i := range 3 * maxRemembered { // nobody is new for ever
		s.Changed(presence.Change{Entity: fmt.Sprint("sip:later", i)})
	}
	require.Empty(t, s.timeline("sip:0"))
	require.Len(t, s.users, maxRemembered)
}

func TestPrefers(t *testing.T) {
	const typePIDF = pidf.TypePIDF
	for accept, want := range map[string]string{
		"": typePIDF, "*/*": typePIDF, "application/json": typeJSON, "application/json, */*": typeJSON,
		"application/pidf+xml, application/json": typePIDF, "application/pidf+xml;q=0.1, application/json": typeJSON,
		"application/json;q=0, */*": typePIDF, "text/html": typePIDF, "application/*": typePIDF, ";;": typePIDF,
		"application/json;q=high": typePIDF,
	} {
		require.Equal(t, want, prefers([]string{accept}, typePIDF, typeJSON), accept)
	}
}

// BSP-2.1-7: one document, for a watcher by SIP and one by telephone number.
func TestAddressed(t *testing.T) {
	doc := &pidf.Presence{Entity: "sip:a@example.com", Persons: []pidf.Person{{ID: "sip:a@example.com"}, {ID: "other"}}}
	got := addressed(presence.Inspection{Entity: "tel:200", Document: doc})
	require.Equal(t, &pidf.Presence{Entity: "tel:200", Persons: []pidf.Person{{ID: "tel:200"}, {ID: "other"}}}, got)
	require.Equal(t, "sip:a@example.com", doc.Persons[0].ID, "the document is shared")
}
