package pidf_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/stretchr/testify/require"
)

// What products and test suites send, written down after their manner.
func TestProducts(t *testing.T) {
	for _, path := range files(t, "products/*.xml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			p := roundTrip(t, data)
			golden(t, "products/"+filepath.Base(path), p.Append(nil, pidf.BluStarDialect))
		})
	}
}

// What must be refused, and how the error says so (BSP-3-5).
func TestBroken(t *testing.T) {
	for name, want := range map[string]struct {
		kind error
		text string
	}{
		"declaration.xml":       {pidf.ErrSyntax, "pidf: line 1, column 1: not well-formed: bad XML declaration"},
		"quote-missing.xml":     {pidf.ErrSyntax, "pidf: line 4, column 13, in <presence>: not well-formed: no space before an attribute, or a bad name"},
		"spaceless.xml":         {pidf.ErrSyntax, "pidf: line 1, column 109, in <dm:personid>: not well-formed: no space before an attribute, or a bad name"},
		"dialog-info.xml":       {pidf.ErrRoot, "pidf: line 2, column 1, in <dialog-info>: unexpected root element: {urn:ietf:params:xml:ns:dialog-info}dialog-info instead of {urn:ietf:params:xml:ns:pidf}presence"},
		"doctype-external.xml":  {pidf.ErrDTD, "pidf: line 2, column 1: document type declaration refused"},
		"doctype-internal.xml":  {pidf.ErrDTD, "pidf: line 2, column 1: document type declaration refused"},
		"entity-undeclared.xml": {pidf.ErrSyntax, "pidf: line 3, column 18, in <note>: not well-formed: a reference other than to a character, or an unescaped &"},
		"half.xml":              {pidf.ErrSyntax, "pidf: line 6, column 1, in <status>: not well-formed: the document ends inside <status>"},
		"junk-after.xml":        {pidf.ErrSyntax, "pidf: line 2, column 1: not well-formed: text outside the root element"},
		"mismatch.xml":          {pidf.ErrSyntax, "pidf: line 3, column 30, in <basic>: not well-formed: an end tag that does not match <basic>"},
		"msrtc.xml":             {pidf.ErrRoot, "pidf: line 1, column 1, in <presentity>: unexpected root element: {http://schemas.microsoft.com/2002/09/sip/presence}presentity instead of {urn:ietf:params:xml:ns:pidf}presence"},
		"not-xml.txt":           {pidf.ErrSyntax, "pidf: line 1, column 1: not well-formed: text outside the root element"},
		"nothing.txt":           {pidf.ErrSyntax, "pidf: line 1, column 1: not well-formed: no document"},
		"partial-diff.xml":      {pidf.ErrRoot, "pidf: line 2, column 1, in <p:pidf-diff>: unexpected root element: pidf-diff is partial presence (RFC 5262), of which only whole documents are read"},
		"partial-full.xml":      {pidf.ErrRoot, "pidf: line 2, column 1, in <p:pidf-full>: unexpected root element: pidf-full is partial presence (RFC 5262), of which only whole documents are read"},
		"resource-lists.xml":    {pidf.ErrRoot, "pidf: line 1, column 1, in <resource-lists>: unexpected root element: {urn:ietf:params:xml:ns:resource-lists}resource-lists instead of {urn:ietf:params:xml:ns:pidf}presence"},
		"two-roots.xml":         {pidf.ErrSyntax, "pidf: line 1, column 73: not well-formed: a second root element"},
		"unbound.xml":           {pidf.ErrSyntax, "pidf: line 2, column 3, in <dm:person>: not well-formed: unbound prefix dm"},
		"unquoted.xml":          {pidf.ErrSyntax, "pidf: line 2, column 13, in <tuple>: not well-formed: the value of attribute id is not quoted"},
		"utf8-not.xml":          {pidf.ErrEncoding, "pidf: line 1, column 110: character encoding: bytes that are no UTF-8"},
		"watcherinfo.xml":       {pidf.ErrRoot, "pidf: line 1, column 1, in <watcherinfo>: unexpected root element: {urn:ietf:params:xml:ns:watcherinfo}watcherinfo instead of {urn:ietf:params:xml:ns:pidf}presence"},
		"xmpp.xml":              {pidf.ErrRoot, "pidf: line 1, column 1, in <presence>: unexpected root element: {jabber:client}presence instead of {urn:ietf:params:xml:ns:pidf}presence"},
		"zero-byte.xml":         {pidf.ErrSyntax, "pidf: line 2, column 1: not well-formed: a character that XML does not allow"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := pidf.Decode(read(t, "broken", name))
			require.Nil(t, p)
			require.ErrorIs(t, err, want.kind)
			require.EqualError(t, err, want.text)
			var syntax *pidf.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Positive(t, syntax.Line)
			require.Positive(t, syntax.Column)
		})
	}
	require.Len(t, files(t, "broken/*"), 23, "each file is tested")
}
