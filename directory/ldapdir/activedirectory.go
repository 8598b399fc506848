package ldapdir

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/conf"
)

// ADConfig configures an [ADVerifier]. Only URLs are required.
type ADConfig struct {
	// Server says how to reach the domain controllers, by ldaps or with StartTLS.
	Server
	// AllowPlaintext lets passwords go over connections that are not encrypted.
	// Active Directory refuses them unless configured otherwise.
	AllowPlaintext bool
	// DefaultDomain is the domain of names without one, its NetBIOS name or its
	// DNS name. Empty means that such names are refused.
	DefaultDomain string
	// BaseDN is the entry below which users are. Accounts elsewhere, also those of
	// trusted domains, are refused. Empty means the domain of the server.
	BaseDN string
	// Users, if not nil, is asked which account a user principal name belongs to, so
	// that failures of CORP\dave and dave.d@example.com count as those of one account
	// ([auth.AccountKeyer]). It should search the same domain. Nil means that names
	// are one account where their user parts are equal.
	Users *Directory
	// MaxChecks is how many checks are under way at a time; further ones wait.
	// Zero means DefaultMaxChecks, 16.
	MaxChecks int
	// Hooks are called after each check.
	Hooks Hooks
}

// An ADVerifier checks passwords against Active Directory, by a bind on a fresh
// connection. It takes DOMAIN\user, user@domain, and with a DefaultDomain also
// user. It implements [auth.Verifier] and is safe for concurrent use; nothing is
// left open between checks.
//
// Who signed in is not taken from the name that was typed, of which Active
// Directory accepts many for one account, but from the server: it says which
// security identifiers the connection has, and the entry with the user's is read.
// Identity.ID is its objectGUID, as a [Directory] with that IDAttribute has it in
// the ID of its entries; Identity.Account is "domain\user" in lower case, of the
// NetBIOS name of the domain and the sAMAccountName.
type ADVerifier struct {
	*checker
	domain string
	base   string
	users  *Directory

	mu     sync.Mutex
	naming map[string]string // NetBIOS names of domains, by DN
}

// NewADVerifier returns a verifier that is configured so. It connects when it is
// first used.
func NewADVerifier(cfg ADConfig) (*ADVerifier, error) {
	check := conf.Of("ldapdir: ADConfig")
	if cfg.BaseDN != "" {
		check.Fail("BaseDN", checkBase(cfg.BaseDN))
	}
	if strings.ContainsAny(cfg.DefaultDomain, `\@`) {
		check.Failf("DefaultDomain", `holds "\" or "@"`)
	}
	k := newChecker(check, cfg.Server, cfg.AllowPlaintext, cfg.MaxChecks, cfg.Hooks.Check)
	if err := check.Err(); err != nil {
		return nil, err
	}
	return &ADVerifier{checker: k, domain: cfg.DefaultDomain, base: cfg.BaseDN, users: cfg.Users, naming: make(map[string]string)}, nil
}

// Ready returns nil if a domain controller answers.
func (v *ADVerifier) Ready(ctx context.Context) error {
	c, err := v.hosts.connect(ctx, nil)
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, v.hosts.timeout)
	defer cancel()
	// One whose process hangs still completes TCP connections.
	_, err = v.search(ctx, c, &ldap.SearchRequest{Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)", Attributes: []string{"1.1"}})
	return err
}

// Verify implements [auth.Verifier]. Errors are reasons of package auth, all of
// them [auth.ErrBadCredentials], or an [ErrUnavailable].
func (v *ADVerifier) Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	return v.check(ctx, c, func(ctx context.Context) (id auth.Identity, err error) {
		name := c.Name
		if name.Domain == "" && !name.UPN() {
			name.Domain = v.domain
		}
		name.Domain, name.User = strings.TrimSpace(name.Domain), strings.TrimSpace(name.User)
		if name.Domain == "" && !name.UPN() || strings.Contains(name.User, `\`) {
			return id, auth.ErrUnknownAccount
		}
		_, err = v.bind(ctx, name.String(), c.Password, nil, func(ctx context.Context, conn *conn) error {
			id, err = v.identify(ctx, conn, name)
			return err
		})
		if code, _ := resultCode(err); code == ldap.LDAPResultInvalidCredentials {
			return id, adReason(err)
		}
		return id, err
	})
}

// adReason returns why Active Directory refused a bind. It says so in hexadecimal,
// in the text of result 49: "80090308: LdapErr: DSID-0C0903A9, comment:
// AcceptSecurityContext error, data 52e, v1db1". The numbers are those of Windows
// system errors.
func adReason(err error) error {
	_, rest, _ := strings.Cut(err.Error(), ", data ")
	text, _, _ := strings.Cut(rest, ",")
	code, _ := strconv.ParseUint(strings.TrimSpace(text), 16, 32)
	switch code {
	case 0x525: // ERROR_NO_SUCH_USER
		return auth.ErrUnknownAccount
	case 0x52e: // ERROR_LOGON_FAILURE: unknown user or wrong password
		return auth.ErrBadPassword
	case 0x52f, // ERROR_ACCOUNT_RESTRICTION
		0x530, // ERROR_INVALID_LOGON_HOURS
		0x531, // ERROR_INVALID_WORKSTATION
		0x569: // ERROR_LOGON_TYPE_NOT_GRANTED
		return auth.ErrNotPermitted
	case 0x532: // ERROR_PASSWORD_EXPIRED
		return auth.ErrPasswordExpired
	case 0x533: // ERROR_ACCOUNT_DISABLED
		return auth.ErrAccountDisabled
	case 0x701: // ERROR_ACCOUNT_EXPIRED
		return auth.ErrAccountExpired
	case 0x773: // ERROR_PASSWORD_MUST_CHANGE
		return auth.ErrMustChange
	case 0x775: // ERROR_ACCOUNT_LOCKED_OUT
		return auth.ErrAccountLocked
	case 0x51f, // ERROR_NO_LOGON_SERVERS: the user's own domain cannot be asked
		0x6fd: // ERROR_TRUSTED_RELATIONSHIP_FAILURE
		return err
	}
	return fmt.Errorf("%w: %s", auth.ErrBadCredentials, printable(text))
}

// identify reads the entry of the user as whom a connection is bound.
func (v *ADVerifier) identify(ctx context.Context, c *conn, name auth.Name) (auth.Identity, error) {
	unavailable := func(format string, args ...any) (auth.Identity, error) {
		return auth.Identity{}, &Error{Op: "search", Server: c.host.url, Err: fmt.Errorf(format, args...)}
	}
	roots, err := v.search(ctx, c, &ldap.SearchRequest{
		Scope: ldap.ScopeBaseObject, Filter: "(objectClass=*)",
		Attributes: []string{"tokenGroups", "defaultNamingContext", "configurationNamingContext"},
	})
	if err != nil {
		return auth.Identity{}, err
	}
	if len(roots) != 1 || len(roots[0].GetEqualFoldRawAttributeValues("tokenGroups")) == 0 {
		return unavailable("the server does not say who is bound (tokenGroups): is it Active Directory?")
	}
	root := roots[0]
	base := v.base
	if base == "" {
		base = root.GetEqualFoldAttributeValue("defaultNamingContext")
	}
	entries, err := v.search(ctx, c, &ldap.SearchRequest{
		BaseDN: base, Scope: ldap.ScopeWholeSubtree, SizeLimit: 10, Filter: nameFilter(name),
		Attributes: append([]string{"objectGUID", "objectSid", "sAMAccountName"}, stampAttributes[:]...),
	})
	if err != nil {
		return auth.Identity{}, err
	}
	var user *ldap.Entry
	for _, e := range entries {
		// A name alone proves nothing: OTHER\alice, of a trusted domain, is not our alice.
		if hasSID(root.GetEqualFoldRawAttributeValues("tokenGroups"), e.GetEqualFoldRawAttributeValue("objectSid")) {
			user = e
		}
	}
	if user == nil {
		return auth.Identity{}, fmt.Errorf("%w below %s, but somewhere else", auth.ErrUnknownAccount, base)
	}
	id, err := entryID(user, "objectGUID")
	if err != nil {
		return auth.Identity{}, err
	}
	domain, err := v.netbios(ctx, c, root)
	if err != nil {
		return auth.Identity{}, err
	}
	account := auth.Name{Domain: domain, User: value(user, "sAMAccountName")}
	if account.Domain == "" || account.User == "" {
		return unavailable("no nETBIOSName or no sAMAccountName that may be read")
	}
	return auth.Identity{Account: account.Account(), ID: id, DN: user.DN, Stamp: stamp(user)}, nil
}

// nameFilter finds the entries that may be meant by a name.
func nameFilter(name auth.Name) string {
	if !name.UPN() {
		return fmt.Sprintf("(&(objectClass=user)(sAMAccountName=%s))", ldap.EscapeFilter(name.User))
	}
	// Besides the one in its entry, each user has the implicit UPN account@domain.
	user, _, _ := strings.Cut(name.User, "@")
	return fmt.Sprintf("(&(objectClass=user)(|(userPrincipalName=%s)(sAMAccountName=%s)))",
		ldap.EscapeFilter(name.User), ldap.EscapeFilter(user))
}

func hasSID(sids [][]byte, sid []byte) bool {
	for _, s := range sids {
		if len(sid) > 0 && bytes.Equal(s, sid) {
			return true
		}
	}
	return false
}

// netbios returns the NetBIOS name of the server's domain. It never changes but by
// a rename of the domain, so it is read once.
func (v *ADVerifier) netbios(ctx context.Context, c *conn, root *ldap.Entry) (string, error) {
	dn := root.GetEqualFoldAttributeValue("defaultNamingContext")
	v.mu.Lock()
	name := v.naming[dn]
	v.mu.Unlock()
	if name != "" {
		return name, nil
	}
	entries, err := v.search(ctx, c, &ldap.SearchRequest{
		BaseDN:     "CN=Partitions," + root.GetEqualFoldAttributeValue("configurationNamingContext"),
		Scope:      ldap.ScopeSingleLevel,
		Filter:     fmt.Sprintf("(&(objectClass=crossRef)(nCName=%s))", ldap.EscapeFilter(dn)),
		Attributes: []string{"nETBIOSName"},
	})
	if err != nil || len(entries) == 0 {
		return "", err
	}
	name = value(entries[0], "nETBIOSName")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.naming[dn] = name
	return name, nil
}
