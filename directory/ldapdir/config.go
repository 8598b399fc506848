package ldapdir

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/internal/conf"
)

// Defaults of [Config].
const (
	DefaultFilter           = "(objectClass=person)"
	DefaultMaxConns         = 4
	DefaultLifetime         = 5 * time.Minute
	DefaultNegativeLifetime = 30 * time.Second
	DefaultStaleLifetime    = time.Hour
	DefaultCacheSize        = 50_000
	DefaultMaxPending       = 10_000
)

// Config configures a [Directory]. URLs, BaseDN and at least one attribute of
// addresses are required; everything else has a default. See [ActiveDirectory] for
// one that suits Active Directory.
type Config struct {
	Server

	// BindDN is the account that searches, in Active Directory also "DOMAIN\\user"
	// or a user principal name. Empty means to search without binding.
	BindDN string
	// BindPassword is required if there is a BindDN.
	BindPassword PasswordSource
	// BaseDN is the entry below which users are. Required.
	BaseDN string
	// Filter is what makes an entry a user, RFC 4515. Empty means DefaultFilter,
	// "(objectClass=person)".
	Filter string

	// SIPAttributes and TelAttributes are the columns in which "sip:" and "tel:"
	// addresses are looked up. Their values may be bare ("tom@example.com", "200")
	// or URIs. Where two entries have an address, the one counts that has it in
	// the attribute named first. At least one of the lists is required; addresses
	// of a scheme without attributes are not found.
	SIPAttributes, TelAttributes []string
	// TelFormats are the ways to write telephone numbers in the directory, besides
	// plain digits with and without "tel:"; "#" stands for a digit, as in
	// "+49 89 1234-###". Servers compare numbers as text, so a number in another
	// form is not found. Nil means [DefaultTelFormats], an empty slice none.
	TelFormats []string

	// IDAttribute names the entry for as long as it lives. Empty means "entryUUID".
	// Values of objectGUID are formatted as Microsoft's tools do.
	IDAttribute string
	// AccountAttribute is what the user signs in with. Empty means "uid".
	AccountAttribute string
	// Domain, if not empty, is put before the account: "DOMAIN\\user".
	Domain string
	// NameAttribute is the name to show. Empty means "displayName".
	NameAttribute string
	// MailAttribute is the address of the mailbox. Empty means "mail".
	MailAttribute string
	// LineAttributes are the numbers of supervised devices. Nil means
	// TelAttributes.
	LineAttributes []string
	// GroupAttributes are what a policy may go by: "memberOf", whose values are the DNs
	// of the groups that the user is in directly, or "department". Nil means none.
	GroupAttributes []string

	// MaxConns is the number of connections to search with. Zero means
	// DefaultMaxConns, 4.
	MaxConns int
	// Lifetime is for how long an entry is used without asking again. Zero means
	// DefaultLifetime, 5 min; negative means to ask each time.
	Lifetime time.Duration
	// NegativeLifetime is the same for the answer that there is no entry, or that
	// there are several. Zero means DefaultNegativeLifetime, 30 s; negative means
	// to ask each time.
	NegativeLifetime time.Duration
	// StaleLifetime is for how long after its Lifetime an entry is still used
	// while the directory is unavailable. That nobody has an address is never
	// used past its lifetime. Zero means DefaultStaleLifetime, 1 h; negative means
	// not at all.
	StaleLifetime time.Duration
	// CacheSize is the number of addresses whose entries are kept; as many again
	// are kept that have none, and user principal names (see [ADConfig]). Zero means
	// DefaultCacheSize, 50,000, some 50 MB when full.
	CacheSize int
	// MaxPending bounds the number of addresses that are being looked up at a
	// time; further ones get [ErrUnavailable]. Zero means DefaultMaxPending,
	// 10,000.
	MaxPending int

	// Hooks are called when something has happened that is worth counting.
	Hooks Hooks
}

// Hooks are functions that a [Directory] or a verifier calls, each of which may be
// nil. They are called by several goroutines at once, and are waited for.
type Hooks struct {
	// Search is called after each search of a Directory.
	Search func(SearchInfo)
	// Check is called after each check of credentials.
	Check func(CheckInfo)
}

// SearchInfo describes a search.
type SearchInfo struct {
	Addresses int           // how many were asked for
	Entries   int           // how many came back
	Duration  time.Duration // including the wait for a connection
	Err       error         // nil if the server answered
}

// ActiveDirectory returns a Config for Active Directory that lacks URLs, BaseDN
// and a bind account: users (not contacts, not computers) by the address that Lync
// or Skype for Business gave them, else by proxyAddresses or mail, and by the
// numbers of General and Telephones, with objectGUID as ID.
// Domain should be set to the NetBIOS name of the domain.
func ActiveDirectory() Config {
	return Config{
		Filter:           "(&(objectCategory=person)(objectClass=user))",
		SIPAttributes:    []string{"msRTCSIP-PrimaryUserAddress", "proxyAddresses", "mail"},
		TelAttributes:    []string{"telephoneNumber", "ipPhone", "otherTelephone"},
		LineAttributes:   []string{"telephoneNumber"},
		IDAttribute:      "objectGUID",
		AccountAttribute: "sAMAccountName",
	}
}

// withDefaults returns a copy in which nothing is left to be decided.
func (cfg Config) withDefaults() Config {
	cfg.Filter = cmp.Or(cfg.Filter, DefaultFilter)
	cfg.IDAttribute = cmp.Or(cfg.IDAttribute, "entryUUID")
	cfg.AccountAttribute = cmp.Or(cfg.AccountAttribute, "uid")
	cfg.NameAttribute = cmp.Or(cfg.NameAttribute, "displayName")
	cfg.MailAttribute = cmp.Or(cfg.MailAttribute, "mail")
	cfg.SIPAttributes = slices.Clone(cfg.SIPAttributes)
	cfg.TelAttributes = slices.Clone(cfg.TelAttributes)
	cfg.LineAttributes = slices.Clone(cfg.LineAttributes)
	cfg.GroupAttributes = slices.Clone(cfg.GroupAttributes)
	if cfg.LineAttributes == nil {
		cfg.LineAttributes = cfg.TelAttributes
	}
	if cfg.TelFormats == nil {
		cfg.TelFormats = DefaultTelFormats()
	}
	cfg.Lifetime = cmp.Or(cfg.Lifetime, DefaultLifetime)
	cfg.NegativeLifetime = cmp.Or(cfg.NegativeLifetime, DefaultNegativeLifetime)
	cfg.StaleLifetime = cmp.Or(cfg.StaleLifetime, DefaultStaleLifetime)
	return cfg
}

// mapping checks what concerns entries.
func (cfg Config) mapping(check *conf.Check) *mapping {
	if len(cfg.SIPAttributes)+len(cfg.TelAttributes) == 0 {
		check.Failf("SIPAttributes and TelAttributes", "both missing")
	}
	check.Fail("BaseDN", checkBase(cfg.BaseDN))
	check.Fail("Filter", checkFilter(cfg.Filter))
	for _, list := range []struct {
		key   string
		attrs []string
	}{
		{"SIPAttributes", cfg.SIPAttributes},
		{"TelAttributes", cfg.TelAttributes},
		{"LineAttributes", cfg.LineAttributes},
		{"GroupAttributes", cfg.GroupAttributes},
		{"IDAttribute", []string{cfg.IDAttribute}},
		{"AccountAttribute", []string{cfg.AccountAttribute}},
		{"NameAttribute", []string{cfg.NameAttribute}},
		{"MailAttribute", []string{cfg.MailAttribute}},
	} {
		for _, attr := range list.attrs {
			check.Fail(list.key, checkAttribute(attr))
		}
	}
	m := &mapping{
		query: query{filter: cfg.Filter, sip: cfg.SIPAttributes, tel: cfg.TelAttributes, account: cfg.AccountAttribute},
		id:    cfg.IDAttribute, name: cfg.NameAttribute, mail: cfg.MailAttribute,
		lines: cfg.LineAttributes, groups: cfg.GroupAttributes, domain: cfg.Domain,
	}
	for _, template := range cfg.TelFormats {
		f, err := parseTelFormat(template)
		check.Fail("TelFormats", err)
		m.formats = append(m.formats, f)
	}
	return m
}

func checkBase(dn string) error {
	if dn == "" {
		return errors.New("missing")
	}
	_, err := ldap.ParseDN(dn)
	return err
}

func checkFilter(filter string) error {
	_, err := ldap.CompileFilter(filter)
	return err
}
