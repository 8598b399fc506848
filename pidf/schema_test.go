package pidf_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/schema"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// validator checks documents with xmllint against the schemas of the RFCs and aa.xsd. Without these, tests skip; with
// BLUSTAR_INTEGRATION=required they fail.
type validator struct{ dir, xmllint string }

func newValidator(t *testing.T) validator {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		missing("xmllint is not installed (Debian: libxml2-utils)")
	}
	shared := filepath.Join("..", "..", "shared", "schemas")
	if _, err := os.Stat(shared); err != nil {
		missing("the schemas of the RFCs are not at " + shared + " beside the repository")
	}
	v := validator{t.TempDir(), xmllint}
	require.NoError(t, os.CopyFS(v.dir, os.DirFS(shared)))
	require.NoError(t, fs.WalkDir(schema.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(schema.FS, path)
		require.NoError(t, err)
		return os.WriteFile(filepath.Join(v.dir, path), data, 0o644)
	}))
	return v
}

// check returns what xmllint has to say about documents, by their names.
func (v validator) check(t require.TestingT, entry string, documents map[string][]byte) string {
	dir, err := os.MkdirTemp(v.dir, "documents")
	require.NoError(t, err)
	args := []string{"--nonet", "--noout", "--schema", filepath.Join(v.dir, entry)}
	for name, data := range documents {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		args = append(args, path)
	}
	out, err := exec.Command(v.xmllint, args...).CombinedOutput()
	if err == nil {
		return ""
	}
	var complaints []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasSuffix(line, " validates\n") {
			complaints = append(complaints, strings.ReplaceAll(line, dir+string(filepath.Separator), ""))
		}
	}
	require.NotEmpty(t, complaints, "%v", err)
	return strings.Join(complaints, "")
}

// BSP-5.1-1: what is written validates, whatever was read; documents that were invalid before and keep what made
// them so are the exception.
func TestSchemaDocuments(t *testing.T) {
	v := newValidator(t)
	invalid := map[string]string{
		"missing-entity.xml":         "what is missing is not invented",
		"asterisk-pjsip-ringing.xml": "Asterisk puts an extension into PIDF's own namespace",
		"bad-values.xml":             "values that no schema takes are kept",
		"nortel-cpim.xml":            "Nortel puts elements of its own into PIDF's namespace",
		"opensips-pua-mi.xml":        "a text among activities, as the manual of OpenSIPS shows",
		"rcs-attributes.xml":         "RCS puts attributes into RPID's namespace that RPID has without one",
		"ser-pa-doctype.xml":         "an extension without a namespace",
		"blink-rich.xml":             "Blink orders capabilities in its own way",
		"rich-sphere-text.xml":       "a text in sphere, which RFC 4480 shows and its schema forbids",
		"sipnetic-caps.xml":          "Sipnetic orders capabilities in its own way",
		"sipp-leading-newline.xml":   "a placeholder is no URI",
	}
	blustar, standard := map[string][]byte{}, map[string][]byte{}
	for _, path := range append(files(t, "products/*.xml"), files(t, "spec/*.xml")...) {
		name := filepath.Base(path)
		if invalid[name] != "" || strings.Contains(name, "subscribe") {
			continue
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		p, err := aa.Decode(data)
		require.NoError(t, err)
		blustar[name], standard[name] = p.Append(nil, pidf.BluStarDialect), p.Append(nil, pidf.StandardDialect)
	}
	for _, name := range []string{"siplib-cisco.xml", "asterisk-pjsip-ready.xml"} { // a person without an id gets one in the Standard dialect alone
		require.Contains(t, blustar, name)
		delete(blustar, name)
	}
	delete(standard, "unprefixed-data-model.xml") // xmllint knows no zone of 14 hours, which XML Schema has
	require.Empty(t, v.check(t, "blustar.xsd", blustar))
	require.Empty(t, v.check(t, "strict.xsd", standard))
}

// BSP-5.1-1: the documents of the interface description validate as printed, as far as a schema can check them under
// the namespace that they use; the RFC's schemas refuse each of them.
func TestSchemaPrinted(t *testing.T) {
	v := newValidator(t)
	for _, name := range []string{"3-presence-printed.xml", "4.3-publish.xml", "4.4-notify-publish.xml", "4.4-notify-calendar.xml", "4.4-notify-line.xml"} {
		printed := map[string][]byte{name: read(t, "spec", name)}
		require.Empty(t, v.check(t, "blustar.xsd", printed))
		require.NotEmpty(t, v.check(t, "strict.xsd", printed))
	}
}

// BSP-5.1-1: aa.xsd tells right from wrong.
func TestSchemaRules(t *testing.T) {
	v := newValidator(t)
	document := func(inner string) map[string][]byte {
		return map[string][]byte{"document.xml": inDocument([]byte(inner), `dm:person id="p"`, "aa:presence")}
	}
	const when = `<aa:from>2024-01-01T10:00:00Z</aa:from><aa:end>2024-01-01T11:00:00Z</aa:end>`
	for _, good := range []string{
		`<aa:blustar from="2024-01-01T10:00:00Z" other="1"><aa:status display="Gone">be right back</aa:status><x xmlns="urn:x"/></aa:blustar>`,
		`<aa:A400><rpid:activities><rpid:busy/></rpid:activities></aa:A400>`,
		`<aa:externalUC><aa:status>inactive</aa:status><aa:freeText/><aa:fwdDestination/><aa:telephoneEvent/></aa:externalUC>`,
		`<aa:calendar><aa:id/><aa:state>out of office</aa:state><aa:subject/><aa:location/>` + when + `<aa:allday/><aa:private/><aa:reminder-offset>-15</aa:reminder-offset></aa:calendar>`,
	} {
		require.Empty(t, v.check(t, "strict.xsd", document(good)), good)
	}
	for _, bad := range []string{
		`<aa:blustar><aa:status>gone</aa:status></aa:blustar>`,
		`<aa:blustar><aa:note>no status</aa:note></aa:blustar>`,
		`<aa:A400/>`,
		`<aa:externalUC><aa:status>other</aa:status><aa:freeText/><aa:fwdDestination/><aa:telephoneEvent/></aa:externalUC>`,
		`<aa:calendar><aa:state>busy</aa:state></aa:calendar>`,
		`<aa:calendar><aa:id/><aa:state>maybe</aa:state><aa:subject/><aa:location/>` + when + `</aa:calendar>`,
		`<aa:unknown/>`,
	} {
		require.NotEmpty(t, v.check(t, "blustar.xsd", document(bad)), bad)
	}
}

// The other documents validate, too.
func TestSchemaLists(t *testing.T) {
	v := newValidator(t)
	documents := map[string][]byte{}
	for _, path := range append(files(t, "lists/*.xml"), files(t, "spec/*subscribe*.xml")...) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		r, err := pidf.Decoder{}.DecodeResourceLists(data)
		require.NoError(t, err)
		documents[filepath.Base(path)] = r.AppendXML(nil)
	}
	l, err := pidf.Decoder{}.DecodeListInfo(read(t, "rlmi", "list.xml"))
	require.NoError(t, err)
	documents["rlmi.xml"] = l.AppendXML(nil)
	i, err := pidf.Decoder{}.DecodeWatcherInfo(read(t, "watcherinfo", "full.xml"))
	require.NoError(t, err)
	documents["watcherinfo.xml"] = i.AppendXML(nil)
	require.Empty(t, v.check(t, "strict.xsd", documents))
}

// Whatever a host builds out of allowed values validates in both dialects, and Validate agrees.
func TestSchemaBuilt(t *testing.T) {
	v := newValidator(t)
	blustar, standard := map[string][]byte{}, map[string][]byte{}
	rapid.Check(t, func(t *rapid.T) {
		p := model(t)
		require.NoError(t, p.Validate(pidf.BluStarDialect))
		name := string(rune('a'+len(blustar)%26)) + strings.Repeat("x", len(blustar)/26) + ".xml"
		blustar[name], standard[name] = p.Append(nil, pidf.BluStarDialect), p.Append(nil, pidf.StandardDialect)

		q, err := aa.Decode(blustar[name])
		require.NoError(t, err)
		require.Empty(t, q.Warnings)
		require.True(t, pidf.Equal(p, q), "decoding is the inverse of encoding: %v", pidf.Diff(p, q))
		require.Equal(t, string(blustar[name]), string(q.Append(nil, pidf.BluStarDialect)))
		r, err := aa.Decode(standard[name])
		require.NoError(t, err)
		require.NoError(t, r.Validate(pidf.StandardDialect))
	})
	require.Empty(t, v.check(t, "blustar.xsd", blustar))
	require.Empty(t, v.check(t, "strict.xsd", standard))
}
