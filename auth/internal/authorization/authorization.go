// Package authorization reads Authorization headers (RFC 7235 §2.1), which everybody
// writes a little differently.
package authorization

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a header.
const (
	maxLength = 4096
	maxParams = 32
)

// Find returns what follows the scheme's name in the first header of that
// scheme.
func Find(headers []string, scheme string) (params string, ok bool) {
	for _, h := range headers {
		if params, ok := Cut(h, scheme); ok {
			return params, true
		}
	}
	return "", false
}

// Cut returns what follows the scheme's name in a header of that scheme.
func Cut(header, scheme string) (params string, ok bool) {
	header = strings.TrimLeft(header, " \t\r\n")
	n := len(scheme)
	if len(header) <= n || !strings.EqualFold(header[:n], scheme) || !isSpace(header[n]) {
		return "", false
	}
	return header[n+1:], true
}

// Params reads `name=value, name="value"` with names in lower case. A
// name that comes twice is an error, since two readers could differ on which
// one counts.
//
// In a quoted value, only \" and \\ are escapes; another backslash stands for
// itself, because clients write account names as in username="de\ptest" (§4.3).
func Params(s string) (map[string]string, error) {
	if len(s) > maxLength {
		return nil, fmt.Errorf("header longer than %d bytes", maxLength)
	}
	params := make(map[string]string)
	for {
		s = strings.TrimLeft(s, " \t\r\n,")
		if s == "" {
			return params, nil
		}
		name, rest, ok := strings.Cut(s, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t\r\n"))
		if !ok || !isToken(name) {
			return nil, errors.New("no parameter in Authorization")
		}
		if _, twice := params[name]; twice || len(params) == maxParams {
			return nil, errors.New("repeated or too many parameters in Authorization")
		}
		value, rest, ok := cutValue(strings.TrimLeft(rest, " \t\r\n"))
		if !ok {
			return nil, errors.New("bad value in Authorization")
		}
		params[name], s = value, rest
	}
}

// cutValue takes a token or a quoted string off the front, and makes sure that
// it ends where a value may end.
func cutValue(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		value, rest, ok = cutQuoted(s[1:])
	} else {
		n := strings.IndexAny(s, ", \t\r\n")
		if n < 0 {
			n = len(s)
		}
		value, rest, ok = s[:n], s[n:], isToken(s[:n])
	}
	rest = strings.TrimLeft(rest, " \t\r\n")
	return value, rest, ok && (rest == "" || rest[0] == ',')
}

func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	// A backslash that stands for itself before the last quote of the header
	// looked like an escape.
	if v, found := strings.CutSuffix(b.String(), `"`); found {
		return v + `\`, "", true
	}
	return "", "", false
}

// isToken is RFC 7230's token with "/" and "=", which unquoted values have.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),:;<>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
