package xpidf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/xpidf"
	"github.com/stretchr/testify/require"
)

func decode(t *testing.T, name string) *pidf.Presence {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	p, err := xpidf.Decode(data)
	require.NoError(t, err)
	require.NoError(t, p.Validate(pidf.BluStarDialect))
	return p
}

// What Asterisk, Polycom and Windows Messenger send.
func TestProducts(t *testing.T) {
	p := decode(t, "asterisk-xpidf-inuse.xml")
	require.Equal(t, "sip:200@pbx.example.com", p.Entity)
	require.Equal(t, []pidf.Tuple{{ID: "200", Basic: pidf.Open, Contact: &pidf.Contact{URI: "sip:200@pbx.example.com;user=ip", Priority: "0.8"}}}, p.Tuples)
	require.Equal(t, []pidf.Choice{{Name: "on-the-phone"}}, p.Persons[0].Activities.Values)

	p = decode(t, "asterisk-xpidf-comma.xml")
	require.Equal(t, pidf.Closed, p.Tuples[0].Basic)
	require.Equal(t, "0.8", p.Tuples[0].Contact.Priority)
	require.Empty(t, p.Persons)

	p = decode(t, "messenger-xpidf-display.xml")
	require.Equal(t, []string{"1000", "1000-2"}, []string{p.Tuples[0].ID, p.Tuples[1].ID})
	require.Equal(t, pidf.Closed, p.Tuples[1].Basic)
	require.Equal(t, []pidf.Choice{{Name: "away"}}, p.Persons[0].Activities.Values)

	require.Equal(t, pidf.Open, decode(t, "polycom-xpidf-open.xml").Tuples[0].Basic)
}

// What is not said is not known.
func TestUnsaid(t *testing.T) {
	p, err := xpidf.Decode([]byte(`<presence><presentity uri="sip:a@b"/><atom id="1"><address><status/></address></atom><atom id="2"/></presence>`))
	require.NoError(t, err)
	require.Equal(t, []pidf.Basic{"", ""}, []pidf.Basic{p.Tuples[0].Basic, p.Tuples[1].Basic})
}

func TestRefused(t *testing.T) {
	for _, bad := range []string{"", "<presence>", `<presence xmlns="urn:ietf:params:xml:ns:pidf"/>`, "<list/>", "<presence>&x;</presence>", strings.Repeat(" ", 1<<18+1)} {
		_, err := xpidf.Decode([]byte(bad))
		require.ErrorIs(t, err, xpidf.ErrDocument, "%.40q", bad)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`<presence><presentity uri="sip:a@b"/><atom id="1"><address uri="sip:a"><status status="open"/></address></atom></presence>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := xpidf.Decode(data); err == nil {
			_, err := pidf.Decode(p.Append(nil, pidf.BluStarDialect))
			require.NoError(t, err)
		}
	})
}
