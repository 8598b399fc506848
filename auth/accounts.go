package auth

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/internal/strictjson"
)

// Account is one entry of an accounts file. Printing it shows the name alone;
// its JSON is the file's and has everything.
type Account struct {
	// Account is the name in one of the forms of ParseName.
	Account string `json:"account"`
	// PasswordHash is a bcrypt hash, see HashPassword. "" is for an account
	// that has a Digest secret alone.
	PasswordHash string `json:"password_hash,omitempty"`
	// AMCC makes it an account for mobile client controllers, and for nobody else (§2.11).
	AMCC bool `json:"amcc,omitempty"`
	// DigestHA1 lets the account authenticate by Digest.
	DigestHA1 *DigestHA1 `json:"digest_ha1,omitempty"`
}

// DigestHA1 are Digest secrets as made by [HA1], of the Account as written
// there, in hexadecimal. One of the two may be "".
type DigestHA1 struct {
	Realm  string `json:"realm"`
	SHA256 string `json:"sha256,omitempty"`
	MD5    string `json:"md5,omitempty"`
}

// Format prints the name alone.
func (a Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.Account) }

// Format prints the realm alone.
func (d DigestHA1) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.Realm) }

// maxAccounts bounds an accounts file: 64 MB.
const maxAccounts = 64 << 20

// ReadAccounts reads an accounts file: {"accounts":[{"account":…}]}. The error
// names the line, the key or the account that something is wrong with.
func ReadAccounts(r io.Reader) ([]Account, error) {
	var file struct {
		Accounts []Account `json:"accounts"`
	}
	if err := strictjson.Read(io.LimitReader(r, maxAccounts), &file); err != nil {
		return nil, fmt.Errorf("auth: accounts: %w", err)
	}
	for _, a := range file.Accounts {
		if err := a.check(); err != nil {
			return nil, err
		}
	}
	return file.Accounts, nil
}

func (a Account) check() error {
	if _, err := ParseName(a.Account); err != nil {
		return fmt.Errorf("auth: accounts: account %q: %w", a.Account, err)
	}
	if a.PasswordHash != "" {
		if _, err := bcrypt.Cost([]byte(a.PasswordHash)); err != nil || len(a.PasswordHash) != 60 {
			return fmt.Errorf("auth: accounts: account %q: password_hash is no bcrypt hash", a.Account)
		}
	}
	if a.DigestHA1 == nil {
		return nil
	}
	if a.DigestHA1.Realm == "" {
		return fmt.Errorf("auth: accounts: account %q: digest_ha1 without realm", a.Account)
	}
	for key, v := range map[string]string{"sha256": a.DigestHA1.SHA256, "md5": a.DigestHA1.MD5} {
		want := map[string]int{"sha256": 32, "md5": 16}[key]
		if b, err := hex.DecodeString(v); v != "" && (err != nil || len(b) != want) {
			return fmt.Errorf("auth: accounts: account %q: digest_ha1.%s is not %d bytes in hexadecimal", a.Account, key, want)
		}
	}
	return nil
}

// LoadAccounts makes local accounts of an accounts file. The error names the file.
func LoadAccounts(path string) (*LocalAccounts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: accounts: %w", err)
	}
	defer f.Close()
	list, err := ReadAccounts(f)
	if err == nil {
		var l *LocalAccounts
		if l, err = NewLocalAccounts(list); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w (in %s)", err, path)
}

// LocalAccounts are accounts of the server itself: of mobile client controllers,
// of clients that use Digest, and of everybody where there is no directory. It
// does not change once made, and is safe for concurrent use.
//
// Names compare without regard to case. An account without a domain takes any: "tom" is found
// by DE\tom and tom@example.com, where those are not listed themselves.
type LocalAccounts struct {
	byName     map[Name]Account
	realms     []string
	algorithms []Algorithm // of Digest
	// cost is the highest of all hashes, for accounts that do not exist.
	cost int
	// cpus lets one comparison run on each processor; the others wait.
	cpus chan struct{}
}

var (
	_ Verifier       = (*LocalAccounts)(nil)
	_ DigestAccounts = (*LocalAccounts)(nil)
)

// NewLocalAccounts checks the accounts. The error names the one that is wrong or listed twice.
func NewLocalAccounts(list []Account) (*LocalAccounts, error) {
	l := &LocalAccounts{byName: make(map[Name]Account, len(list)), cpus: make(chan struct{}, runtime.GOMAXPROCS(0))}
	realms, algorithms := make(map[string]bool), make(map[Algorithm]bool)
	for _, a := range list {
		if err := a.check(); err != nil {
			return nil, err
		}
		name, _ := ParseName(a.Account)
		if _, twice := l.byName[name.key()]; twice {
			return nil, fmt.Errorf("auth: accounts: account %q is listed twice", a.Account)
		}
		l.byName[name.key()] = a
		if cost, err := bcrypt.Cost([]byte(a.PasswordHash)); err == nil {
			l.cost = max(l.cost, cost)
		}
		if a.DigestHA1 != nil {
			realms[a.DigestHA1.Realm] = true
			algorithms[SHA256] = algorithms[SHA256] || a.DigestHA1.SHA256 != ""
			algorithms[MD5] = algorithms[MD5] || a.DigestHA1.MD5 != ""
		}
	}
	if l.cost == 0 {
		l.cost = bcrypt.DefaultCost
	}
	l.realms = slices.Sorted(maps.Keys(realms))
	l.algorithms = slices.DeleteFunc([]Algorithm{SHA256, MD5}, func(a Algorithm) bool { return !algorithms[a] })
	return l, nil
}

// Len returns the number of accounts.
func (l *LocalAccounts) Len() int { return len(l.byName) }

// All returns the accounts, in no order.
func (l *LocalAccounts) All() iter.Seq[Account] { return maps.Values(l.byName) }

// Find returns the account that a name, in one of the forms of [ParseName], means: as
// [Identity] has it.
func (l *LocalAccounts) Find(name string) (account string, ok bool) {
	n, err := ParseName(name)
	if err != nil {
		return "", false
	}
	_, found, ok := l.find(n)
	return found.String(), ok
}

// Realms returns the realms of the Digest secrets, each once.
func (l *LocalAccounts) Realms() []string { return slices.Clone(l.realms) }

// Algorithms returns the Digest algorithms for which an account has a secret,
// the strongest first.
func (l *LocalAccounts) Algorithms() []Algorithm { return slices.Clone(l.algorithms) }

// LocksAccounts returns false: nobody is locked out by wrong passwords here, see the
// package documentation on throttling.
func (*LocalAccounts) LocksAccounts() bool { return false }

func (l *LocalAccounts) find(n Name) (Account, Name, bool) {
	name := n.key()
	a, ok := l.byName[name]
	if !ok {
		name = Name{User: n.bare()}
		a, ok = l.byName[name]
	}
	return a, name, ok
}

// Verify implements [Verifier]. An account that does not exist takes the time of one that does.
func (l *LocalAccounts) Verify(ctx context.Context, c Credentials) (Identity, error) {
	select {
	case l.cpus <- struct{}{}:
	case <-ctx.Done():
		return Identity{}, context.Cause(ctx)
	}
	defer func() { <-l.cpus }()

	hash, name, reason := l.hash(c)
	password := c.Password.Reveal()
	tooLong := len(password) > maxBcrypt
	if err := bcrypt.CompareHashAndPassword(hash, password[:min(len(password), maxBcrypt)]); err != nil || tooLong {
		return Identity{}, cmp.Or(reason, ErrBadPassword)
	}
	return Identity{Account: name.String(), AMCC: c.AMCC, Stamp: saltOf(string(hash))}, reason
}

// HasAccount reports whether the account of an identity is there, with the password that it was
// verified with: what [Guard.EndSessions] wants to know.
func (l *LocalAccounts) HasAccount(id Identity) bool {
	n, err := ParseName(id.Account)
	a, ok := l.byName[n.key()]
	return err == nil && ok && a.AMCC == id.AMCC && saltOf(a.PasswordHash) == id.Stamp
}

// saltOf returns what a bcrypt hash begins with: version, cost and the random salt.
func saltOf(hash string) string { return hash[:min(len(hash), 29)] }

// hash returns what to compare a password with, in any case.
func (l *LocalAccounts) hash(c Credentials) ([]byte, Name, error) {
	a, name, ok := l.find(c.Name)
	if !ok || a.AMCC != c.AMCC || a.PasswordHash == "" {
		return []byte(noPassword(l.cost)), Name{}, ErrUnknownAccount
	}
	return []byte(a.PasswordHash), name, nil
}

// DigestAccount implements [DigestAccounts]. The username must be the account as
// listed, since the secret was made of it; only its case may differ in what is
// found, and then the response will not fit.
func (l *LocalAccounts) DigestAccount(_ context.Context, q DigestQuery) (DigestAccount, error) {
	n, err := ParseName(q.Username)
	if err != nil {
		return DigestAccount{}, err
	}
	a, ok := l.byName[n.key()]
	if !ok || a.AMCC != q.AMCC {
		return DigestAccount{}, ErrUnknownAccount
	}
	if a.DigestHA1 == nil || a.DigestHA1.Realm != q.Realm {
		return DigestAccount{}, ErrNoDigest
	}
	ha1 := a.DigestHA1.SHA256
	if q.Algorithm == MD5 {
		ha1 = a.DigestHA1.MD5
	}
	if ha1 == "" {
		return DigestAccount{}, ErrNoDigest
	}
	return DigestAccount{HA1: NewSecret([]byte(strings.ToLower(ha1))),
		Identity: Identity{Account: n.Account(), AMCC: a.AMCC}}, nil
}
