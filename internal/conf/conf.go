// Package conf fills in the defaults of Config structs, checks them, and tells all
// that is wrong with one at once:
//
//	func (c *Config) complete() error {
//		check := conf.Of("caldav: Config")
//		check.Require("URL", c.URL != "")
//		conf.Default(check, "Interval", &c.Interval, time.Minute)
//		conf.Default(check, "Limits.Polls", &c.Limits.Polls, 16)
//		conf.OneOf(check, "NAT", c.NAT, NATAuto, NATAlways, NATNever)
//		check.Fail("Filter", parse(c.Filter))
//		return check.Err()
//	}
//
// Each line of the error begins with the name of the struct and the field:
// "caldav: Config.Interval: -1s is negative".
package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Check collects what is wrong with one struct. Make it with [Of].
type Check struct {
	name string
	errs []error
}

// Of returns a Check for the struct of this name, as "caldav: Config".
func Of(name string) *Check { return &Check{name: name} }

// Fail notes that err is wrong with a field; nil is nothing.
func (c *Check) Fail(field string, err error) {
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s.%s: %w", c.name, field, err))
	}
}

// Failf notes what is wrong with a field.
func (c *Check) Failf(field, format string, args ...any) {
	c.Fail(field, fmt.Errorf(format, args...))
}

// Require notes that a field is missing, unless it is there.
func (c *Check) Require(field string, there bool) {
	if !there {
		c.Fail(field, errMissing)
	}
}

var errMissing = errors.New("missing")

// Err returns all that was noted, in that order, or nil. [errors.Is] and
// [errors.As] find each of them.
func (c *Check) Err() error { return errors.Join(c.errs...) }

// A Number is what bounds, counts and durations are made of.
type Number interface{ ~int | ~int32 | ~int64 }

// Default sets the field v to byDefault where it is zero, and notes it where it is
// negative.
func Default[T Number](c *Check, field string, v *T, byDefault T) {
	if *v == 0 {
		*v = byDefault
	}
	if *v < 0 {
		c.Failf(field, "%v is negative", *v)
	}
}

// Within notes a field that is not from least to most.
func Within[T Number](c *Check, field string, v, least, most T) {
	if v < least || v > most {
		c.Failf(field, "%v is not from %v to %v", v, least, most)
	}
}

// Or sets the field v to byDefault where it has its zero value.
func Or[T comparable](v *T, byDefault T) {
	var none T
	if *v == none {
		*v = byDefault
	}
}

// OneOf notes a field that has none of the values. The zero value, where it is one
// of them, is called nothing.
func OneOf[T ~string](c *Check, field string, v T, values ...T) {
	if slices.Contains(values, v) {
		return
	}
	names := make([]string, 0, len(values))
	for _, value := range values {
		if value != "" {
			names = append(names, string(value))
		}
	}
	if slices.Contains(values, "") {
		names = append(names, "nothing")
	}
	last := len(names) - 1
	want := names[last]
	if last > 0 {
		want = strings.Join(names[:last], ", ") + " or " + want
	}
	c.Failf(field, "%q: want %s", string(v), want)
}
