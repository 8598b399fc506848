package dialoginfo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/dialoginfo"
)

// versions numbers documents from 0 on.
func versions(documents ...string) []string {
	for i, d := range documents {
		documents[i] = fmt.Sprintf(d, i)
	}
	return documents
}

func TestLineState(t *testing.T) {
	for _, test := range []struct {
		dialogs string // separated by commas
		want    pidf.LineState
	}{
		{"", pidf.LineIdle},
		{"terminated", pidf.LineIdle},
		{"terminated recipient", pidf.LineIdle},
		{"trying recipient", pidf.LineRinging},
		{"proceeding recipient", pidf.LineRinging},
		{"early recipient", pidf.LineRinging},
		{"confirmed recipient", pidf.LineBusy},
		{"trying initiator", pidf.LineBusy},
		{"proceeding initiator", pidf.LineBusy},
		{"early initiator", pidf.LineBusy},
		{"confirmed initiator", pidf.LineBusy},
		{"terminated initiator", pidf.LineIdle},
		{"early", pidf.LineRinging},
		{"confirmed", pidf.LineBusy},
		{"confirmed recipient,early recipient", pidf.LineBusy},
		{"early recipient,confirmed initiator", pidf.LineBusy},
		{"terminated recipient,early recipient", pidf.LineRinging},
		{"early recipient,early initiator", pidf.LineBusy},
	} {
		t.Run(test.dialogs, func(t *testing.T) {
			var dialogs []string
			if test.dialogs != "" {
				dialogs = strings.Split(test.dialogs, ",")
			}
			state, stale, err := dialoginfo.Read(8, versions(full(dialogs...))...)
			require.NoError(t, err)
			require.False(t, stale)
			require.Equal(t, test.want, state)
		})
	}
}

// TestCoherentState shows the table of RFC 4235 §4.3.
func TestCoherentState(t *testing.T) {
	numbered := func(version int, document string) string { return fmt.Sprintf(document, version) }
	for _, test := range []struct {
		name      string
		documents []string
		want      pidf.LineState
		stale     bool
	}{
		{"changes one dialog of two", versions(full("a:early recipient", "b:confirmed"), partial("b:terminated")), pidf.LineRinging, false},
		{"adds one", versions(full(), partial("a:confirmed recipient")), pidf.LineBusy, false},
		{"ends the last", versions(full("a:early recipient"), partial("a:confirmed recipient"), partial("a:terminated")), pidf.LineIdle, false},
		{"keeps the direction that it does not repeat", versions(full("a:trying initiator"), partial("a:early")), pidf.LineBusy, false},
		{"full flushes", versions(full("a:confirmed"), partial("b:confirmed"), full("c:early recipient")), pidf.LineRinging, false},
		{"a gap is processed, and full state needed", []string{numbered(3, full("a:early recipient")), numbered(5, partial("a:confirmed recipient"))}, pidf.LineBusy, true},
		{"an older partial is not processed", []string{numbered(3, full("a:early recipient")), numbered(2, partial("a:terminated"))}, pidf.LineRinging, true},
		{"an equal version is processed", []string{numbered(0, full("a:early recipient")), numbered(0, partial("a:terminated"))}, pidf.LineIdle, false},
		{"full heals a gap", []string{numbered(3, full("a:early recipient")), numbered(5, partial("b:confirmed")), numbered(6, full())}, pidf.LineIdle, false},
		{"full counts whatever its version", []string{numbered(9, full("a:confirmed")), numbered(0, full())}, pidf.LineIdle, false},
		{"one id, two telephones", versions(full("a:confirmed", "a:early recipient", "a:terminated")), pidf.LineBusy, false},
		{"partial first says nothing", versions(partial("a:confirmed")), pidf.LineUnknown, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			state, stale, err := dialoginfo.Read(8, test.documents...)
			require.NoError(t, err)
			require.Equal(t, test.want, state)
			require.Equal(t, test.stale, stale)
		})
	}
}

// TestTooManyDialogs shows BSX-4 for what a PBX can make us keep.
func TestTooManyDialogs(t *testing.T) {
	_, _, err := dialoginfo.Read(2, versions(full("confirmed", "confirmed", "confirmed"))...)
	require.ErrorContains(t, err, "too many dialogs")
	state, stale, err := dialoginfo.Read(2, versions(full("a:confirmed", "b:confirmed"), partial("c:confirmed"))...)
	require.ErrorContains(t, err, "too many dialogs")
	require.True(t, stale)
	require.Equal(t, pidf.LineUnknown, state)
	_, _, err = dialoginfo.Read(2, versions(full("a:confirmed", "b:confirmed"), partial("a:terminated", "c:confirmed"))...)
	require.NoError(t, err, "as many as may be at the end")
	state, _, err = dialoginfo.Read(2, versions(full("terminated", "terminated", "terminated", "early"))...)
	require.NoError(t, err, "those that have ended do not count")
	require.Equal(t, pidf.LineRinging, state)
}

func TestDocumentsOfPBXs(t *testing.T) {
	for name, want := range map[string]pidf.LineState{
		"kamailio-ringing.xml":     pidf.LineRinging,
		"kamailio-two-calls.xml":   pidf.LineBusy,
		"no-direction-idle.xml":    pidf.LineIdle,
		"no-direction-busy.xml":    pidf.LineBusy,
		"prefixed-extended.xml":    pidf.LineRinging,
		"on-hold-two-parties.xml":  pidf.LineBusy,
		"byte-order-mark-full.xml": pidf.LineIdle,
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			require.NoError(t, err)
			state, _, err := dialoginfo.Read(8, string(data))
			require.NoError(t, err)
			require.Equal(t, want, state)
		})
	}
}

func TestBadDocuments(t *testing.T) {
	const ns = `xmlns="urn:ietf:params:xml:ns:dialog-info"`
	for name, test := range map[string]struct{ document, want string }{
		"empty":              {"", "empty"},
		"no XML":             {"idle", "text outside"},
		"cut off":            {`<dialog-info ` + ns + ` version="0" state="full">`, "unexpected EOF"},
		"another root":       {`<presence ` + ns + `/>`, "no single dialog-info"},
		"another namespace":  {`<dialog-info version="0" state="full"/>`, "no single dialog-info"},
		"two roots":          {`<dialog-info ` + ns + ` version="0" state="full"/><dialog-info ` + ns + ` version="0" state="full"/>`, "no single dialog-info"},
		"text after":         {`<dialog-info ` + ns + ` version="0" state="full"/>x`, "text outside"},
		"no version":         {`<dialog-info ` + ns + ` state="full"/>`, "version"},
		"version too big":    {`<dialog-info ` + ns + ` version="4294967296" state="full"/>`, "version"},
		"neither":            {`<dialog-info ` + ns + ` version="0" state="half"/>`, "neither full nor partial"},
		"no id":              {`<dialog-info ` + ns + ` version="0" state="full"><dialog><state>early</state></dialog></dialog-info>`, "bad id"},
		"long id":            {`<dialog-info ` + ns + ` version="0" state="full"><dialog id="` + strings.Repeat("x", 257) + `"><state>early</state></dialog></dialog-info>`, "bad id"},
		"no state":           {`<dialog-info ` + ns + ` version="0" state="full"><dialog id="a"/></dialog-info>`, "without state"},
		"unknown state":      {`<dialog-info ` + ns + ` version="0" state="full"><dialog id="a"><state>gone</state></dialog></dialog-info>`, `state "gone"`},
		"two states":         {`<dialog-info ` + ns + ` version="0" state="full"><dialog id="a"><state>early</state><state>early</state></dialog></dialog-info>`, "two states"},
		"direction":          {`<dialog-info ` + ns + ` version="0" state="full"><dialog id="a" direction="up"><state>early</state></dialog></dialog-info>`, "bad direction"},
		"entity":             {`<!DOCTYPE x [<!ENTITY a "b">]><dialog-info ` + ns + ` version="0" state="full"/>`, "DTD"},
		"undefined entity":   {`<dialog-info ` + ns + ` version="0" state="full">&a;</dialog-info>`, "entity"},
		"too deep":           {`<dialog-info ` + ns + ` version="0" state="full">` + strings.Repeat("<a>", 16) + strings.Repeat("</a>", 16) + `</dialog-info>`, "too deep"},
		"another encoding":   {`<?xml version="1.0" encoding="UTF-16"?><dialog-info ` + ns + ` version="0" state="full"/>`, "encoding"},
		"names its position": {"<dialog-info " + ns + " version=\"0\" state=\"full\">\n\n<dialog/></dialog-info>", "line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := dialoginfo.Read(8, test.document)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "dialoginfo: ")
		})
	}
}

// FuzzDocument holds what is read to what it says: written out and read again it
// is the same.
func FuzzDocument(f *testing.F) {
	files, err := filepath.Glob("testdata/*.xml")
	require.NoError(f, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := dialoginfo.Rewrite(data)
		if err != nil {
			return
		}
		again, err := dialoginfo.Rewrite([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, text, again)
		state, _, err := dialoginfo.Read(4, string(data))
		if err == nil {
			require.Contains(t, []pidf.LineState{pidf.LineIdle, pidf.LineRinging, pidf.LineBusy, pidf.LineUnknown}, state)
			same, _, err := dialoginfo.Read(4, text)
			require.NoError(t, err)
			require.Equal(t, state, same)
		}
	})
}

func BenchmarkDocument(b *testing.B) {
	data, err := os.ReadFile("testdata/on-hold-two-parties.xml")
	require.NoError(b, err)
	text := string(data)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := dialoginfo.Read(8, text); err != nil {
			b.Fatal(err)
		}
	}
}
