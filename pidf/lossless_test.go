package pidf_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/beevik/etree"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// BSP-3-3: whatever a document with its elements in order holds, an independent parser finds the same in it after a
// decode and encode, in the same place: typed elements, unknown elements and attributes, comments and instructions,
// with prefixes mixed, redeclared and shadowed.
func TestLosslessInPlace(t *testing.T) {
	test := t
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{T: t, scope: []map[string]string{{"xml": "http://www.w3.org/XML/1998/namespace"}}}
		g.presence()
		doc := g.String()
		p, err := aa.Decode([]byte(doc))
		require.NoError(t, err, "%s", doc)
		out := p.Append(nil, pidf.BluStarDialect)
		require.Equal(t, events(g, []byte(doc)), events(g, out), "%s\n%s", doc, out)

		q, err := aa.Decode(out)
		require.NoError(t, err, "%s", out)
		require.Equal(t, string(out), string(q.Append(nil, pidf.BluStarDialect)))
		require.True(t, pidf.Equal(p, q), "%s\n%s", pidf.Canonical(p), pidf.Canonical(q))
		written(test, []byte(doc), out, p.Append(nil, pidf.StandardDialect))
	})
}

// generator writes a document whose elements are in the order of the schemas. It is not to be copied: a strings.Builder
// may point to itself.
type generator struct {
	strings.Builder
	*rapid.T
	scope []map[string]string // prefix to namespace, innermost last
	used  map[string]string   // prefixes that the element being written depends on
	ids   int
	noIDs bool // elements will be repeated: leave the identifiers of RPID out, which are made unique
}

func (g *generator) chance(percent int) bool {
	return rapid.IntRange(0, 99).Draw(g.T, "chance") < percent
}

func (g *generator) pick(from ...string) string { return rapid.SampledFrom(from).Draw(g.T, "pick") }

func (g *generator) text() string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab <>&\"'\n\t]é€😀:")), 1, 8, -1).Draw(g.T, "text") + "."
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&#62;", `"`, "&quot;", "\n", "&#xA;", "\t", "&#9;").Replace(s)
}

func (g *generator) lookup(prefix string) (string, bool) {
	for i := len(g.scope) - 1; i >= 0; i-- {
		if space, ok := g.scope[i][prefix]; ok {
			return space, true
		}
	}
	return "", prefix == ""
}

// prefix returns one that is bound to space, declaring it on the element being written where it must, or feels like it.
func (g *generator) prefix(space string, attribute bool) string {
	top := g.scope[len(g.scope)-1]
	candidates := []string{"dm", "rpid", "aa", "x", "y", "z"}
	if !attribute {
		candidates = append(candidates, "")
	}
	if space == "" {
		candidates = []string{""}
	}
	if !g.chance(15) {
		for _, p := range candidates {
			if bound, ok := g.lookup(p); ok && bound == space {
				g.used[p] = space
				return p
			}
		}
	}
	for {
		p := g.pick(candidates...)
		if bound, ok := g.used[p]; ok && bound != space {
			continue
		}
		top[p], g.used[p] = space, space
		return p
	}
}

func colon(prefix, local string) string {
	if prefix == "" {
		return local
	}
	return prefix + ":" + local
}

type attr struct{ space, local, value string }

// element writes an element with content, and unknown attributes with the given likelihood.
func (g *generator) element(space, local string, attrs []attr, unknown int, content func()) {
	g.scope = append(g.scope, map[string]string{})
	g.used = map[string]string{}
	tag := colon(g.prefix(space, false), local)
	if g.chance(unknown) {
		attrs = append(attrs, attr{g.pick("", "urn:x:1", "urn:x:2", pidf.NSRPID), "extra", g.text()})
	}
	var written strings.Builder
	for _, a := range attrs {
		name := a.local
		switch a.space {
		case "":
		case "http://www.w3.org/XML/1998/namespace":
			name = "xml:" + name
		default:
			name = colon(g.prefix(a.space, true), name)
		}
		fmt.Fprintf(&written, " %s=%s%s%s", name, `"`, escape(a.value), `"`)
	}
	g.WriteString("<" + tag + written.String())
	top := g.scope[len(g.scope)-1]
	for _, prefix := range slices.Sorted(maps.Keys(top)) {
		space := top[prefix]
		if prefix == "" {
			g.WriteString(` xmlns='` + space + `'`)
		} else {
			g.WriteString("\n xmlns:" + prefix + `="` + space + `"`)
		}
	}
	if content == nil {
		g.WriteString("/>")
	} else {
		g.WriteString(">")
		content()
		g.WriteString("</" + tag + " >")
	}
	g.scope = g.scope[:len(g.scope)-1]
}

func (g *generator) id() attr {
	g.ids++
	return attr{"", "id", fmt.Sprintf("id%d", g.ids)}
}

// leaf writes an element with a text.
func (g *generator) leaf(space, local, value string, attrs ...attr) {
	g.element(space, local, attrs, 10, func() {
		if g.chance(20) && !strings.Contains(value, "]]>") {
			g.WriteString("<![CDATA[" + value + "]]>")
			return
		}
		g.WriteString(escape(value))
	})
}

func (g *generator) note(space string) {
	var attrs []attr
	if g.chance(50) {
		attrs = []attr{{"http://www.w3.org/XML/1998/namespace", "lang", "en"}}
	}
	g.leaf(space, "note", g.text(), attrs...)
}

func (g *generator) some(most int, write func()) {
	for range rapid.IntRange(0, most).Draw(g.T, "some") {
		write()
	}
}

func (g *generator) maybe(write func()) { g.some(1, write) }

// misc writes comments and the like, which may stand anywhere.
func (g *generator) misc() {
	g.some(1, func() {
		g.WriteString(g.pick("<!-- a comment <&> -->", "<?keep me?>", "\n  "))
	})
}

// extensions writes elements that no field holds.
func (g *generator) extensions() {
	g.some(2, func() {
		g.misc()
		g.extension(2)
		g.misc()
	})
}

func (g *generator) extension(depth int) {
	space := g.pick("urn:x:1", "urn:x:2", pidf.NSCIPID, "")
	g.element(space, g.pick("ext", "more", "card"), nil, 40, func() {
		if depth == 0 {
			return
		}
		g.some(3, func() {
			switch rapid.IntRange(0, 4).Draw(g.T, "content") {
			case 0:
				g.WriteString(escape(g.text()))
			case 1:
				g.misc()
			case 2:
				g.WriteString("<![CDATA[<raw>]]>")
			case 3:
				g.element(g.pick(pidf.NSPIDF, pidf.NSRPID, pidf.NSDataModel), g.pick("note", "busy", "tuple"), nil, 20, nil)
			default:
				g.extension(depth - 1)
			}
		})
	})
}

func (g *generator) presence() {
	g.WriteString(`<?xml version="1.0" encoding="UTF-8"?>`)
	g.misc()
	g.element(pidf.NSPIDF, "presence", []attr{{"", "entity", "sip:a@example.com"}}, 30, func() {
		g.misc()
		g.some(3, func() { g.tuple(); g.misc() })
		g.some(2, func() { g.note(pidf.NSPIDF); g.misc() })
		g.extensions()
		g.some(2, func() { g.device(); g.extensions() })
		g.some(2, func() { g.person(); g.extensions() })
	})
	g.misc()
}

func (g *generator) timestamp(space string) {
	g.leaf(space, "timestamp", "2024-02-29T23:59:59Z")
}

func (g *generator) tuple() {
	g.element(pidf.NSPIDF, "tuple", []attr{g.id()}, 20, func() {
		g.misc()
		g.element(pidf.NSPIDF, "status", nil, 10, func() {
			g.misc()
			g.maybe(func() { g.leaf(pidf.NSPIDF, "basic", g.pick("open", "closed")) })
			g.extensions()
		})
		g.extensions()
		g.some(2, func() { g.leaf(pidf.NSDataModel, "deviceID", "urn:x:device"); g.extensions() })
		g.maybe(func() { g.leaf(pidf.NSRPID, "class", "sales"); g.extensions() })
		g.maybe(func() { g.choices("relationship", "friend"); g.extensions() })
		g.misc()
		g.maybe(func() {
			g.leaf(pidf.NSPIDF, "contact", "sip:a@example.com", attr{"", "priority", "0.8"})
			g.misc()
		})
		g.some(2, func() { g.note(pidf.NSPIDF); g.misc() })
		g.maybe(func() { g.timestamp(pidf.NSPIDF) })
		g.misc()
	})
}

func (g *generator) choices(local string, values ...string) {
	id := []attr{g.id()}
	if g.noIDs {
		id = nil
	}
	g.element(pidf.NSRPID, local, id, 20, func() {
		g.some(1, func() { g.note(pidf.NSRPID) })
		g.misc()
		g.element(pidf.NSRPID, g.pick(values...), nil, 10, nil)
		g.extensions()
		g.maybe(func() {
			g.leaf(pidf.NSRPID, "other", g.text())
			g.extensions()
		})
	})
}

func (g *generator) device() {
	g.element(pidf.NSDataModel, "device", []attr{g.id()}, 20, func() {
		g.extensions()
		g.maybe(func() {
			g.element(aa.Namespace, "line", nil, 10, func() {
				g.leaf(aa.Namespace, "DN", "2719")
				g.misc()
				g.leaf(aa.Namespace, "state", g.pick("idle", "busy"))
				g.maybe(func() { g.leaf(aa.Namespace, "forward", "6894", attr{"", "type", "immediate"}) })
				g.extensions()
			})
			g.extensions()
		})
		g.maybe(func() {
			g.leaf(pidf.NSDataModel, "deviceID", "urn:x:device")
			g.misc()
		})
		g.some(2, func() { g.note(pidf.NSDataModel) })
		g.maybe(func() { g.timestamp(pidf.NSDataModel) })
	})
}

func (g *generator) person() {
	g.element(pidf.NSDataModel, "person", []attr{g.id()}, 20, func() {
		g.extensions()
		g.maybe(func() { g.choices("activities", "busy", "away", "unheard-of"); g.extensions() })
		g.maybe(func() { g.bluStar(); g.extensions() })
		g.maybe(func() { g.choices("mood", "happy", "in_love"); g.extensions() })
		g.maybe(func() {
			g.element(pidf.NSRPID, "place-is", nil, 20, func() {
				g.some(1, func() { g.note(pidf.NSRPID) })
				g.element(pidf.NSRPID, "audio", nil, 0, func() { g.element(pidf.NSRPID, "noisy", nil, 0, nil) })
				g.misc()
			})
		})
		g.maybe(func() { g.leaf(pidf.NSRPID, "time-offset", "-240", attr{"", "description", g.text()}); g.extensions() })
		g.maybe(func() {
			g.leaf(pidf.NSRPID, "user-input", "idle", attr{"", "idle-threshold", "600"}, attr{"", "last-input", "2024-01-01T00:00:01Z"})
			g.extensions()
		})
		g.some(2, func() { g.note(pidf.NSDataModel); g.misc() })
		g.maybe(func() { g.timestamp(pidf.NSDataModel) })
	})
}

func (g *generator) bluStar() {
	g.element(aa.Namespace, "presence", nil, 20, func() {
		g.maybe(func() {
			g.element(aa.Namespace, "blustar", []attr{{"", "from", "2024-01-01T00:00:01Z"}}, 20, func() {
				g.leaf(aa.Namespace, "status", g.pick("busy", "do not disturb"), attr{"", "display", g.text()})
				g.misc()
				g.maybe(func() { g.note(aa.Namespace) })
				g.maybe(func() { g.timestamp(aa.Namespace) })
				g.extensions()
			})
			g.misc()
		})
		g.maybe(func() {
			g.element(aa.Namespace, "A400", nil, 20, func() {
				g.choices("activities", "busy")
				g.maybe(func() { g.timestamp(aa.Namespace) })
				g.extensions()
			})
		})
		g.some(2, func() {
			g.element(aa.Namespace, "calendar", nil, 20, func() {
				for _, field := range [][2]string{{"id", "1"}, {"state", "out of office"}, {"subject", "a < b"}, {"location", "here"},
					{"from", "2024-01-01T00:00:01Z"}, {"end", "2024-01-01T01:00:01Z"}} {
					g.leaf(aa.Namespace, field[0], field[1])
					g.misc()
				}
				g.maybe(func() { g.element(aa.Namespace, "allday", nil, 0, nil) })
				g.maybe(func() { g.leaf(aa.Namespace, "reminder-offset", "15") })
				g.extensions()
			})
		})
		g.extensions()
	})
}

// BSP-3-2, BSP-3-3: whatever the order of elements, and however often they come, each is still there after a decode and
// encode; only their order is mended, once and for all.
func TestLosslessDisorder(t *testing.T) {
	test := t
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{T: t, scope: []map[string]string{{"xml": "http://www.w3.org/XML/1998/namespace"}}, noIDs: true}
		g.presence()
		tree := etree.NewDocument()
		tree.ReadSettings.PreserveCData = true
		tree.WriteSettings.CanonicalAttrVal = true
		require.NoError(t, tree.ReadFromString(g.String()))
		g.disorder(tree.Root())
		doc, err := tree.WriteToBytes()
		require.NoError(t, err)

		p, err := aa.Decode(doc)
		require.NoError(t, err, "%s", doc)
		written(test, doc, p.Append(nil, pidf.BluStarDialect), p.Append(nil, pidf.StandardDialect))
		for _, dialect := range []pidf.Dialect{pidf.BluStarDialect, pidf.StandardDialect} {
			out := p.Append(nil, dialect)
			q, err := aa.Decode(out)
			require.NoError(t, err, "%s", out)
			require.Equal(t, string(out), string(q.Append(nil, dialect)), "%s", doc)
			if dialect == pidf.BluStarDialect {
				require.Equal(t, pidf.Canonical(p), pidf.Canonical(q))
				require.Subset(t, counted(events(g, out)), counted(events(g, doc)), "%s\n%s", doc, out)
			}
		}
	})
}

// disorder shuffles the children of the elements that the typed model knows, and repeats some.
func (g *generator) disorder(e *etree.Element) {
	children := e.ChildElements()
	for _, child := range children {
		switch child.Tag {
		case "presence", "tuple", "device", "person", "status", "line", "activities", "mood", "blustar", "A400", "calendar":
			if !strings.HasPrefix(child.NamespaceURI(), "urn:x") && len(child.ChildElements()) > 0 {
				g.disorder(child)
			}
		}
	}
	if len(children) < 2 {
		return
	}
	for _, child := range children {
		if g.chance(10) {
			e.AddChild(child.Copy())
		}
	}
	order := rapid.Permutation(slices.Clone(e.Child)).Draw(g.T, "order")
	for _, token := range order {
		e.AddChild(token) // moves it to the end
	}
}

// counted numbers equal events, which makes the list a set.
func counted(events []string) []string {
	seen := map[string]int{}
	out := make([]string, len(events))
	for i, e := range events {
		seen[e]++
		out[i] = fmt.Sprint(e, " #", seen[e])
	}
	return out
}
