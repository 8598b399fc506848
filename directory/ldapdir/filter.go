package ldapdir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
)

// A query turns addresses into search filters and finds in what comes back whose
// address is whose. It does not change.
type query struct {
	filter   string   // of all users
	sip, tel []string // attributes, the preferred one first
	account  string   // attribute
	formats  []telFormat
}

// schemeAccount is that of an account's user part, which is looked up as an address is. No
// address of a user has it.
const schemeAccount = "account"

// attributes returns those that hold addresses of a scheme.
func (q *query) attributes(scheme string) []string {
	switch scheme {
	case directory.SchemeSIP:
		return q.sip
	case directory.SchemeTel:
		return q.tel
	case schemeAccount:
		return []string{q.account}
	}
	return nil
}

// build returns the filter that finds the entries of all these addresses.
func (q *query) build(as []directory.Address) string {
	var b strings.Builder
	b.WriteString("(&")
	b.WriteString(q.filter)
	b.WriteString("(|")
	for _, a := range as {
		forms := q.forms(a)
		for _, attr := range q.attributes(a.Scheme) {
			for _, form := range forms {
				fmt.Fprintf(&b, "(%s=%s)", attr, form)
			}
			// Lync writes "tel:+14255550101;ext=101". The index for equality
			// serves a beginning too, in Active Directory.
			if a.Scheme == directory.SchemeTel && strings.EqualFold(attr, "msRTCSIP-Line") {
				fmt.Fprintf(&b, "(%s=tel:%s;*)", attr, ldap.EscapeFilter(a.Value))
			}
		}
	}
	b.WriteString("))")
	return b.String()
}

// forms returns the values, escaped for a filter (RFC 4515 §3), in which
// directories hold an address: bare as in mail, or as a URI as in
// msRTCSIP-PrimaryUserAddress and proxyAddresses. Case is the matching rule's
// business.
func (q *query) forms(a directory.Address) []string {
	if a.Scheme == schemeAccount {
		return []string{ldap.EscapeFilter(a.Value)}
	}
	forms := []string{a.Value, a.Scheme + ":" + a.Value}
	if uri := a.String(); uri != forms[1] {
		forms = append(forms, uri) // with percent-escapes
	}
	if a.Scheme == directory.SchemeTel {
		for _, f := range q.formats {
			if s, ok := f.apply(a.Value); ok && !slices.Contains(forms, s) {
				forms = append(forms, s)
			}
		}
	}
	for i, s := range forms {
		forms[i] = ldap.EscapeFilter(s)
	}
	return forms
}

// assign finds the entries of each address. Servers match more loosely than
// addresses compare (Active Directory ignores accents), and an entry that was
// found for one address may have another one that was asked for, so what an entry
// says of itself decides. Where an address is found in several entries, those
// count that have it in the most preferred attribute.
func (q *query) assign(as []directory.Address, entries []*ldap.Entry) map[directory.Address][]*ldap.Entry {
	type found struct {
		rank    int
		entries []*ldap.Entry
	}
	asked := make(map[directory.Address]*found, len(as))
	for _, a := range as {
		asked[a] = &found{}
	}
	for _, e := range entries {
		for _, scheme := range []string{directory.SchemeSIP, directory.SchemeTel, schemeAccount} {
			for rank, attr := range q.attributes(scheme) {
				for _, a := range addresses(e, scheme, attr) {
					f := asked[a]
					switch {
					case f == nil:
					case len(f.entries) > 0 && f.entries[len(f.entries)-1] == e: // by a better attribute
					case len(f.entries) == 0 || rank < f.rank:
						f.rank, f.entries = rank, []*ldap.Entry{e}
					case rank == f.rank:
						f.entries = append(f.entries, e)
					}
				}
			}
		}
	}
	result := make(map[directory.Address][]*ldap.Entry, len(asked))
	for a, f := range asked {
		result[a] = f.entries
	}
	return result
}

// addresses returns the addresses of a scheme that an attribute of e holds. What is
// none is left out: proxyAddresses holds "SMTP:" and "X500:" values too.
func addresses(e *ldap.Entry, scheme, attr string) []directory.Address {
	var as []directory.Address
	for _, v := range e.GetEqualFoldAttributeValues(attr) {
		var a directory.Address
		var err error
		switch scheme {
		case directory.SchemeTel:
			a, err = directory.ParseTel(v)
		case schemeAccount:
			a = accountAddress(v)
		default:
			a, err = directory.ParseAddress(v)
		}
		if err == nil && a.Scheme == scheme && !slices.Contains(as, a) {
			as = append(as, a)
		}
	}
	return as
}

func accountAddress(user string) directory.Address {
	return directory.Address{Scheme: schemeAccount, Value: auth.Name{User: strings.TrimSpace(user)}.Account()}
}

// DefaultTelFormats returns the forms in which North American numbers are commonly
// written. The first is Microsoft's canonical one.
func DefaultTelFormats() []string {
	return []string{
		"+1 (###) ###-####",
		"+1 ###-###-####",
		"+1-###-###-####",
		"+1 ### ### ####",
		"+1.###.###.####",
	}
}

// A telFormat is a way to write numbers of one length and beginning.
type telFormat struct {
	template string // "+1 (###) ###-####"
	digits   string // "+1##########"
}

func parseTelFormat(template string) (telFormat, error) {
	f := telFormat{template: template}
	for _, c := range template {
		switch {
		case c >= '0' && c <= '9', c == '#', c == '+' && f.digits == "":
			f.digits += string(c)
		case strings.ContainsRune("-.() /", c):
		default:
			return f, fmt.Errorf("%q: %q is neither a digit, # nor punctuation", template, c)
		}
	}
	if !strings.Contains(f.digits, "#") {
		return f, fmt.Errorf("%q: no #, which stands for a digit", template)
	}
	return f, nil
}

// apply writes a number in this format, if it is one of those.
func (f telFormat) apply(number string) (string, bool) {
	if len(number) != len(f.digits) {
		return "", false
	}
	for i := range len(number) {
		want, got := f.digits[i], number[i]
		if want != got && !(want == '#' && got >= '0' && got <= '9') {
			return "", false
		}
	}
	out := []byte(f.template)
	next := 0
	for i, c := range out {
		if c == '#' || c == '+' || c >= '0' && c <= '9' {
			out[i] = number[next]
			next++
		}
	}
	return string(out), true
}

// checkAttribute refuses what is no attribute description (RFC 4512 §2.5), so that
// none can change a filter.
func checkAttribute(name string) error {
	if name == "" {
		return errors.New("an empty attribute name")
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == ';' {
			continue
		}
		return fmt.Errorf("%q is not an attribute name", name)
	}
	return nil
}
