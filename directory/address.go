package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Schemes of an [Address].
const (
	SchemeSIP = "sip" // sip: and sips: URIs
	SchemeTel = "tel" // tel: URIs
)

// Bounds in bytes: of what ParseAddress looks at; of a user part or a telephone
// number, decoded; and of a host (RFC 1035 §2.3.4). The longest address that the
// mail and SIP attributes of Active Directory hold is 256 characters. An address
// within them is within maxURI when it is printed, with every byte escaped.
const (
	maxURI  = 2048
	maxUser = 512
	maxHost = 255
)

// An Address is a user's address in the form in which directories are asked for
// it and in which two addresses are the same exactly if they are ==. Make one
// with [ParseAddress] or [ParseTel]; the zero value is nobody's address.
type Address struct {
	// Scheme is SchemeSIP or SchemeTel.
	Scheme string
	// Value is "user@host", case-folded, without port, password and
	// parameters, with percent-escapes decoded; or the digits of a telephone
	// number without visual separators, with a leading "+" if it is global.
	Value string
}

// ParseAddress returns the address that a SIP URI (RFC 3261 §19.1), a tel URI
// (RFC 3966) or a plain "user@host" stands for. It refuses everything else, among
// it display names, angle brackets, surrounding space, control characters and
// SIP URIs without a user part.
func ParseAddress(uri string) (Address, error) {
	a, err := parse(uri)
	if err != nil {
		return Address{}, fmt.Errorf("directory: address %s: %w", quote(uri), err)
	}
	return a, nil
}

// ParseTel is [ParseAddress] for a telephone number that is written with or
// without "tel:", as numbers stand in directories: "+1 (425) 555-0102", "2719",
// "tel:+14255550101;ext=101".
func ParseTel(number string) (Address, error) {
	a, err := parseNumber(number)
	if err != nil {
		return Address{}, fmt.Errorf("directory: telephone number %s: %w", quote(number), err)
	}
	return a, nil
}

// String returns the address as a URI that [ParseAddress] reads back,
// "sip:user@host" or "tel:200", with the escapes that RFC 3261 asks for. It is
// empty for the zero Address.
func (a Address) String() string {
	if a == (Address{}) {
		return ""
	}
	user, host, ok := a.split()
	if !ok {
		return a.Scheme + ":" + a.Value
	}
	return a.Scheme + ":" + escapeUser(user) + "@" + host
}

// Host returns the host of a SIP address, and "" for other addresses.
func (a Address) Host() string {
	_, host, _ := a.split()
	return host
}

func (a Address) split() (user, host string, ok bool) {
	if a.Scheme != SchemeSIP {
		return "", "", false
	}
	// The host holds no "@", a decoded user part may.
	i := strings.LastIndexByte(a.Value, '@')
	if i < 0 {
		return "", "", false
	}
	return a.Value[:i], a.Value[i+1:], true
}

func parse(uri string) (Address, error) {
	if len(uri) > maxURI {
		return Address{}, fmt.Errorf("longer than %d bytes", maxURI)
	}
	if rest, ok := cutScheme(uri, "tel:"); ok {
		return parseTel(rest, "-.()")
	}
	for _, scheme := range []string{"sip:", "sips:"} {
		if rest, ok := cutScheme(uri, scheme); ok {
			return parseSIP(rest)
		}
	}
	// Without a scheme a colon before the "@" can only be a scheme that is not
	// ours, "mailto:tom@example.com".
	if before, _, _ := strings.Cut(uri, "@"); strings.Contains(before, ":") {
		return Address{}, errors.New("neither a sip, a sips nor a tel URI")
	}
	return parseSIP(uri)
}

func cutScheme(uri, scheme string) (rest string, ok bool) {
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return "", false
	}
	return uri[len(scheme):], true
}

// parseSIP reads what follows the scheme: userinfo "@" hostport uri-parameters
// headers. No part but the userinfo's escapes may hold an "@" (RFC 3261 §25.1).
func parseSIP(s string) (Address, error) {
	userinfo, hostport, ok := strings.Cut(s, "@")
	if !ok || userinfo == "" {
		return Address{}, errors.New("no user part")
	}
	if i := strings.IndexAny(hostport, ";?"); i >= 0 {
		hostport = hostport[:i]
	}
	user, _, _ := strings.Cut(userinfo, ":") // the rest is a password
	if strings.ContainsAny(user, "<>\" ") {
		return Address{}, errors.New("not a bare URI")
	}
	user, err := unescape(user)
	if err != nil {
		return Address{}, err
	}
	if user == "" {
		return Address{}, errors.New("no user part")
	}
	user = strings.ToLower(user)
	if len(user) > maxUser {
		return Address{}, fmt.Errorf("user part longer than %d bytes", maxUser)
	}
	host, err := parseHost(hostport)
	if err != nil {
		return Address{}, err
	}
	return Address{SchemeSIP, user + "@" + host}, nil
}

func parseHost(hostport string) (string, error) {
	host, port, hasPort := hostport, "", false
	if strings.HasPrefix(hostport, "[") {
		end := strings.IndexByte(hostport, ']')
		if end < 0 {
			return "", errors.New("no end of the IPv6 address")
		}
		ip, err := netip.ParseAddr(hostport[1:end])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", errors.New("not an IPv6 address in brackets")
		}
		host = "[" + ip.String() + "]"
		if tail := hostport[end+1:]; tail != "" {
			if port, hasPort = strings.CutPrefix(tail, ":"); !hasPort {
				return "", errors.New("text after the IPv6 address")
			}
		}
	} else {
		host, port, hasPort = strings.Cut(hostport, ":")
		host = strings.TrimSuffix(host, ".") // the root, RFC 3261 §25.1 hostname
		if err := checkHost(host); err != nil {
			return "", err
		}
	}
	if hasPort {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errors.New("not a port number")
		}
	}
	return strings.ToLower(host), nil
}

func checkHost(host string) error {
	if host == "" {
		return errors.New("no host")
	}
	if len(host) > maxHost {
		return fmt.Errorf("host longer than %d bytes", maxHost)
	}
	for i := range len(host) {
		c := host[i]
		// The underscore is no host name, but Windows domains have it.
		if !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return errors.New("not a host name")
		}
	}
	if host[0] == '.' || host[len(host)-1] == '.' || strings.Contains(host, "..") {
		return errors.New("an empty label in the host name")
	}
	return nil
}

func parseNumber(number string) (Address, error) {
	if rest, ok := cutScheme(number, "tel:"); ok {
		number = rest
	}
	return parseTel(number, "-.() /")
}

// parseTel reads what follows "tel:". Letters A to F, "*" and "#" are digits of
// local numbers (RFC 3966 §3, phonedigit-hex).
func parseTel(s, separators string) (Address, error) {
	if len(s) > maxURI {
		return Address{}, fmt.Errorf("longer than %d bytes", maxURI)
	}
	number, _, _ := strings.Cut(s, ";")
	number, err := unescape(number)
	if err != nil {
		return Address{}, err
	}
	digits := make([]byte, 0, len(number))
	for i := range len(number) {
		switch c := number[i]; {
		case c >= '0' && c <= '9', c == '*', c == '#', c >= 'a' && c <= 'f':
			digits = append(digits, c)
		case c >= 'A' && c <= 'F':
			digits = append(digits, c|0x20)
		case c == '+' && len(digits) == 0:
			digits = append(digits, c)
		case strings.IndexByte(separators, c) >= 0:
		default:
			return Address{}, errors.New("not a telephone number")
		}
	}
	if len(digits) == 0 || string(digits) == "+" {
		return Address{}, errors.New("no digits")
	}
	if len(digits) > maxUser {
		return Address{}, fmt.Errorf("more than %d digits", maxUser)
	}
	return Address{SchemeTel, string(digits)}, nil
}

// unescape decodes percent-escapes, and refuses what no address holds: broken
// escapes, control characters, and bytes that are not UTF-8.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') >= 0 {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if s[i] != '%' {
				b.WriteByte(s[i])
				continue
			}
			if i+2 >= len(s) {
				return "", errors.New("broken percent-escape")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", errors.New("broken percent-escape")
			}
			b.WriteByte(byte(n))
			i += 2
		}
		s = b.String()
	}
	if !utf8.ValidString(s) {
		return "", errors.New("not UTF-8")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", errors.New("a control character")
	}
	return s, nil
}

// escapeUser escapes all but unreserved and user-unreserved (RFC 3261 §25.1).
func escapeUser(user string) string {
	const plain, hex = "-_.!~*'()&=+$,;?/", "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(user) {
		if c := user[i]; isAlnum(c) || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quote shows an address in an error: bounded, with control characters escaped.
func quote(s string) string {
	const limit = 80
	if len(s) > limit {
		return strconv.Quote(s[:limit]) + "…"
	}
	return strconv.Quote(s)
}
