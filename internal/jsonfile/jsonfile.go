// Package jsonfile reads JSON that people write into files.
package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Decode reads a text of one JSON value into v. Keys that v has not are errors, so
// that a misspelt one is noticed. An error begins with the line where
// encoding/json tells the place.
func Decode(r io.Reader, v any) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return locate(text, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("text after the end of the JSON value")
	}
	return nil
}

func locate(text []byte, err error) error {
	var offset int64 // just behind what is wrong
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	} else if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = kind.Offset
	} else {
		return err
	}
	before := text[:max(0, min(int(offset)-1, len(text)))]
	return fmt.Errorf("line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
}
