// Package strictjson reads JSON that people write, and says which key is wrong.
package strictjson

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// Error says which key of a JSON text is wrong, and why.
type Error struct {
	Field  string // "auth.mode", "[0].from"; empty for the text as a whole
	Reason string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// Decode reads one JSON value into v, a pointer. Keys are compared with their case,
// unknown ones and repeated ones are errors, and every error is an [*Error]:
// encoding/json names neither the way to an unknown key nor the place in a list, and
// takes the last of a key that is there twice. What the text does not mention stays
// as it is in v.
func Decode(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	var text json.RawMessage
	if err := dec.Decode(&text); err != nil {
		return syntaxError(data, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return &Error{Reason: "text after the end of the JSON value"}
	}
	return decodeValue(text, "", reflect.ValueOf(v).Elem())
}

// Read is [Decode] of what r has.
func Read(r io.Reader, v any) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return Decode(text, v)
}

func syntaxError(data []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return &Error{Reason: fmt.Sprintf("line %d: %v", line, syntax)}
	}
	return &Error{Reason: "no complete JSON value"}
}

func decodeValue(text json.RawMessage, at string, v reflect.Value) error {
	if custom := v.Addr().Interface(); isCustom(custom) {
		if err := json.Unmarshal(text, custom); err != nil {
			return &Error{at, reason(err, v.Type())}
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if string(text) == "null" {
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return decodeValue(text, at, v.Elem())
	case reflect.Struct, reflect.Map:
		return decodeObject(text, at, v)
	case reflect.Slice:
		return decodeList(text, at, v)
	}
	if string(text) == "null" {
		return &Error{at, "null: want " + wanted(v.Type())}
	}
	if err := json.Unmarshal(text, v.Addr().Interface()); err != nil {
		return &Error{at, reason(err, v.Type())}
	}
	return nil
}

func decodeObject(text json.RawMessage, at string, v reflect.Value) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, _ := dec.Token(); open != json.Delim('{') {
		return &Error{at, "want an object"}
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, _ := dec.Token() // the text is known to be JSON
		key, _ := token.(string)
		path := strings.TrimPrefix(at+"."+key, ".")
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return &Error{Printable(path), err.Error()}
		}
		if seen[key] {
			return &Error{Printable(path), "is there twice"}
		}
		seen[key] = true
		if v.Kind() == reflect.Map {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			item := reflect.New(v.Type().Elem()).Elem()
			if err := decodeValue(value, Printable(path), item); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key), item)
			continue
		}
		field, ok := fieldOf(v, key)
		if !ok {
			return &Error{cmp.Or(Printable(path), `""`), "unknown key"}
		}
		if err := decodeValue(value, path, field); err != nil {
			return err
		}
	}
	return nil
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "" && name == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func decodeList(text json.RawMessage, at string, v reflect.Value) error {
	var items []json.RawMessage
	if json.Unmarshal(text, &items) != nil || items == nil {
		return &Error{at, "want a list"}
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := decodeValue(item, fmt.Sprintf("%s[%d]", at, i), list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func isCustom(v any) bool {
	switch v.(type) {
	case json.Unmarshaler, encoding.TextUnmarshaler:
		return true
	}
	return false
}

// reason says what is wrong without Go's names of types.
func reason(err error, t reflect.Type) string {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok || t == reflect.TypeFor[time.Time]() {
		return "want " + wanted(t)
	}
	return err.Error()
}

func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[time.Time]() {
		return "a time such as 2026-01-02T10:00:00Z"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}

// Printable makes what somebody else wrote fit for one line of output.
func Printable(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
