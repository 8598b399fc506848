package server

import (
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/hostconfig"
)

// demoDomain is that of the demo's users.
const demoDomain = "example.com"

// demoUser is a user of the built-in directory. The passwords are no secret:
// the demo listens on loopback only, and prints them.
type demoUser struct {
	directory.Entry
	password string
}

func demoUsers() []demoUser {
	user := func(id, name, sip, number string) demoUser {
		sip += "@" + demoDomain
		return demoUser{directory.Entry{
			ID: id, Account: `DE\` + id, DisplayName: name,
			SIP: []string{sip}, Tel: []string{number}, Lines: []string{number}, Mail: sip,
		}, id + "-demo"}
	}
	return []demoUser{
		user("tom", "Tom Hanks", "tom.hanks", "2719"),
		user("sean", "Sean Connery", "sean.connery", "2720"),
		user("bill", "Bill Murray", "bill.murray", "2721"),
	}
}

// demoConfig is what runs without a configuration file.
func demoConfig() *config {
	c := &config{Config: hostconfig.Default(), demo: true}
	c.Domains = []string{demoDomain}
	// All of its users are on this machine: who mistypes a password does not lock the
	// others out.
	for _, loopback := range []string{"127.0.0.0/8", "::1/128"} {
		c.Auth.SharedSources = append(c.Auth.SharedSources, hostconfig.Network(netip.MustParsePrefix(loopback)))
	}
	return c
}

func demoDirectory() (*directory.Memory, error) {
	var entries []directory.Entry
	for _, u := range demoUsers() {
		entries = append(entries, u.Entry)
	}
	return directory.NewMemory(entries)
}

func demoAccounts() (*auth.LocalAccounts, error) {
	var list []auth.Account
	for _, u := range demoUsers() {
		password := []byte(u.password)
		hash, err := bcrypt.GenerateFromPassword(password, bcrypt.MinCost) // what is printed needs no better one
		if err != nil {
			return nil, err
		}
		list = append(list, auth.Account{Account: u.Account, PasswordHash: string(hash), DigestHA1: &auth.DigestHA1{
			Realm:  demoDomain,
			SHA256: auth.HA1(auth.SHA256, u.Account, demoDomain, password),
			MD5:    auth.HA1(auth.MD5, u.Account, demoDomain, password),
		}})
	}
	return auth.NewLocalAccounts(list)
}

func printDemo(w io.Writer) {
	fmt.Fprintln(w, "demo users (give -config for your own):")
	for _, u := range demoUsers() {
		fmt.Fprintf(w, "  %-12s  sip:%-24s  tel:%s  account %-7s  password %s\n",
			u.DisplayName, u.SIP[0], u.Tel[0], u.Account, u.password)
	}
}
