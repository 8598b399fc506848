package pidf

import (
	"encoding/xml"
	"errors"
	"reflect"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Clone returns a copy of the document that shares nothing with it that can be changed, but for unexported fields of a
// caller's own types.
func (p *Presence) Clone() *Presence {
	c := *p
	unshare(reflect.ValueOf(&c).Elem())
	return &c
}

// unshare replaces by copies what a value points to.
func unshare(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			unshare(c.Elem())
			v.Set(c)
		}
	case reflect.Slice:
		c := reflect.AppendSlice(reflect.Zero(v.Type()), v)
		for i := range c.Len() {
			unshare(c.Index(i))
		}
		v.Set(c)
	case reflect.Struct:
		for field := range v.Type().Fields() {
			if field.IsExported() {
				unshare(v.FieldByIndex(field.Index))
			}
		}
		if e, ok := v.Addr().Interface().(*Extension); ok && e.value != nil {
			value := reflect.ValueOf(&e.value).Elem()
			own := reflect.New(value.Elem().Type()).Elem()
			own.Set(value.Elem())
			unshare(own)
			value.Set(own)
		}
	}
}

// MarshalXML writes the document, in the Standard dialect, inside a document of encoding/xml: as a field of somebody's
// struct, such as the response of HELD (RFC 5985). The name in the tag of the field does not count.
func (p Presence) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	s := trusted(string(p.Append(nil, StandardDialect))[len(xmlDeclaration):])
	return markup.Encode(e, &s)
}

// UnmarshalXML reads the document inside a document of encoding/xml, with the default limits and without types of
// extensions.
func (p *Presence) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	doc, err := markup.Copy(d, start, markup.Limits(Limits{}.withDefaults()))
	if e, ok := errors.AsType[*markup.Error](err); ok {
		return syntaxError(e)
	}
	if err != nil {
		return err
	}
	q, err := Decode(doc)
	if err != nil {
		return err
	}
	*p = *q
	return nil
}
