package ldapdir

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/directory"
)

// A mapping makes entries of what the server returned. It does not change.
type mapping struct {
	query
	id, name, mail string
	lines, groups  []string
	domain         string
}

// requested returns the attributes to ask the server for.
func (m *mapping) requested() []string {
	var attrs []string
	for _, attr := range slices.Concat([]string{m.id, m.account, m.name, m.mail}, m.sip, m.tel, m.lines, m.groups) {
		if attr != "" && !slices.ContainsFunc(attrs, func(s string) bool { return strings.EqualFold(s, attr) }) {
			attrs = append(attrs, attr)
		}
	}
	return attrs
}

// entry returns what e says, and an error if it does not say who it is.
func (m *mapping) entry(e *ldap.Entry) (directory.Entry, error) {
	id, err := entryID(e, m.id)
	if err != nil {
		return directory.Entry{}, err
	}
	d := directory.Entry{
		ID:          id,
		Account:     m.qualify(value(e, m.account)),
		DisplayName: value(e, m.name),
		Mail:        value(e, m.mail),
		SIP:         numbers(e, directory.SchemeSIP, m.sip),
		Tel:         numbers(e, directory.SchemeTel, m.tel),
		Lines:       numbers(e, directory.SchemeTel, m.lines),
		Groups:      groups(e, m.groups),
	}
	return d, nil
}

func (m *mapping) qualify(account string) string {
	if account == "" || m.domain == "" {
		return account
	}
	return m.domain + `\` + account
}

// numbers returns the values of all addresses in these attributes, in order.
func numbers(e *ldap.Entry, scheme string, attrs []string) []string {
	var vs []string
	for _, attr := range attrs {
		for _, a := range addresses(e, scheme, attr) {
			if !slices.Contains(vs, a.Value) {
				vs = append(vs, a.Value)
			}
		}
	}
	return vs
}

// groups returns the values of all of these attributes. Many entries have the same
// values: there is one copy of each.
func groups(e *ldap.Entry, attrs []string) []string {
	var vs []string
	for _, attr := range attrs {
		for _, v := range e.GetEqualFoldAttributeValues(attr) {
			if v = printed(v); v != "" {
				vs = append(vs, unique.Make(v).Value())
			}
		}
	}
	return vs
}

// value returns the first value of an attribute, without what is not to be shown,
// and "" where there is none.
func value(e *ldap.Entry, attr string) string {
	if attr == "" {
		return ""
	}
	return printed(e.GetEqualFoldAttributeValue(attr))
}

func printed(v string) string {
	v = strings.TrimSpace(v)
	if !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
		return ""
	}
	return v
}

// entryID returns the value of an entry's identifier as text: entryUUID as it is,
// objectGUID in its usual form, other binary values in hexadecimal.
func entryID(e *ldap.Entry, attr string) (string, error) {
	raw := e.GetEqualFoldRawAttributeValue(attr)
	switch {
	case len(raw) == 0:
		return "", fmt.Errorf("ldapdir: entry %s has no %s that may be read: %w", printable(e.DN), attr, ErrUnavailable)
	case strings.EqualFold(attr, "objectGUID") && len(raw) == 16:
		return formatGUID([16]byte(raw)), nil
	case utf8.Valid(raw) && !strings.ContainsFunc(string(raw), unicode.IsControl):
		return string(raw), nil
	}
	return hex.EncodeToString(raw), nil
}

// formatGUID writes a GUID as Microsoft's tools do. The first three fields are
// little-endian (MS-DTYP §2.3.4).
func formatGUID(g [16]byte) string {
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[0:4], g[4:6], g[6:8], g[8:10], g[10:])
}
