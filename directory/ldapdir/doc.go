// Package ldapdir finds users in LDAP directories, Active Directory above all, and
// checks their passwords there.
//
// [Directory] implements [directory.Directory] and [directory.Batch]: whose is this
// address? [ADVerifier] and [BindVerifier] implement [auth.Verifier]: is this
// password good, and whose is it? The three are independent of each other, and of
// each other's connections.
//
// # Looking up
//
// An address is looked up in columns, attributes in order of preference
// ([Config].SIPAttributes and TelAttributes). A value may be bare, as in mail, or a
// URI, as in msRTCSIP-PrimaryUserAddress ("sip:tom@example.com") and proxyAddresses
// ("SIP:tom@example.com"); both forms are searched for, escaped (RFC 4515 §3). What
// comes back counts only if it has the very address: servers compare more loosely,
// and Active Directory takes "jose" for "josé".
//
// Two entries with one address are an [directory.AmbiguousError], which is logged
// with their names and remembered like any answer. Exceptions are what the order
// of preference decides, and what Filter excludes: contacts, for example, have
// addresses too.
//
// Telephone numbers are compared as text by most servers: "+14255550102" does not
// find "+1 (425) 555-0102". Therefore numbers are searched for in each of
// [Config].TelFormats too, which should list the ways in which numbers are written
// in the directory. Wildcards would find them all, but no index would help.
//
// A list of addresses takes one search for some fifty of them. If the answer is more
// than the server gives out, each half is asked for. References to other servers
// are not followed: name the base under which users really are, or a global catalog.
//
// # Remembering
//
// Answers are remembered: entries for [Config].Lifetime, that there is none for
// NegativeLifetime, in two stores of bounded size, so that asking for strangers
// pushes out no users. Concurrent look-ups of one address share a search.
//
// # When the directory is down
//
// A directory that cannot be asked is never "not found". Every failure is an
// [ErrUnavailable]: servers that are down, slow or busy, certificates that do not
// verify, a base that does not exist, an account that may not search, partial
// results. It comes after [Server].Timeout at the latest, twice that where a second
// server is tried; and once a server is known to fail, it comes at once: one caller
// in a while, after a growing pause of up to [Server].MaxBackoff, finds out whether
// the server is back. There is no need to restart anything.
//
// Entries past their lifetime are used meanwhile, for up to StaleLifetime more;
// callers wait a quarter of a second for a better answer. Whoever is remembered is
// answered without any wait for the network in any case.
//
// With several URLs, the first server that works is used. One that has failed is
// preferred again five minutes later.
//
// A bind password that the server refused is not offered again for ten minutes,
// because each attempt counts towards the lock-out of the account with which
// everybody is found; a changed one (see [PasswordFile]) is used at once.
//
// # Checking passwords
//
// Each check is a bind on a fresh connection, over TLS. Whose password it was is
// then read from the server, not taken from what was typed: in Active Directory
// `CORP\alice`, ` corp\ALICE`, "alice@corp" and "alice@corp.example.com" all are
// alice, and `OTHER\alice` of a trusted domain is not. The ID of the identity is
// that of the [directory.Entry], if both have the same IDAttribute.
//
// What the server says of a refusal becomes a reason of package auth: wrong
// password, locked, disabled, expired and so on. Everything that is not about the
// credentials is an [ErrUnavailable], also results 8 and 13, which say that the
// server wants TLS, and also `data 51f`, which says that the user's own domain
// cannot be reached.
//
// A password is handed to the LDAP library as a string, of which Go keeps copies
// until they are collected: wiping [auth.Credentials] wipes what this module holds,
// not those.
//
// # What Active Directory needs
//
// Start from [ActiveDirectory]:
//
//	cfg := ldapdir.ActiveDirectory()
//	cfg.URLs = []string{"ldaps://dc1.corp.example.com", "ldaps://dc2.corp.example.com"}
//	cfg.TLS = &tls.Config{RootCAs: pool} // see LoadCA; nil where the system trusts the CA
//	cfg.BindDN = `CORP\svc-presence`
//	cfg.BindPassword = ldapdir.PasswordFile("/etc/presence/bind-password")
//	cfg.BaseDN = "OU=Staff,DC=corp,DC=example,DC=com"
//	cfg.Domain = "CORP"
//
// The bind account is an ordinary user, of Domain Users and nothing else: it reads
// objectGUID, sAMAccountName, displayName, mail, proxyAddresses and the numbers, all
// of which authenticated users may. Deny it interactive log-on, and let its password
// be long and not expire. The verifier needs no account: each user reads the own
// entry and the name of the domain.
//
// Encrypt: a domain controller refuses simple binds in clear (result 8), and its
// certificate must name the host of the URL. Attributes that are looked up should
// be indexed. mail, proxyAddresses and msRTCSIP-PrimaryUserAddress are;
// telephoneNumber is not unless an administrator sets its searchFlags, and ipPhone
// and otherTelephone are not either. Unindexed, each number that is not in the
// cache scans the users of BaseDN: 13 ms for 3,000 of them, against 0.2 ms.
//
// A global catalog (port 3269) knows the users of all domains, but not each
// attribute.
//
// # What OpenLDAP needs
//
// The zero values of the attribute names suit inetOrgPerson: entryUUID, uid, mail,
// displayName. Give the bind account read access to these below BaseDN, and nothing
// else:
//
//	access to dn.subtree="ou=People,dc=example,dc=com" attrs=entry,entryUUID,uid,mail,displayName,telephoneNumber,objectClass
//	  by dn.exact="cn=svc-presence,ou=Service,dc=example,dc=com" read
//
// Index what is looked up for equality, "olcDbIndex: uid,mail,telephoneNumber eq":
// in a filter over several attributes, one without index makes the server look at
// every entry. For [BindVerifier], users need auth access to userPassword, which is
// usual.
//
// # Limits
//
// At most MaxConns connections search (4), MaxChecks checks are under way (16),
// MaxPending addresses are waited for (10,000), CacheSize answers of each kind are
// kept (50,000), and 16 MB are read in answer to one request.
package ldapdir
