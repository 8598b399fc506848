package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/openblustar/blustar/auth"
)

// maxPasswordInput bounds what hash-password reads, in bytes.
const maxPasswordInput = 4096

// hashCommand reads a password, up to a line break, and prints its hash: what an
// accounts file has as password_hash. With -account it prints the whole entry,
// and with -realm also the secrets for Digest.
func hashCommand(args []string, e env) error {
	fs := flag.NewFlagSet("hash-password", flag.ContinueOnError)
	account := fs.String("account", "", "print the entry of an accounts file for this `account`")
	realm := fs.String("realm", "", "with digest_ha1 for this `realm`; needs -account")
	amcc := fs.Bool("amcc", false, "as the account of a mobile client controller; needs -account")
	if err := parse(fs, args, e); err != nil {
		return err
	}
	if *account == "" && (*realm != "" || *amcc) {
		return usageError("hash-password: -realm and -amcc need -account")
	}
	password, err := readPassword(e.stdin)
	if err != nil {
		return err
	}
	defer clear(password)
	hash, err := auth.HashPassword(password)
	if err != nil {
		return err
	}
	if *account == "" {
		_, err = fmt.Fprintln(e.stdout, hash)
		return err
	}
	if _, err := auth.ParseName(*account); err != nil {
		return usageError(fmt.Sprintf("hash-password: -account: %v", err))
	}
	entry := auth.Account{Account: *account, PasswordHash: hash, AMCC: *amcc}
	if *realm != "" {
		entry.DigestHA1 = &auth.DigestHA1{
			Realm:  *realm,
			SHA256: auth.HA1(auth.SHA256, *account, *realm, password),
			MD5:    auth.HA1(auth.MD5, *account, *realm, password),
		}
	}
	text, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", text)
	return err
}

func readPassword(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPasswordInput))
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, errors.New("standard input: no password")
	}
	return line, nil
}
