package presence

import "time"

// unsupportedType refuses a body, naming what would be taken.
func unsupportedType(accept string) error { return &typeError{accept} }

type typeError struct{ accept string }

func (e *typeError) Error() string { return "presence: unsupported body type" }

// tooBrief refuses an expiry.
type tooBrief struct{ min time.Duration }

func (e *tooBrief) Error() string { return "presence: expiry too brief" }
