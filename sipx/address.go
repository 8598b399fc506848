package sipx

import (
	"errors"
	"strings"
)

// Address is the value of a From, To, Contact, Route or Record-Route field
// (RFC 3261 §20.10): a URI with a display name and field parameters.
type Address struct {
	Display string // without quotes
	URI     URI
	Params  string // field parameters from the first ';' on, as written; or empty
}

// ParseAddress parses one address, in the form with angle brackets or the bare
// one. In the bare form parameters belong to the field, not to the URI
// (RFC 3261 §20).
func ParseAddress(s string) (Address, error) {
	s = strings.TrimSpace(s)
	open := angle(s)
	if open < 0 {
		uri, params := cutKeep(s, ';')
		if at := strings.IndexByte(s, '@'); at >= 0 {
			// A semicolon in the user part is not ours.
			uri, params = cutKeep(s[at:], ';')
			uri = s[:at] + uri
		}
		u, err := ParseURI(strings.TrimSpace(uri))
		return Address{URI: u, Params: params}, err
	}
	end := strings.IndexByte(s[open:], '>')
	if end < 0 {
		return Address{}, errors.New("sipx: address: unclosed <")
	}
	end += open
	u, err := ParseURI(strings.TrimSpace(s[open+1 : end]))
	if err != nil {
		return Address{}, err
	}
	params := strings.TrimSpace(s[end+1:])
	if params != "" && params[0] != ';' {
		return Address{}, errors.New("sipx: address: text after >")
	}
	return Address{Display: unquote(strings.TrimSpace(s[:open])), URI: u, Params: params}, nil
}

var errTooManyAddresses = errors.New("sipx: too many addresses in a field")

// ParseAddresses parses a comma-separated list of at most max addresses.
func ParseAddresses(s string, max int) ([]Address, error) {
	var list []Address
	for part := range SplitList(s) {
		if len(list) == max {
			return nil, errTooManyAddresses
		}
		a, err := ParseAddress(part)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// Param returns the value of the field parameter name, compared without case,
// and whether it is there at all.
func (a Address) Param(name string) (string, bool) { return param(a.Params, name) }

// Tag returns the tag parameter, or "".
func (a Address) Tag() string {
	tag, _ := a.Param("tag")
	return tag
}

// WithTag returns a with its field parameters replaced by this tag.
func (a Address) WithTag(tag string) Address {
	a.Params = ";tag=" + tag
	return a
}

// String writes the address in the form with angle brackets.
func (a Address) String() string { return string(a.AppendTo(nil)) }

// AppendTo appends the address to dst in the form with angle brackets.
func (a Address) AppendTo(dst []byte) []byte {
	if a.Display != "" {
		dst = append(dst, '"')
		for i := range len(a.Display) {
			switch c := a.Display[i]; {
			case c == '\r', c == '\n': // it must not end the field
				dst = append(dst, ' ')
			case c == '"', c == '\\', isControl(c):
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, c)
			}
		}
		dst = append(dst, '"', ' ')
	}
	dst = append(dst, '<')
	dst = a.URI.AppendTo(dst)
	dst = append(dst, '>')
	return appendText(dst, a.Params)
}

// angle finds the '<' that opens the URI: the first outside quotes.
func angle(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			return i
		}
	}
	return -1
}
