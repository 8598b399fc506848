package sipx

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// URI is a sip, sips or tel URI taken apart (RFC 3261 §19.1, RFC 3966). Other
// schemes are kept whole in User. The zero value is no URI.
//
// A URI is comparable with ==, which compares spelling; use package directory
// to compare whom two addresses mean.
type URI struct {
	Scheme  string // in lower case
	User    string // as written, escapes kept; the number for tel; may hold ":password"
	Host    string // as written; an IPv6 address keeps its brackets; empty for tel
	Port    int    // 0 where none was written
	Params  string // from the first ';' on, as written, or empty
	Headers string // from the '?' on, as written, or empty
}

// maxURI bounds the length of a URI in bytes.
const maxURI = 1024

// ParseURI parses s, which must be a bare URI without angle brackets.
func ParseURI(s string) (URI, error) {
	if len(s) > maxURI {
		return URI{}, fmt.Errorf("sipx: URI of %d bytes, at most %d are taken", len(s), maxURI)
	}
	for i := range len(s) {
		if notInURI(s[i]) {
			return URI{}, fmt.Errorf("sipx: URI %q: character %q", redacted(s), s[i])
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || !isToken(scheme) {
		return URI{}, fmt.Errorf("sipx: URI %q: no scheme", redacted(s))
	}
	u := URI{Scheme: strings.ToLower(scheme)}
	switch u.Scheme {
	case "sip", "sips":
		return u.parseSIP(s, rest)
	case "tel":
		u.User, u.Params = cutKeep(rest, ';')
		if u.User == "" {
			return URI{}, fmt.Errorf("sipx: URI %q: no number", redacted(s))
		}
	default:
		u.User = rest
	}
	return u, nil
}

func (u URI) parseSIP(s, rest string) (URI, error) {
	// The user part may hold ; and ? (RFC 3261 §25.1), so it goes first.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		u.User, rest = rest[:i], rest[i+1:]
		if u.User == "" {
			return URI{}, fmt.Errorf("sipx: URI %q: empty user", redacted(s))
		}
		if strings.IndexByte(u.User, '@') >= 0 {
			return URI{}, fmt.Errorf("sipx: URI %q: two @", redacted(s))
		}
	}
	rest, u.Headers = cutKeep(rest, '?')
	rest, u.Params = cutKeep(rest, ';')
	host, port := rest, ""
	if strings.HasPrefix(rest, "[") {
		i := strings.IndexByte(rest, ']')
		if i < 0 {
			return URI{}, fmt.Errorf("sipx: URI %q: unclosed [", redacted(s))
		}
		host, port = rest[:i+1], rest[i+1:]
		if port != "" && port[0] != ':' {
			return URI{}, fmt.Errorf("sipx: URI %q: text after ]", redacted(s))
		}
	} else if i := strings.IndexByte(rest, ':'); i >= 0 {
		host, port = rest[:i], rest[i:]
	}
	if host == "" || strings.ContainsAny(host, "/,\\") {
		return URI{}, fmt.Errorf("sipx: URI %q: no host", redacted(s))
	}
	u.Host = host
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || n == 0 {
			return URI{}, fmt.Errorf("sipx: URI %q: bad port", redacted(s))
		}
		u.Port = int(n)
	}
	return u, nil
}

// IsZero reports whether u is the zero URI.
func (u URI) IsZero() bool { return u == URI{} }

// Param returns the value of the URI parameter name, compared without case, and
// whether it is there at all.
func (u URI) Param(name string) (string, bool) { return param(u.Params, name) }

// String writes the URI as it was read, the scheme in lower case.
func (u URI) String() string {
	if u.IsZero() {
		return ""
	}
	return string(u.AppendTo(make([]byte, 0, 64)))
}

// LogValue implements slog.LogValuer: the URI without the password that its user
// part may hold (RFC 3261 §19.1.1).
func (u URI) LogValue() slog.Value {
	if user, _, ok := strings.Cut(u.User, ":"); ok && u.Host != "" {
		u.User = user
	}
	return slog.StringValue(u.String())
}

// redacted is s, as it stands in an error, without what may be a password: what is
// between the second colon and the last @.
func redacted(s string) string {
	at := strings.LastIndexByte(s, '@')
	first := strings.IndexByte(s, ':')
	if first < 0 || at < first {
		return s
	}
	if second := strings.IndexByte(s[first+1:at], ':'); second >= 0 {
		return s[:first+1+second] + s[at:]
	}
	return s
}

// AppendTo appends the URI to dst.
func (u URI) AppendTo(dst []byte) []byte {
	dst = append(dst, u.Scheme...)
	dst = append(dst, ':')
	dst = appendText(dst, u.User)
	if u.Host != "" {
		if u.User != "" {
			dst = append(dst, '@')
		}
		dst = appendText(dst, u.Host)
		if u.Port != 0 {
			dst = append(dst, ':')
			dst = strconv.AppendInt(dst, int64(u.Port), 10)
		}
	}
	dst = appendText(dst, u.Params)
	return appendText(dst, u.Headers)
}

func notInURI(c byte) bool {
	return c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"'
}

// cutKeep cuts s before the first sep and keeps sep in the second part.
func cutKeep(s string, sep byte) (before, from string) {
	if i := strings.IndexByte(s, sep); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// param finds name in ";a=b;c", quotes respected and removed.
func param(params, name string) (string, bool) {
	for params != "" {
		params = params[1:] // the semicolon
		end, quoted := len(params), false
		for i := 0; i < len(params); i++ {
			switch c := params[i]; {
			case c == '\\' && quoted:
				i++
			case c == '"':
				quoted = !quoted
			case c == ';' && !quoted:
				end = i
			}
			if end == i {
				break
			}
		}
		key, value, _ := strings.Cut(params[:end], "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return unquote(strings.TrimSpace(value)), true
		}
		params = params[end:]
	}
	return "", false
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// isToken reports whether s is a token of RFC 3261 §25.1.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return true
}

func isTokenByte(c byte) bool {
	if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' {
		return true
	}
	switch c {
	case '-', '.', '!', '%', '*', '_', '+', '`', '\'', '~':
		return true
	}
	return false
}
