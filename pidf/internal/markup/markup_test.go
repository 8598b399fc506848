package markup_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/stretchr/testify/require"
)

const small = 1 << 12

// scanner returns a scanner with limits that a fuzzer reaches.
func scanner() *markup.Scanner {
	return &markup.Scanner{
		Limits:   markup.Limits{Bytes: small, Depth: 6, Elements: 40, Attributes: 8},
		Classify: func(space string) (markup.ID, bool) { return markup.Other, space == "urn:misspelt" },
		Warn:     func(string) {},
	}
}

// tokens reads a document and says what it holds, a token each.
func tokens(s *markup.Scanner) (out []string) {
	for {
		switch s.Next() {
		case markup.EOF:
			return out
		case markup.Start:
			tag := s.Name.Written() + "=" + s.Name.Space
			for i := range s.Attrs {
				a := &s.Attrs[i]
				tag += fmt.Sprintf(" %s=%s:%q", a.Written(), a.Space, a.Value())
			}
			out = append(out, tag)
		case markup.End:
			out = append(out, "/")
		case markup.Text:
			out = append(out, fmt.Sprintf("%q", markup.AppendText(nil, s.Chars, s.CDATA)))
		default:
			out = append(out, s.Doc[s.From:s.Pos])
		}
	}
}

// What well-formed documents hold (XML 1.0, Namespaces in XML 1.0).
func TestTokens(t *testing.T) {
	for doc, want := range map[string][]string{
		`<a/>`:                                                                    {"a=", "/"},
		`<a b="1" c='"'/>`:                                                        {`a= b=:"1" c=:"\""`, "/"},
		`<a b=" 1&#9;2&#x3c;` + "\n\r\n" + `"/>`:                                  {`a= b=:" 1\t2<  "`, "/"},
		`<a xmlns="urn:x"><b/></a >`:                                              {"a=urn:x", "b=urn:x", "/", "/"},
		`<a xmlns="urn:x"><b xmlns=""/></a>`:                                      {"a=urn:x", "b=", "/", "/"},
		`<p:a xmlns:p="urn:x" p:b="1" b="2" xml:lang="e"/>`:                       {`p:a=urn:x p:b=urn:x:"1" b=:"2" xml:lang=` + markup.NSXML + `:"e"`, "/"},
		"<a>x\r\ny\rz&amp;&lt;&gt;&quot;&apos;&#229;</a>":                         {"a=", `"x\ny\nz&<>\"'å"`, "/"},
		`<a>]]<![CDATA[<&amp;]]]]><![CDATA[>]]></a>`:                              {"a=", `"]]"`, `"<&amp;]]"`, `">"`, "/"},
		`<!-- a --><?b c?><a><!----><?d?></a><!-- e -->`:                          {"<!-- a -->", "<?b c?>", "a=", "<!---->", "<?d?>", "/", "<!-- e -->"},
		`<?xml version="1.0" encoding='UTF-8' standalone="yes" ?>` + "\n<größe/>": {`"\n"`, "größe=", "/"},
		"\uFEFF<𐐀/>":                                                              {"𐐀=", "/"},
	} {
		s := scanner()
		require.True(t, s.Load([]byte(doc), ""), doc)
		require.Equal(t, want, tokens(s), doc)
		require.Nil(t, s.Err, doc)
	}
}

// What is not, with the kind of the error and where it is.
func TestRefused(t *testing.T) {
	for doc, want := range map[string]struct {
		kind         error
		line, column int
	}{
		"":                 {markup.ErrSyntax, 1, 1},
		"<a>":              {markup.ErrSyntax, 1, 4},
		"<a>\n</b>":        {markup.ErrSyntax, 2, 1},
		"</a>":             {markup.ErrSyntax, 1, 1},
		"<a/><b/>":         {markup.ErrSyntax, 1, 5},
		"<a/>\n x":         {markup.ErrSyntax, 2, 2},
		"<a/><![CDATA[]]>": {markup.ErrSyntax, 1, 5},
		"<1/>":             {markup.ErrSyntax, 1, 1},
		"<a:b:c/>":         {markup.ErrSyntax, 1, 5},
		"<p:a/>":           {markup.ErrSyntax, 1, 1},
		"<a p:b='1'/>":     {markup.ErrSyntax, 1, 1},
		"<a b='1'c='2'/>":  {markup.ErrSyntax, 1, 9},
		"<a b='1' b='2'/>": {markup.ErrSyntax, 1, 1},
		"<a b=1/>":         {markup.ErrSyntax, 1, 6},
		"<a b='<'/>":       {markup.ErrSyntax, 1, 7},
		"<a b='&x;'/>":     {markup.ErrSyntax, 1, 7},
		"<a b='1/>":        {markup.ErrSyntax, 1, 7},
		"<a xmlns:p='x' xmlns:q='x' p:b='' q:b=''/>": {markup.ErrSyntax, 1, 1},
		"<a xmlns:p=''/>":                  {markup.ErrSyntax, 1, 4},
		"<a xmlns:xmlns='x'/>":             {markup.ErrSyntax, 1, 4},
		"<a xmlns:xml='x'/>":               {markup.ErrSyntax, 1, 4},
		"<a>å & b</a>":                     {markup.ErrSyntax, 1, 6},
		"<a>&#xD800;</a>":                  {markup.ErrSyntax, 1, 4},
		"<a>&#xFFFE;</a>":                  {markup.ErrSyntax, 1, 4},
		"<a>&#99999999999;</a>":            {markup.ErrSyntax, 1, 4},
		"<a>]]></a>":                       {markup.ErrSyntax, 1, 4},
		"<a>\x00</a>":                      {markup.ErrSyntax, 1, 4},
		"<a>12345678\x0b</a>":              {markup.ErrSyntax, 1, 12},
		"<a>\uFFFE</a>":                    {markup.ErrSyntax, 1, 4},
		"<a><!-- -- --></a>":               {markup.ErrSyntax, 1, 9},
		"<a><!--></a>":                     {markup.ErrSyntax, 1, 4},
		"<a><?xml version='1.0'?></a>":     {markup.ErrSyntax, 1, 4},
		"<a><??></a>":                      {markup.ErrSyntax, 1, 4},
		"<a><![CDATA[</a>":                 {markup.ErrSyntax, 1, 4},
		"<?xml version='2.0'?><a/>":        {markup.ErrSyntax, 1, 1},
		"<?xml encoding='x'?><a/>":         {markup.ErrSyntax, 1, 1},
		"<!DOCTYPE a><a/>":                 {markup.ErrDTD, 1, 1},
		"<a>\xFF</a>":                      {markup.ErrEncoding, 1, 4},
		"\xFF\xFE<":                        {markup.ErrEncoding, 1, 1},
		strings.Repeat("<a>", 7):           {markup.ErrTooDeep, 1, 19},
		"<a>" + strings.Repeat("<b/>", 40): {markup.ErrTooMany, 1, 160},
		"<a b='' c='' d='' e='' f='' g='' h='' i='' j=''/>": {markup.ErrTooMany, 1, 44},
		strings.Repeat(" ", small+1):                        {markup.ErrTooLarge, 1, 1},
	} {
		s := scanner()
		if s.Load([]byte(doc), "") {
			tokens(s)
		}
		require.NotNil(t, s.Err, doc)
		require.ErrorIs(t, s.Err.Kind, want.kind, doc)
		require.Equal(t, []int{want.line, want.column}, []int{s.Err.Line, s.Err.Column}, doc)
		require.Equal(t, markup.EOF, s.Next(), "there is nothing after an error")
	}
}

// Encodings by mark, declaration and parameter (XML 1.0 §4.3.3, RFC 7303 §3).
func TestCharsets(t *testing.T) {
	wide := func(s string, low, high int) []byte {
		var b []byte
		for _, r := range s {
			pair := [2]byte{}
			pair[low], pair[high] = byte(r), byte(r>>8)
			b = append(b, pair[:]...)
		}
		return b
	}
	for name, test := range map[string]struct {
		doc     []byte
		charset string
		warned  bool
	}{
		"UTF-8":                      {[]byte("<a>å</a>"), "", false},
		"UTF-16, little":             {wide("\uFEFF<a>å</a>", 0, 1), "", false},
		"UTF-16, big":                {wide("\uFEFF<a>å</a>", 1, 0), "", false},
		"UTF-16 without a mark":      {wide("<a>å</a>", 0, 1), "", false},
		"ISO-8859-1, declared":       {[]byte("<?xml version='1.0' encoding='ISO-8859-1'?><a>\xE5</a>"), "", true},
		"ISO-8859-1 by parameter":    {[]byte("<?xml version='1.0' encoding='UTF-8'?><a>\xE5</a>"), "iso-8859-1", true},
		"US-ASCII with a reference":  {[]byte("<?xml version='1.0' encoding='US-ASCII'?><a>&#xE5;</a>"), "", false},
		"UTF-8 under another label":  {[]byte("<?xml version='1.0' encoding='ISO-8859-1'?><a>å</a>"), "", true},
		"zero bytes at the end":      {[]byte("<a>å</a>\x00\x00"), "", true},
		"space before a declaration": {[]byte(" <?xml version='1.0'?><a>å</a>"), "", true},
	} {
		s, warned := scanner(), false
		s.Warn = func(string) { warned = true }
		require.True(t, s.Load(test.doc, test.charset), name)
		require.Equal(t, []string{"a=", `"å"`, "/"}, tokens(s), name)
		require.Equal(t, test.warned, warned, name)
	}
}

// A fragment comes with the declarations that it needs: of its names, and of prefixes in its texts.
func TestFragment(t *testing.T) {
	const around = `<a xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q">`
	for inner, want := range map[string]string{
		`<p:b/>`:                           `xmlns:p="urn:p"`,
		`<b/>`:                             `xmlns="urn:d"`,
		`<b xmlns=""/>`:                    ``,
		`<p:b q:c="1"/>`:                   `xmlns:q="urn:q" xmlns:p="urn:p"`,
		`<p:b>q:name</p:b>`:                `xmlns:q="urn:q" xmlns:p="urn:p"`,
		`<p:b>qq:name q: q</p:b>`:          `xmlns:p="urn:p"`,
		`<p:b xmlns:p="urn:own">p:n</p:b>`: ``,
	} {
		s := scanner()
		require.True(t, s.Load([]byte(around+inner+"</a>"), ""))
		s.Next()
		require.Equal(t, markup.Start, s.Next())
		text, declare := s.Fragment()
		require.Equal(t, inner, text)
		var got []byte
		if declare != nil {
			for _, b := range *declare {
				got = markup.AppendBinding(got, b.Prefix, b.Space)
			}
		}
		require.Equal(t, want, strings.TrimSpace(string(got)), inner)
		require.Equal(t, markup.End, s.Next(), "of the element around it")
	}
}

// An element can be read again from its start tag.
func TestRewind(t *testing.T) {
	s := scanner()
	require.True(t, s.Load([]byte(`<a><b xmlns:p="urn:p"><p:c/></b><d/></a>`), ""))
	s.Next()
	s.Next()
	m := s.Mark()
	first := tokens(s)
	s.Rewind(m)
	require.Equal(t, "b", s.Name.Local)
	require.Equal(t, first, tokens(s))
}

// Names (Namespaces in XML 1.0 §4), and what becomes of others.
func TestNCNames(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "_a-1.b": "_a-1.b", "größe": "größe", "": "other", "200": "_200", "a b": "a-b", "a:b": "a-b", "-": "_-", "·": "_·", "\xFF": "\uFFFD", "𐐀": "𐐀",
	} {
		got := string(markup.AppendNCName(nil, text, "other"))
		require.Equal(t, want, got, text)
		require.True(t, markup.IsNCName(got), got)
		require.Equal(t, got == text, markup.IsNCName(text), text)
	}
}

// Two elements have the same canonical form if they differ in prefixes, order of attributes, comments and space alone, and
// in the order of what unordered elements hold.
func TestCanonical(t *testing.T) {
	canonical := func(doc string) string {
		s := scanner()
		require.True(t, s.Load([]byte(doc), ""))
		require.Equal(t, markup.Start, s.Next())
		return string(markup.Canonical(s, func(e *markup.Name) bool { return e.Space == "urn:u" }))
	}
	for name, same := range map[string][]string{
		"ordered": {`<p:a xmlns:p="urn:x" b="1" c="2"><p:d>&lt; x</p:d><u:u xmlns:u="urn:u"><i/><j/></u:u></p:a>`,
			"<a xmlns='urn:x' c='2' b='1'>\n<!-- - --><d><![CDATA[<]]> x</d> <u xmlns='urn:u'><i xmlns=''/><j xmlns=''/></u></a>"},
		"unordered": {`<u xmlns="urn:u">one<i>1 2</i>two<i/><x xmlns="urn:x"><i/><j/></x></u>`,
			`<v:u xmlns:v="urn:u"><x xmlns="urn:x"><i/><j/></x><v:i/>onetwo<v:i>1 2</v:i> </v:u>`},
	} {
		require.Equal(t, canonical(same[0]), canonical(same[1]), name)
	}
	all := map[string]string{}
	for _, doc := range []string{`<a xmlns="urn:x"><b/><c/></a>`, `<a xmlns="urn:x"><c/><b/></a>`,
		`<a xmlns="urn:x" b=""/>`, `<a xmlns="urn:x"/>`, `<a/>`, `<a>&lt;b/></a>`, `<a><b/></a>`, `<a>1 </a>`, `<a>1</a>`, `<a b="1"/>`, `<a b="1" c=""/>`,
		`<a b="&quot; c=&quot;"/>`, `<u xmlns="urn:u"><b/></u>`, `<u xmlns="urn:u"><b/><b/></u>`, `<u xmlns="urn:u"><b><c/></b></u>`, `<u xmlns="urn:u"><b/><c/></u>`,
		`<u xmlns="urn:u"> 1</u>`, `<u xmlns="urn:u">1</u>`, `<u xmlns="urn:u">1<b/></u>`, `<u xmlns="urn:u"><x xmlns="urn:x"><i/><j/></x></u>`,
		`<u xmlns="urn:u"><x xmlns="urn:x"><j/><i/></x></u>`, `<u xmlns="urn:u"><x xmlns="urn:x"><v:u xmlns:v="urn:u"><i/><j/></v:u></x></u>`,
		`<u xmlns="urn:u"><x xmlns="urn:x"><v:u xmlns:v="urn:u"><j/><i/></v:u></x></u>`} {
		form := canonical(doc)
		require.Empty(t, all[form], doc)
		all[form] = doc
	}
}

// What encoding/xml has read is written again, in the same namespaces and within limits.
func TestCopy(t *testing.T) {
	const doc = `<a><b xmlns="urn:b" xmlns:p="urn:p" p:c="p:d" xml:lang="en"><e xmlns=""/>&lt;<!-- f --></b></a>`
	read := func(limits markup.Limits) ([]byte, error) {
		d := xml.NewDecoder(strings.NewReader(doc))
		for {
			token, err := d.Token()
			require.NoError(t, err)
			if start, ok := token.(xml.StartElement); ok && start.Name.Local == "b" {
				return markup.Copy(d, start, limits)
			}
		}
	}
	got, err := read(markup.Limits{Bytes: 1000, Depth: 5})
	require.NoError(t, err)
	s := scanner()
	require.True(t, s.Load(got, ""))
	require.Equal(t, []string{`b=urn:b p:c=urn:p:"p:d" xml:lang=` + markup.NSXML + `:"en"`, "e=", "/", `"<"`, "<!-- f -->", "/"}, tokens(s), "%s", got)
	for kind, limits := range map[error]markup.Limits{markup.ErrTooLarge: {Bytes: 10, Depth: 5}, markup.ErrTooDeep: {Bytes: 1000, Depth: 1}} {
		_, err := read(limits)
		var e *markup.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, e.Kind, kind)
	}
}

// A scanner never panics and keeps its limits, its tokens follow each other without a gap, and a document that it takes
// is the same as a fragment.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><a xmlns="urn:x" xmlns:p="urn:p" p:b='1'>&amp;<p:c/><![CDATA[<]]><!-- d --></a>`), "")
	f.Add([]byte("\xFF\xFE<\x00a\x00/\x00>\x00"), "utf-16")
	f.Add([]byte("<a>\xE5</a>"), "latin1")
	f.Add([]byte("<a>"+strings.Repeat("\xE5", small-8)+"</a>"), "latin1")
	f.Fuzz(func(t *testing.T, data []byte, charset string) {
		s := scanner()
		if !s.Load(data, charset) {
			require.NotNil(t, s.Err)
			return
		}
		require.True(t, markup.IsText(s.Doc))
		root := -1
		for at := s.Pos; s.Next() != markup.EOF; at = s.Pos {
			require.LessOrEqual(t, len(s.Open), 6)
			if s.Kind != markup.End || s.Pos > at { // that of <a/> has no text
				require.Equal(t, at, s.From)
				require.Greater(t, s.Pos, s.From)
			}
			if s.Kind == markup.Start && root < 0 {
				root = s.From
			}
			if s.Kind == markup.Text {
				require.Equal(t, s.Blank, !s.CDATA && strings.Trim(s.Chars, " \t\r\n") == "")
				require.Equal(t, s.Plain, s.Chars == string(markup.AppendText(nil, s.Chars, s.CDATA)) && (s.CDATA || !strings.Contains(s.Chars, "&")))
			}
		}
		if s.Err != nil || root < 0 {
			return
		}
		again := scanner()
		again.Limits.Bytes = len(s.Doc) // in UTF-8 it may be longer than it came
		require.True(t, again.Load([]byte(s.Doc[root:]), ""))
		require.Equal(t, markup.Start, again.Next())
		fragment, declare := again.Fragment()
		require.Nil(t, again.Err)
		require.Nil(t, without(declare))
		require.True(t, strings.HasPrefix(s.Doc[root:], fragment))
	})
}

// without returns declarations but for that of no default namespace.
func without(declare *[]markup.Binding) (rest []markup.Binding) {
	if declare == nil {
		return nil
	}
	for _, b := range *declare {
		if b.Prefix != "" || b.Space != "" {
			rest = append(rest, b)
		}
	}
	return rest
}

// Any text can be written as a text and as a value, and is read back, with U+FFFD for what XML has no place for. It takes at
// most three times its space, or that of a CDATA section.
func FuzzEscape(f *testing.F) {
	f.Add("a<b>&\"'\r\n\t]]>")
	f.Add("\x00\xFF\uFFFE\uFFFDå𐐀")
	f.Fuzz(func(t *testing.T, text string) {
		want := strings.Map(func(r rune) rune {
			if !markup.IsText(string(r)) {
				return utf8.RuneError
			}
			return r
		}, text)
		doc := append(markup.AppendQuoted([]byte("<a b="), text), '>')
		before := len(doc)
		doc = markup.AppendEscaped(doc, text)
		if want == text && !strings.Contains(text, "\r") {
			require.LessOrEqual(t, len(doc)-before, max(3*len(text), len(text)+12+12*strings.Count(text, "]]>")))
		}
		doc = append(doc, "</a>"...)
		s := scanner()
		s.Limits = markup.Limits{Bytes: len(doc), Depth: 1, Elements: 1, Attributes: 1}
		require.True(t, s.Load(doc, ""), "%q", doc)
		require.Equal(t, markup.Start, s.Next(), "%q", doc)
		require.Equal(t, want, s.Attrs[0].Value())
		var got bytes.Buffer
		for s.Next() == markup.Text {
			got.Write(markup.AppendText(nil, s.Chars, s.CDATA))
		}
		require.Nil(t, s.Err)
		require.Equal(t, want, got.String())
	})
}

// What XML has no place for is found wherever it stands among what it has.
func TestCharacters(t *testing.T) {
	around := "<a>\n  letters \t\r\n\né, \U0001F600\n</a>"
	for at := 3; at < len(around)-4; at++ {
		if !utf8.RuneStart(around[at]) {
			continue
		}
		for r, want := range map[rune]bool{0: false, 1: false, 8: false, '\t': true, '\n': true, 0xB: false, '\r': true, 0xE: false, 0x1F: false,
			' ': true, 0x7F: true, 0x80: true, 0xFEFF: true, 0xFFFD: true, 0xFFFE: false, 0xFFFF: false, 0x10FFFF: true} {
			require.Equal(t, want, scanner().Load([]byte(around[:at]+string(r)+around[at:]), ""), "%U at %d", r, at)
		}
	}
}
