package pidf

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/xsd"
)

// Violation is one rule that a document breaks.
type Violation struct {
	Path string // of the offender, such as "presence/tuple[audio]/status/basic"
	Rule string // what is wrong with it
}

// String returns path and rule.
func (v Violation) String() string { return v.Path + ": " + v.Rule }

// Violations are all that Validate found, in the order of the document. It is the type of its error.
type Violations []Violation

// Error lists the first few violations.
func (vs Violations) Error() string {
	const most = 5
	var b strings.Builder
	b.WriteString("pidf: invalid document: ")
	for i, v := range vs {
		if i == most {
			b.WriteString("; and " + strconv.Itoa(len(vs)-most) + " more")
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// Validate checks the rules of the schemas that an implementation depends on: values of enumerations and numbers,
// mandatory and repeated attributes and elements, values that their type could not hold, unknown attributes, and for
// the Standard dialect identifiers and the place of extensions. It looks at the document as it is; encoding repairs
// some of what it finds. The error is nil or of type [Violations].
func (p *Presence) Validate(d Dialect) error {
	v := validator{dialect: d, path: make([]byte, 0, 64)}
	f := Fields{v: &v, frame: frame{ns: idPIDF}}
	v.child(&f, "presence", &p.Extra, p.Fields)
	if len(v.found) == 0 {
		return nil
	}
	return v.found
}

type validator struct {
	dialect Dialect
	path    []byte
	ids     map[string]struct{}
	found   Violations
}

// child checks an element with a step added to the path.
func (v *validator) child(f *Fields, step string, x *Extra, fields func(*Fields)) {
	n, outer := len(v.path), f.frame
	if n > 0 {
		v.path = append(v.path, '/')
	}
	v.path = append(v.path, step...)
	f.mode, f.frame = validating, frame{x: x, own: outer.ns, ns: outer.ns}
	fields(f)
	v.extra(f, x)
	f.frame, v.path = outer, v.path[:n]
}

func (v *validator) report(step, rule string) {
	path := string(v.path)
	if step != "" {
		path += "/" + step
	}
	v.found = append(v.found, Violation{path, rule})
}

// oneOf checks a value of a list.
func (v *validator) oneOf(step, value, list string) {
	switch {
	case xsd.IsOneOf(value, list):
	case value == "":
		v.report(step, "missing")
	default:
		v.report(step, strconv.Quote(value)+" is not one of "+strings.ReplaceAll(list, "|", ", "))
	}
}

// value checks a field that is set, or missing.
func (v *validator) value(step string, value any, r Rule, values []string) {
	s, isString := value.(*string)
	switch {
	case isString && len(values) > 0 && (*s != "" || r&Need != 0):
		v.oneOf(step, *s, values[0])
	case isString && r&qvalue != 0 && *s != "" && !xsd.IsPriority(*s):
		v.report(step, strconv.Quote(*s)+" is not from 0 to 1 with at most three decimals")
	case r&positive != 0:
		if n, ok := value.(*int); ok && *n < 0 {
			v.report(step, strconv.Itoa(*n)+" is not positive")
		}
	}
}

// attr checks an attribute. One that the field could not hold is among the unknown ones, and may be right all the same.
func (v *validator) attr(f *Fields, name string, value any, r Rule, values []string) {
	step := "@" + name
	l := f.x.leaf(step)
	text, kept := f.x.Attr(Name{Local: name})
	if !kept && l != nil {
		text = l.raw
	}
	if kept {
		f.found = append(f.found, name)
	}
	s, isString := value.(*string)
	switch {
	case isEmpty(value) && (kept || l != nil):
		if !allows(value, text, r, values) {
			v.report(step, strconv.Quote(text)+" is not allowed")
		}
	case f.missing(), r&Need != 0 && isString && *s == "" && len(values) == 0:
		v.report(step, "missing")
	default:
		v.value(step, value, r, values)
	}
}

// leaf checks a child that is a text.
func (v *validator) leaf(f *Fields, name string, value any, r Rule, values []string) {
	if s, ok := value.(*string); ok && name == "id" && *s != "" {
		v.name(*s)
	}
	if isEmpty(value) {
		for i := range f.x.Extensions {
			if e := &f.x.Extensions[i]; e.unread && e.name.Local == name {
				if !allows(value, e.Text(), r, values) {
					v.report(name, "unreadable value")
				}
				return
			}
		}
		if f.missing() || r&Need != 0 && isTime(value) {
			v.report(name, "missing")
			return
		}
	}
	l := f.x.leaf(name)
	if l != nil {
		v.attrs(name+"/", l.attrs)
	}
	if s, ok := value.(*string); ok && *s == "" && l != nil && len(values) > 0 {
		v.oneOf(name, "", values[0])
		return
	}
	v.value(name, value, r, values)
}

// allows reports whether a text that a field cannot hold is a value of its type in the schema.
func allows(v any, text string, r Rule, values []string) bool {
	text = markup.Trim(text)
	switch v.(type) {
	case *time.Time:
		return xsd.IsDateTime(text)
	case *bool:
		return text == "true" || text == "false" || text == "0" || text == "1"
	case *string:
		return len(values) == 0 && r&qvalue == 0 || len(values) > 0 && xsd.IsOneOf(text, values[0])
	case *uint32:
		return xsd.IsInteger(text, 0) && len(strings.TrimLeft(text, "+0")) < 10
	}
	least := 0
	switch v.(type) {
	case *int, **int:
		if least = -1; r&positive != 0 {
			least = 1
		}
	}
	return xsd.IsInteger(text, least)
}

// name adds an identifier to the step of its element.
func (v *validator) name(id string) {
	v.path = append(v.path, '[')
	v.path = append(v.path, id...)
	v.path = append(v.path, ']')
}

// id checks an identifier.
func (v *validator) id(f *Fields, id string, need bool) {
	if id != "" && need {
		v.name(id)
	}
	switch {
	case id == "" && (need || f.x.leaf("@id") != nil):
		v.report("@id", "missing")
	case id != "" && (!need || v.dialect == StandardDialect):
		v.xmlID(id)
	}
}

// xmlID checks an xs:ID.
func (v *validator) xmlID(id string) {
	if !markup.IsNCName(id) {
		v.report("@id", strconv.Quote(id)+" is no NCName")
	}
	if _, twice := v.ids[id]; twice {
		v.report("@id", strconv.Quote(id)+" is not unique")
	}
	if v.ids == nil {
		v.ids = make(map[string]struct{})
	}
	v.ids[id] = struct{}{}
}

func (v *validator) note(step string, n *Note) {
	if !xsd.IsLanguage(n.Lang) {
		v.report(step+"/@xml:lang", strconv.Quote(n.Lang)+" is no language")
	}
	if n.Extra != nil {
		v.attrs(step+"/", n.Extra.Attrs)
	}
}

// unreadable reports a child whose text its field could not take, unless the schema would. It reports whether there is
// one.
func (v *validator) unreadable(f *Fields, name string, e Element) bool {
	for i := range f.x.Extensions {
		x := &f.x.Extensions[i]
		if !x.unread || x.name.Local != name {
			continue
		}
		outer := f.frame
		f.mode, f.frame, f.value = judging, frame{x: e.extra()}, x.Text()
		if f.value == "" {
			f.value = " "
		}
		e.Fields(f)
		if f.mode, f.frame = validating, outer; f.value != "" {
			v.report(name, "unreadable value")
		}
		return true
	}
	return false
}

// choices checks values that are elements.
func (v *validator) choices(a *Activities, list string, need bool) {
	switch {
	case list == audioPlaces || list == videoPlaces || list == textPlaces:
		if len(a.Values) != 1 || holdsElements(a.Extensions) {
			v.report("", "not one value")
		}
	case need && len(a.Values) == 0 && !holdsElements(a.Extensions):
		v.report("", "without a value")
	}
	for i := range a.Values {
		c := &a.Values[i]
		switch {
		case !markup.IsNCName(c.Name) || !xsd.IsOneOf(c.Name, list):
			v.report(c.Name, "unknown value")
		case c.Text != "" && c.Name != "other":
			v.report(c.Name, "has content")
		case c.Name == "unknown" && len(a.Values) > 1 && list != relationships && list != serviceClasses:
			v.report(c.Name, "not alone")
		case c.Name == "other":
			v.note(c.Name, &Note{Lang: c.Lang, Extra: c.Extra})
		case c.Lang != "" || c.Extra != nil:
			v.report(c.Name, "has attributes")
		}
	}
}

const nsSchemaInstance = "http://www.w3.org/2001/XMLSchema-instance"

// attrs checks that there are none but those that any element may have.
func (v *validator) attrs(step string, as []Attr) {
	for i := range as {
		if as[i].Name.Space != nsSchemaInstance {
			v.report(step+"@"+as[i].Name.String(), "unknown attribute")
		}
	}
}

// extra checks what the typed model could not hold. In the namespace of the element, extensions have no place: there
// they are elements that came twice, or, for the Standard dialect to complain about, unknown.
func (v *validator) extra(f *Fields, x *Extra) {
	own := f.space(f.own)
	if !f.open {
		for i := range x.Attrs {
			if a := &x.Attrs[i]; a.Name.Space != "" || !slices.Contains(f.found, a.Name.Local) {
				v.attrs("", x.Attrs[i:i+1])
			}
		}
	}
	for i := range x.Extensions {
		e := &x.Extensions[i]
		name := e.name
		switch {
		case e.value != nil:
			f.ns = f.spaceID(name.Space)
			v.child(f, name.Local, e.value.extra(), e.value.Fields)
		case e.unread:
		case name.Local == "":
			if v.dialect == StandardDialect && isStrayText(e) {
				v.report("text()", "text between elements")
			}
		case name.Space == own && e.demoted:
			v.report(name.Local, "one too many")
		case v.dialect == StandardDialect && name.Space == own:
			v.report(name.Local, "unknown element")
		case v.dialect == StandardDialect && name.Space == "":
			v.report(name.Local, "element without a namespace")
		}
	}
}
