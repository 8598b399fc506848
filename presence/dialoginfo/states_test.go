package dialoginfo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
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
		want    aa.LineState
	}{
		{"", aa.LineIdle},
		{"terminated", aa.LineIdle},
		{"terminated recipient", aa.LineIdle},
		{"trying recipient", aa.LineRinging},
		{"proceeding recipient", aa.LineRinging},
		{"early recipient", aa.LineRinging},
		{"confirmed recipient", aa.LineBusy},
		{"trying initiator", aa.LineBusy},
		{"proceeding initiator", aa.LineBusy},
		{"early initiator", aa.LineBusy},
		{"confirmed initiator", aa.LineBusy},
		{"terminated initiator", aa.LineIdle},
		{"early", aa.LineRinging},
		{"confirmed", aa.LineBusy},
		{"confirmed recipient,early recipient", aa.LineBusy},
		{"early recipient,confirmed initiator", aa.LineBusy},
		{"terminated recipient,early recipient", aa.LineRinging},
		{"early recipient,early initiator", aa.LineBusy},
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
		want      aa.LineState
		stale     bool
	}{
		{"changes one dialog of two", versions(full("a:early recipient", "b:confirmed"), partial("b:terminated")), aa.LineRinging, false},
		{"adds one", versions(full(), partial("a:confirmed recipient")), aa.LineBusy, false},
		{"ends the last", versions(full("a:early recipient"), partial("a:confirmed recipient"), partial("a:terminated")), aa.LineIdle, false},
		{"keeps the direction that it does not repeat", versions(full("a:trying initiator"), partial("a:early")), aa.LineBusy, false},
		{"full flushes", versions(full("a:confirmed"), partial("b:confirmed"), full("c:early recipient")), aa.LineRinging, false},
		{"a gap is processed, and full state needed", []string{numbered(3, full("a:early recipient")), numbered(5, partial("a:confirmed recipient"))}, aa.LineBusy, true},
		{"an older partial is not processed", []string{numbered(3, full("a:early recipient")), numbered(2, partial("a:terminated"))}, aa.LineRinging, true},
		{"an equal version is processed", []string{numbered(0, full("a:early recipient")), numbered(0, partial("a:terminated"))}, aa.LineIdle, false},
		{"full heals a gap", []string{numbered(3, full("a:early recipient")), numbered(5, partial("b:confirmed")), numbered(6, full())}, aa.LineIdle, false},
		{"full counts whatever its version", []string{numbered(9, full("a:confirmed")), numbered(0, full())}, aa.LineIdle, false},
		{"one id, two telephones", versions(full("a:confirmed", "a:early recipient", "a:terminated")), aa.LineBusy, false},
		{"partial first says nothing", versions(partial("a:confirmed")), aa.LineUnknown, true},
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
	require.Equal(t, aa.LineUnknown, state)
	_, _, err = dialoginfo.Read(2, versions(full("a:confirmed", "b:confirmed"), partial("a:terminated", "c:confirmed"))...)
	require.NoError(t, err, "as many as may be at the end")
	state, _, err = dialoginfo.Read(2, versions(full("terminated", "terminated", "terminated", "early"))...)
	require.NoError(t, err, "those that have ended do not count")
	require.Equal(t, aa.LineRinging, state)
}

func TestDocumentsOfPBXs(t *testing.T) {
	for name, want := range map[string]aa.LineState{
		"kamailio-ringing.xml":     aa.LineRinging,
		"kamailio-two-calls.xml":   aa.LineBusy,
		"no-direction-idle.xml":    aa.LineIdle,
		"no-direction-busy.xml":    aa.LineBusy,
		"prefixed-extended.xml":    aa.LineRinging,
		"on-hold-two-parties.xml":  aa.LineBusy,
		"byte-order-mark-full.xml": aa.LineIdle,
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
		"unknown state":      {`<dialog-info ` + ns + ` version="0" state="full"><dialog id="a"><state>gone</state></dialog></dialog-info>`, "no dialog with a state"},
		"entity":             {`<!DOCTYPE x [<!ENTITY a "b">]><dialog-info ` + ns + ` version="0" state="full"/>`, "DTD"},
		"undefined entity":   {`<dialog-info ` + ns + ` version="0" state="full">&a;</dialog-info>`, "entity"},
		"too deep":           {`<dialog-info ` + ns + ` version="0" state="full">` + strings.Repeat("<a>", 16) + strings.Repeat("</a>", 16) + `</dialog-info>`, "too deep"},
		"UTF-32":             {`<?xml version="1.0" encoding="UTF-32"?><dialog-info ` + ns + ` version="0" state="full"/>`, "encoding"},
		"another encoding":   {`<?xml version="1.0" encoding="UTF-16"?><dialog-info ` + ns + ` version="0" state="full"/>`, "encoding"},
		"names its position": {"<dialog-info " + ns + " version=\"0\" state=\"full\">\n\n<dialog></dialog-info>", "line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := dialoginfo.Read(8, test.document)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "dialoginfo: ")
		})
	}
}

// TestUnusableDialogs shows that a dialog which cannot be used costs the line nothing:
// the others count (BSX-2, RFC 4235 §4.1.1, §4.3).
func TestUnusableDialogs(t *testing.T) {
	const good = `<dialog id="b"><state>confirmed</state></dialog>`
	first := `<dialog id="a" direction="recipient"><state>early</state></dialog>`
	for name, test := range map[string]struct {
		full, partial string // dialogs of a full document, and of a partial one after it
		want          aa.LineState
		stale         bool
	}{
		"no state":                     {`<dialog id="200"/>` + good, "", aa.LineBusy, false},
		"no state, behind":             {good + `<dialog id="200"/>`, "", aa.LineBusy, false},
		"no state, alone":              {`<dialog id="200"/>`, "", aa.LineIdle, false},
		"an empty state":               {`<dialog id="200"><state> </state></dialog>`, "", aa.LineIdle, false},
		"a state of no RFC":            {`<dialog id="200"><state>gone</state></dialog>` + good, "", aa.LineBusy, false},
		"a state of no RFC, and ended": {`<dialog id="200"><state>gone</state></dialog><dialog id="b"><state>terminated</state></dialog>`, "", aa.LineIdle, false},
		"a direction of no RFC":        {`<dialog id="200" direction="inbound"><state>confirmed</state></dialog>`, "", aa.LineBusy, false},
		"and it rings":                 {`<dialog id="200" direction="Recipient"><state>early</state></dialog>`, "", aa.LineRinging, false},
		"two states":                   {`<dialog id="200"><state>early</state><state>terminated</state></dialog>`, "", aa.LineRinging, false},
		"two states, one of no RFC":    {`<dialog id="200"><state>gone</state><state>early</state></dialog>`, "", aa.LineRinging, false},
		"no id":                        {`<dialog><state>confirmed</state></dialog>`, "", aa.LineBusy, false},
		"long id":                      {`<dialog id="` + strings.Repeat("x", 257) + `"><state>confirmed</state></dialog>`, "", aa.LineBusy, false},
		"partial, no state":            {first, `<dialog id="a"/>` + good, aa.LineBusy, true},
		"partial, a state of no RFC":   {first, `<dialog id="a"><state>gone</state></dialog>`, aa.LineRinging, true},
		"partial, no id":               {first, `<dialog><state>terminated</state></dialog>` + good, aa.LineBusy, true},
		"partial, a direction":         {first, `<dialog id="a" direction="up"><state>confirmed</state></dialog>`, aa.LineBusy, false},
	} {
		t.Run(name, func(t *testing.T) {
			documents := []string{`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full">` + test.full + `</dialog-info>`}
			if test.partial != "" {
				documents = append(documents, `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="partial">`+test.partial+`</dialog-info>`)
			}
			state, stale, err := dialoginfo.Read(8, documents...)
			require.NoError(t, err)
			require.Equal(t, test.want, state)
			require.Equal(t, test.stale, stale)
		})
	}
}

// TestCharsets shows documents in other charsets than UTF-8, and in UTF-8 that is
// labelled otherwise (XML 1.0 §4.3.3, RFC 7303 §3).
func TestCharsets(t *testing.T) {
	text := func(label, name string) string {
		return `<?xml version="1.0" encoding="` + label + `"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" ` +
			`entity="sip:200@pbx.example"><dialog id="1"><state>confirmed</state><remote><identity display="` + name + `">sip:201@pbx.example</identity></remote></dialog></dialog-info>`
	}
	utf16 := func(bigEndian bool, s string) string {
		var b []byte
		for _, c := range []byte(s) {
			if bigEndian {
				b = append(b, 0, c)
			} else {
				b = append(b, c, 0)
			}
		}
		return string(b)
	}
	for name, document := range map[string]string{
		"ASCII":                      text("US-ASCII", "Jorgen"),
		"ASCII that is Latin-1":      text("US-ASCII", "J\xF6rgen"),
		"Latin-1":                    text("ISO-8859-1", "J\xF6rgen"),
		"Latin-1 that is UTF-8":      text("ISO-8859-1", "Jörgen"),
		"Latin-9":                    text("iso-8859-15", "\xA4"),
		"Windows":                    text("windows-1252", "\x93J\x94"),
		"Cyrillic":                   text("koi8-r", "\xF0\xE5"),
		"UTF-8 that is Latin-1":      text("UTF-8", "J\xF6rgen"),
		"nothing that is Latin-1":    strings.Replace(text("UTF-8", "J\xF6rgen"), ` encoding="UTF-8"`, "", 1),
		"UTF-8 in small letters":     text("utf-8", "Jörgen"),
		"UTF-16, little end first":   "\xFF\xFE" + utf16(false, text("UTF-16", "J")),
		"UTF-16, big end first":      "\xFE\xFF" + utf16(true, text("UTF-16", "J")),
		"UTF-16, without its mark":   utf16(false, text("UTF-16LE", "J")),
		"UTF-16, an odd byte behind": "\xFE\xFF" + utf16(true, text("UTF-16", "J")) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			state, _, err := dialoginfo.Read(8, document)
			require.NoError(t, err)
			require.Equal(t, aa.LineBusy, state)
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
			require.Contains(t, []aa.LineState{aa.LineIdle, aa.LineRinging, aa.LineBusy, aa.LineUnknown}, state)
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
