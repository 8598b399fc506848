package ldapdir_test

import (
	"context"
	"fmt"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
)

func ExampleNew() {
	cfg := ldapdir.ActiveDirectory()
	cfg.URLs = []string{"ldaps://dc1.corp.example.com", "ldaps://dc2.corp.example.com"}
	cfg.BindDN = `CORP\svc-presence`
	cfg.BindPassword = ldapdir.PasswordFile("/etc/presence/bind-password")
	cfg.BaseDN = "OU=Staff,DC=corp,DC=example,DC=com"
	cfg.Domain = "CORP"
	users, err := ldapdir.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer users.Close(context.Background())

	var _ directory.Directory = users
	fmt.Println(cfg.BindPassword, users.Stats().Searches)
	// Output: [redacted] 0
}

func ExampleNewADVerifier() {
	v, err := ldapdir.NewADVerifier(ldapdir.ADConfig{
		Server:        ldapdir.Server{URLs: []string{"ldaps://dc1.corp.example.com"}},
		DefaultDomain: "CORP",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var _ auth.Verifier = v
	// Passwords do not go over the wire in clear.
	_, err = ldapdir.NewADVerifier(ldapdir.ADConfig{Server: ldapdir.Server{URLs: []string{"ldap://dc1.corp.example.com"}}})
	fmt.Println(err)
	// Output: ldapdir: ADConfig.URLs: passwords need ldaps or StartTLS
}

func ExampleNewBindVerifier() {
	v, err := ldapdir.NewBindVerifier(ldapdir.BindConfig{
		Server:       ldapdir.Server{URLs: []string{"ldap://ldap.example.com"}, StartTLS: true},
		BindDN:       "cn=presence,ou=services,dc=example,dc=com", // finds the entry of an account
		BindPassword: ldapdir.PasswordFile("/etc/presence/bind-password"),
		BaseDN:       "ou=people,dc=example,dc=com",
		Domain:       "EXAMPLE", // alice, EXAMPLE\alice
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	guard, err := auth.New(auth.Config{Verifier: v})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(guard.Stats().Sessions)
	// Output: 0
}
