package sipx_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

func TestHeader(t *testing.T) {
	h := sipx.Header{{"Via", "1"}, {"Supported", "a, b;q=1"}, {"VIA", "2"}, {"supported", "c"}, {"Empty", ""}}
	require.Equal(t, "1", h.Get("via"))
	require.Empty(t, h.Get("nothing"))
	v, ok := h.Lookup("empty")
	require.True(t, ok)
	require.Empty(t, v)
	require.Equal(t, []string{"1", "2"}, slices.Collect(h.Values("Via")))
	require.Equal(t, 2, h.Count("vIA"))
	require.Equal(t, []string{"a", "b", "c"}, slices.Collect(h.Tokens("Supported")))
	require.True(t, h.HasToken("Supported", "B"))
	require.False(t, h.HasToken("Supported", "d"))
	for range h.Tokens("Supported") {
		break // stopping early is fine
	}
	h.Add("X", "y")
	require.Equal(t, "y", h.Get("X"))
}

func TestSplitList(t *testing.T) {
	for in, want := range map[string][]string{
		"":                       nil,
		" , ,":                   nil,
		"a":                      {"a"},
		" a , b,c ":              {"a", "b", "c"},
		`"a,b", c`:               {`"a,b"`, "c"},
		`"a\",b", c`:             {`"a\",b"`, "c"},
		"<sip:a,b@c>, <sip:d@e>": {"<sip:a,b@c>", "<sip:d@e>"},
		`"<", b`:                 {`"<"`, "b"},
		`"open, b`:               {`"open, b`},
	} {
		require.Equal(t, want, slices.Collect(sipx.SplitList(in)), in)
	}
}

func TestEvent(t *testing.T) {
	for in, want := range map[string]sipx.Event{
		"presence":               {Package: "presence"},
		" Presence.WinFo ":       {Package: "presence.winfo"},
		"dialog;id=7":            {Package: "dialog", ID: "7"},
		"dialog ; x=y; ID=\"7\"": {Package: "dialog", ID: "7"},
	} {
		got, ok := sipx.ParseEvent(in)
		require.True(t, ok, in)
		require.Equal(t, want, got)
		again, ok := sipx.ParseEvent(got.String())
		require.True(t, ok)
		require.Equal(t, got, again)
	}
	for _, in := range []string{"", ";id=1", "a b", "a/b"} {
		_, ok := sipx.ParseEvent(in)
		require.False(t, ok, in)
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[string]int{
		"0": 0, " 300 ": 300, "18000;duration=3600": 18000, "120 (I'm in a meeting)": 120,
		"2147483647": 1<<31 - 1, "99999999999999999999": 1<<31 - 1,
	} {
		got, ok := sipx.Seconds(in)
		require.True(t, ok, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "-1", "x", "1 x", "1.5", ";1"} {
		_, ok := sipx.Seconds(in)
		require.False(t, ok, in)
	}
}

func TestMediaType(t *testing.T) {
	require.Equal(t, "application/pidf+xml", sipx.MediaType(" Application/PIDF+xml ;charset=utf-8"))
	v, ok := sipx.ParamOf("active;expires=300; Reason=x", "reason")
	require.True(t, ok)
	require.Equal(t, "x", v)
	_, ok = sipx.ParamOf("active", "expires")
	require.False(t, ok)
}
