package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/loopback"
)

// review warns of what is allowed, and is seldom meant: in the files, and where they do
// not fit each other.
func (b *backends) review(c *config) {
	f := b.files.Load()
	if f.token.Len() > 0 && !loopback.Is(c.HTTP.Listen) {
		b.warn("the control API is served without TLS: who can read the network has its token; put a TLS proxy before it")
	}
	if ad := c.ActiveDirectory; ad != nil && c.Directory != nil && c.Directory.LDAP != nil &&
		strings.EqualFold(c.Directory.LDAP.AccountAttribute, "uid") {
		b.warn("active_directory checks passwords at Active Directory and Samba AD alone, and directory.ldap.account_attribute is uid, " +
			"as in other LDAP servers: for those, set auth.ldap in its place")
	}
	if f.users == nil {
		return
	}
	b.reviewUsers(f)
	if c.Auth.Mode != "off" && c.ActiveDirectory == nil && f.accounts.Len() > 0 {
		b.reviewAccounts(f)
	}
}

// reviewUsers finds addresses and lines that several users have.
func (b *backends) reviewUsers(f *inputs) {
	owners := make(map[string][]string)
	for e := range f.users.All() {
		for _, sip := range e.SIP {
			owners["sip:"+sip] = append(owners["sip:"+sip], e.ID)
		}
		for _, tel := range e.Tel {
			owners["tel:"+tel] = append(owners["tel:"+tel], e.ID)
		}
		if e.Account != "" {
			key := "account " + strings.ToLower(e.Account)
			owners[key] = append(owners[key], e.ID)
		}
	}
	var twice []string
	for what, ids := range owners {
		if len(ids) > 1 {
			twice = append(twice, fmt.Sprintf("%s: %s", what, some(ids)))
		}
	}
	slices.Sort(twice)
	if len(twice) > 0 {
		b.warn("several users have the same, and none of them is found by it: " + some(twice))
	}
}

// reviewAccounts finds accounts that no user has, and users without one.
func (b *backends) reviewAccounts(f *inputs) {
	used := make(map[string]bool)
	var without []string
	for e := range f.users.All() {
		if e.Account == "" {
			continue // nobody signs in as this one
		}
		if name, ok := f.accounts.Find(e.Account); ok {
			used[name] = true
		} else {
			without = append(without, e.ID)
		}
	}
	var nobodys []string
	for a := range f.accounts.All() {
		if name, _ := f.accounts.Find(a.Account); !a.AMCC && !used[name] {
			nobodys = append(nobodys, a.Account)
		}
	}
	if len(nobodys) > 0 {
		b.warn("accounts that no user has, so that they can sign in and publish for nobody: " + some(nobodys))
	}
	if len(without) > 0 {
		b.warn("users whose account is not in the accounts, so that they cannot sign in: " + some(without))
	}
}

// some lists the first few.
func some(items []string) string {
	const most = 5
	if len(items) <= most {
		return list(items)
	}
	return fmt.Sprintf("%s and %d more", list(items[:most]), len(items)-most)
}

var (
	_ directory.Directory = (*backends)(nil)
	_ auth.Verifier       = accounts{}
	_ auth.DigestAccounts = accounts{}
)
