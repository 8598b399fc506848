package pidf_test

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/stretchr/testify/require"
)

// The documents of §4.4.
var notifies = []string{"publish", "calendar", "line"}

func BenchmarkEncode(b *testing.B) {
	for _, name := range notifies {
		p, err := aa.Decode(read(b, "spec", "4.4-notify-"+name+".xml"))
		require.NoError(b, err)
		for _, dialect := range []pidf.Dialect{pidf.BluStarDialect, pidf.StandardDialect} {
			b.Run(name+"/"+dialect.String(), func(b *testing.B) {
				var dst []byte
				b.ReportAllocs()
				for b.Loop() {
					dst = p.Append(dst[:0], dialect)
				}
				b.SetBytes(int64(len(dst)))
			})
			b.Run(name+"/"+dialect.String()+"/new", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Append(nil, dialect)
				}
			})
		}
	}
}

// BenchmarkDecode compares Decode with encoding/xml into a struct of the same fields, and with etree's parse alone, on
// the documents of §4.4. Decode takes at most half of encoding/xml's time and allocations, and no more than etree.
func BenchmarkDecode(b *testing.B) {
	for _, name := range notifies {
		data := read(b, "spec", "4.4-notify-"+name+".xml")
		b.Run(name+"/pidf", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := aa.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/encoding-xml", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := xml.Unmarshal(data, new(xmlPresence)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/etree", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := etree.NewDocument().ReadFromBytes(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// published is what an ordinary client publishes: two services, and what its user does.
const published = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:load17@example.com">
<tuple id="desk"><status><basic>open</basic></status><contact priority="0.8">sip:load17@example.com</contact><note>lg:17:4711:1764288000000000000;</note><timestamp>2025-01-01T00:00:01Z</timestamp></tuple>
<tuple id="mobile"><status><basic>closed</basic></status><contact priority="0.3">tel:+15550100</contact><note xml:lang="en">Leave a message</note></tuple>
<dm:person id="me"><rpid:activities><rpid:on-the-phone/></rpid:activities><rpid:mood><rpid:happy/></rpid:mood><rpid:place-type><rpid:office/></rpid:place-type><rpid:class>work</rpid:class><dm:note>Back in 17 minutes</dm:note><dm:timestamp>2025-01-01T00:00:01Z</dm:timestamp></dm:person>
</presence>
`

// BenchmarkDecodePublished reads a document as a server does for each PUBLISH: into memory that is used again, and not.
func BenchmarkDecodePublished(b *testing.B) {
	for name, room := range map[string]*pidf.Room{"room": new(pidf.Room), "new": nil} {
		b.Run(name, func(b *testing.B) {
			decoder, data := pidf.Decoder{Types: aa.Types(), Room: room}, []byte(published)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decoder.Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// sized returns a document of about that many bytes: tuples with extensions, persons, and notes with references.
func sized(size int) []byte {
	var b strings.Builder
	b.WriteString(open1)
	for i := 0; b.Len() < size-len(close1)-350; i++ {
		fmt.Fprintf(&b, `<tuple id="t%d"><status><basic>open</basic><x:y xmlns:x="urn:x:1" a="b">c</x:y></status><note>a &amp; b</note></tuple>`, i)
		fmt.Fprintf(&b, `<dm:person id="p%d"><rpid:activities><rpid:busy/></rpid:activities><x xmlns="urn:x:2"/><!-- c --></dm:person>`, i)
	}
	b.WriteString(close1)
	return []byte(b.String())
}

// The cost of a byte does not depend on the size of the document.
func BenchmarkSizes(b *testing.B) {
	for _, size := range []int{1 << 10, 15 << 10, 1 << 20} {
		data := sized(size)
		p, err := aa.Decode(data)
		require.NoError(b, err)
		perByte := func(b *testing.B, run func()) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			b.SetBytes(int64(len(data)))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(data)), "ns/B")
		}
		b.Run(fmt.Sprintf("decode/%dKiB", size>>10), func(b *testing.B) {
			perByte(b, func() { _, _ = aa.Decode(data) })
		})
		var dst []byte
		b.Run(fmt.Sprintf("encode/%dKiB", size>>10), func(b *testing.B) {
			perByte(b, func() { dst = p.Append(dst[:0], pidf.BluStarDialect) })
		})
		b.Run(fmt.Sprintf("encode-standard/%dKiB", size>>10), func(b *testing.B) {
			perByte(b, func() { dst = p.Append(dst[:0], pidf.StandardDialect) })
		})
		q, err := aa.Decode(data)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("equal/%dKiB", size>>10), func(b *testing.B) {
			perByte(b, func() { pidf.Equal(p, q) })
		})
	}
}

func BenchmarkEqual(b *testing.B) {
	p, err := aa.Decode(read(b, "spec", "4.4-notify-publish.xml"))
	require.NoError(b, err)
	q, err := aa.Decode(read(b, "spec", "4.4-notify-publish.xml"))
	require.NoError(b, err)
	b.Run("same", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pidf.Equal(p, q)
		}
	})
	aa.LineOf(&q.Devices[0]).State = aa.LineBusy
	b.Run("other", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pidf.Equal(p, q)
		}
	})
}

// The speed that other packages count on, with room for a slow machine; the benchmarks have the figures.
func TestSpeed(t *testing.T) {
	if raceDetector {
		t.Skip("a sync.Pool gives nothing back now and then under the race detector")
	}
	data := read(t, "spec", "4.4-notify-calendar.xml")
	p, err := aa.Decode(data)
	require.NoError(t, err)
	dst := p.Append(nil, pidf.BluStarDialect)
	require.Zero(t, testing.AllocsPerRun(100, func() { dst = p.Append(dst[:0], pidf.BluStarDialect) }))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { p.Append(nil, pidf.BluStarDialect) }), 1.0)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { dst = p.Append(dst[:0], pidf.StandardDialect) }), 2.0)

	ours := testing.AllocsPerRun(100, func() { _, _ = aa.Decode(data) })
	theirs := testing.AllocsPerRun(100, func() { _ = xml.Unmarshal(data, new(xmlPresence)) })
	require.LessOrEqual(t, ours, theirs/2)
}

// The same fields for encoding/xml.
type (
	xmlNote struct {
		Lang string `xml:"http://www.w3.org/XML/1998/namespace lang,attr"`
		Text string `xml:",chardata"`
	}
	xmlPresence struct {
		Entity  string      `xml:"entity,attr"`
		Tuples  []xmlTuple  `xml:"urn:ietf:params:xml:ns:pidf tuple"`
		Notes   []xmlNote   `xml:"urn:ietf:params:xml:ns:pidf note"`
		Devices []xmlDevice `xml:"urn:ietf:params:xml:ns:pidf:data-model device"`
		Persons []xmlPerson `xml:"urn:ietf:params:xml:ns:pidf:data-model person"`
	}
	xmlTuple struct {
		ID      string `xml:"id,attr"`
		Basic   string `xml:"status>basic"`
		Contact *struct {
			URI      string `xml:",chardata"`
			Priority string `xml:"priority,attr"`
		} `xml:"contact"`
		Notes     []xmlNote  `xml:"note"`
		Timestamp *time.Time `xml:"timestamp"`
	}
	xmlDevice struct {
		ID   string `xml:"id,attr"`
		Line *struct {
			DN      string `xml:"DN"`
			State   string `xml:"state"`
			Forward *struct {
				Type        string `xml:"type,attr"`
				Destination string `xml:",chardata"`
			} `xml:"forward"`
		} `xml:"line"`
		DeviceID  string    `xml:"deviceID"`
		Notes     []xmlNote `xml:"note"`
		Timestamp string    `xml:"timestamp"` // §4.4 has a space in it
	}
	xmlPerson struct {
		ID         string `xml:"id,attr"`
		Activities *struct {
			Notes  []xmlNote `xml:"note"`
			Values []struct {
				XMLName xml.Name
				Text    string `xml:",chardata"`
			} `xml:",any"`
		} `xml:"activities"`
		Presence *struct {
			BluStar *struct {
				Status    string     `xml:"status"`
				Note      *xmlNote   `xml:"note"`
				Timestamp *time.Time `xml:"timestamp"`
			} `xml:"blustar"`
			Calendar []struct {
				ID        string     `xml:"id"`
				State     string     `xml:"state"`
				Subject   string     `xml:"subject"`
				Location  string     `xml:"location"`
				From      *time.Time `xml:"from"`
				End       *time.Time `xml:"end"`
				Timestamp *time.Time `xml:"timestamp"`
			} `xml:"calendar"`
		} `xml:"presence"`
		Notes     []xmlNote  `xml:"note"`
		Timestamp *time.Time `xml:"timestamp"`
	}
)

// hostile are documents that would cost the square of their size if something looked through all that came before.
var hostile = map[string]func(n int) string{
	"same identifiers": func(n int) string { return open1 + strings.Repeat(`<tuple id="a"/>`, n/15) + close1 },
	"attributes on fields": func(n int) string {
		return open1 + `<tuple id="a">` + strings.Repeat(`<dm:deviceID x="1">d</dm:deviceID>`, n/34) + `</tuple>` + close1
	},
	"attributes on activities": func(n int) string {
		return open1 + `<dm:person id="a"><rpid:activities>` + strings.Repeat(`<rpid:busy x="1"/>`, n/18) + `</rpid:activities></dm:person>` + close1
	},
	"many prefixes in scope": func(n int) string {
		var b strings.Builder
		b.WriteString(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"`)
		for i := range 60 {
			fmt.Fprintf(&b, ` xmlns:p%d="urn:x:%d"`, i, i)
		}
		return b.String() + ">" + strings.Repeat(`<p0:x>p1:</p0:x>`, n/16) + close1
	},
	"extensions out of place": func(n int) string {
		return open1 + strings.Repeat(`<x xmlns="urn:x"/><tuple id="a"/>`, n/34) + close1
	},
	"fields that do not fit": func(n int) string {
		return open1 + `<tuple id="a">` + strings.Repeat(`<note><b/></note>`, n/17) + `</tuple>` + close1
	},
	"warnings":   func(n int) string { return open1 + strings.Repeat("<tuple/>\n", n/9) + close1 },
	"comments":   func(n int) string { return open1 + strings.Repeat(`<!---->`, n/7) + close1 },
	"references": func(n int) string { return open1 + `<note>` + strings.Repeat(`&#38;`, n/5) + `</note>` + close1 },
	"CDATA": func(n int) string {
		return open1 + `<note>` + strings.Repeat(`<![CDATA[]]>a`, n/13) + `</note>` + close1
	},
	"equal facts": func(n int) string { return open1 + strings.Repeat(`<note>a</note>`, n/14) + close1 },
	"nested lists": func(n int) string {
		return open1 + `<x>` + strings.Repeat(`<y>`, 25) + strings.Repeat(`<z/>`, n/4) + strings.Repeat(`</y>`, 25) + `</x>` + close1
	},
}

// BenchmarkHostile reports the cost of a byte in documents of an attacker, through decode, encode and compare; it is
// the same for 64 KiB and 512 KiB.
func BenchmarkHostile(b *testing.B) {
	decoder := pidf.Decoder{Limits: pidf.Limits{Elements: -1}}
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		for _, size := range []int{64 << 10, 512 << 10} {
			data := []byte(hostile[name](size))
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				for b.Loop() {
					p, err := decoder.Decode(data)
					if err != nil {
						b.Fatal(err)
					}
					out := p.Append(nil, pidf.StandardDialect)
					q, err := pidf.Decoder{Limits: pidf.Limits{Bytes: -1, Elements: -1}}.Decode(out)
					if err != nil {
						b.Fatal(err)
					}
					pidf.Equal(p, q)
					_ = p.Validate(pidf.StandardDialect)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(data)), "ns/B")
			})
		}
	}
}
