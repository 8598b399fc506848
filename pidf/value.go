package pidf

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/xsd"
)

// parse sets v to what a text says. Canonical means that v is written just so; a text that is not is kept beside it.
// It reports false, and leaves v alone, where v cannot hold what the text says.
func (d *decoder) parse(v any, s, name string, r Rule, values []string) (canonical, ok bool) {
	switch v := v.(type) {
	case *string:
		*v = d.str(s, name, r, values)
		return *v != "" || r&(Need|Default) == Need && values == nil, true
	case *time.Time:
		t, c, zone, ok := xsd.ParseTime(markup.Trim(s))
		if !ok {
			return false, false
		}
		if !zone {
			d.warn("time " + markup.Trim(s) + " without a zone taken for UTC")
		}
		*v = t
		return c, true
	case *bool:
		t, yes, no := markup.Trim(s), "true", "false"
		if values != nil {
			yes, no, _ = strings.Cut(values[0], "|")
		} else if t == "1" || t == "0" {
			*v = t == "1"
			return false, true
		}
		*v = t == yes
		return *v, *v || t == no
	case *int:
		n, err := strconv.Atoi(markup.Trim(s))
		if err == nil {
			*v = n
		}
		return xsd.IsCanonicalInteger(s) && n != 0, err == nil
	case **int:
		n, err := strconv.Atoi(markup.Trim(s))
		if err == nil {
			*v = &n
		}
		return xsd.IsCanonicalInteger(s), err == nil
	case *uint32:
		n, err := strconv.ParseUint(xsd.TrimInteger(s), 10, 32)
		if err == nil {
			*v = uint32(n)
		}
		return xsd.IsCanonicalInteger(s) && n != 0, err == nil
	case *uint64:
		n, err := strconv.ParseUint(xsd.TrimInteger(s), 10, 64)
		if err == nil {
			*v = n
		}
		return xsd.IsCanonicalInteger(s) && n != 0, err == nil
	case **time.Duration:
		n, err := strconv.ParseUint(xsd.TrimInteger(s), 10, 33) // longer than what SIP's Expires can say
		if err == nil {
			*v = new(time.Duration(n) * time.Second)
		}
		return xsd.IsCanonicalInteger(s), err == nil
	}
	return false, false
}

// whyNot says what a text is not that v could not take.
func whyNot(v any, values []string) string {
	switch v.(type) {
	case *time.Time:
		return "no time"
	case *bool:
		if values != nil {
			return "not one of " + strings.ReplaceAll(values[0], "|", ", ")
		}
		return "neither true nor false"
	}
	return "no number that fits"
}

// str normalizes the white space of a value, and of an enumeration the capitals where that makes it one of the list.
func (d *decoder) str(s, name string, r Rule, values []string) string {
	switch {
	case r&Raw != 0:
		return s
	case r&qvalue != 0:
		q, changed := xsd.Priority(markup.Trim(s))
		if changed {
			d.warn("priority " + s + " read as " + q)
		}
		return q
	case r&Trim != 0:
		t := markup.Trim(s)
		if t != s {
			d.warn("space around " + name + " removed")
		}
		return t
	case len(values) == 0:
		return markup.Collapse(s)
	}
	t := xsd.Folded(markup.Collapse(s), values[0])
	if t != s {
		if name == "" {
			_, name, _ = markup.QualifiedName(strings.TrimPrefix(d.Doc[d.From:], "<"))
		}
		d.warn(name + ": " + strconv.Quote(s) + " read as " + strconv.Quote(t))
	}
	return t
}

// isEmpty reports whether v is not set.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case *string:
		return *v == ""
	case *time.Time:
		return v.IsZero()
	case *bool:
		return !*v
	case *int:
		return *v == 0
	case **int:
		return *v == nil
	case *uint32:
		return *v == 0
	case *uint64:
		return *v == 0
	case **time.Duration:
		return *v == nil
	}
	return true
}

// appendValue writes what v is set to; a text as it is, without escapes.
func appendValue(dst []byte, v any, values []string) []byte {
	switch v := v.(type) {
	case *string:
		return append(dst, *v...)
	case *time.Time:
		return xsd.AppendTime(dst, *v)
	case *bool:
		if values != nil {
			yes, no, _ := strings.Cut(values[0], "|")
			if *v {
				no = yes
			}
			return append(dst, no...)
		}
		return strconv.AppendBool(dst, *v)
	case *int:
		return strconv.AppendInt(dst, int64(*v), 10)
	case **int:
		return strconv.AppendInt(dst, int64(**v), 10)
	case *uint32:
		return strconv.AppendUint(dst, uint64(*v), 10)
	case *uint64:
		return strconv.AppendUint(dst, *v, 10)
	case **time.Duration:
		return strconv.AppendInt(dst, max(0, int64(**v/time.Second)), 10)
	}
	return dst
}

// says reports whether a text says what v is set to: then it can be written instead.
func says(raw string, v any) bool {
	switch v := v.(type) {
	case *string:
		return *v == "" && markup.Trim(raw) == ""
	case *time.Time:
		t, _, _, ok := xsd.ParseTime(markup.Trim(raw))
		return ok && t.Equal(*v)
	}
	var d decoder
	got := reflect.New(reflect.TypeOf(v).Elem())
	_, ok := d.parse(got.Interface(), raw, "", 0, nil)
	return ok && reflect.DeepEqual(got.Interface(), v)
}
