package ldapdir

import (
	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/conf"
)

// Query builds filters as a Directory with these columns does.
func Query(filter string, sip, tel, formats []string) (func(...directory.Address) string, error) {
	check := conf.Of("ldapdir: Config")
	m := Config{
		BaseDN: "dc=x", Filter: filter, SIPAttributes: sip, TelAttributes: tel, TelFormats: formats,
	}.withDefaults().mapping(check)
	if err := check.Err(); err != nil {
		return nil, err
	}
	return func(as ...directory.Address) string { return m.build(as) }, nil
}

// ADReason is what an ADVerifier makes of the text of a refused bind.
func ADReason(diagnostic string) error {
	return adReason(&Error{Op: "bind", Server: "ldaps://dc", Err: refusal(diagnostic)})
}

func refusal(text string) error {
	return &ldap.Error{ResultCode: ldap.LDAPResultInvalidCredentials, Err: textError(text)}
}

type textError string

func (e textError) Error() string { return string(e) }

var FormatGUID = formatGUID
