package main

import (
	"errors"

	"github.com/openblustar/blustar/internal/strictjson"
)

// fieldError says which key of the configuration is wrong, and why.
type fieldError struct {
	Field  string // "auth.mode"; empty for the text as a whole
	Reason string
}

func (e *fieldError) Error() string { return (*strictjson.Error)(e).Error() }

// decodeStrict is [strictjson.Decode] with errors of this program.
func decodeStrict(data []byte, v any) error {
	err := strictjson.Decode(data, v)
	if bad, ok := errors.AsType[*strictjson.Error](err); ok {
		return (*fieldError)(bad)
	}
	return err
}

func printable(s string) string { return strictjson.Printable(s) }
