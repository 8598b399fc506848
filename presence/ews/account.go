package ews

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
)

// Credentials are those of the service account.
type Credentials struct {
	User     string // as DOMAIN\name, or name@domain
	Password auth.Secret
}

// PasswordFile returns a function for [Config.Credentials] that reads the password
// from a file each time: without a line break at its end.
func PasswordFile(user, path string) func(context.Context) (Credentials, error) {
	return func(context.Context) (Credentials, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return Credentials{}, err
		}
		defer clear(data)
		return Credentials{User: user, Password: auth.NewSecret(bytes.Clone(bytes.TrimRight(data, "\r\n")))}, nil
	}
}

type digest [sha256.Size]byte

// account is the service account, and what servers have said of its credentials.
// Credentials that no server has accepted yet are tried by one request at a time,
// and those that one refused are not sent again before a pause is over: servers
// lock accounts. It is safe for concurrent use.
type account struct {
	read  func(context.Context) (Credentials, error)
	pause time.Duration
	key   []byte        // of the process: digests of passwords must not be worth stealing
	trial chan struct{} // has one element while credentials are tried

	mu      sync.Mutex
	proven  digest
	strikes int    // how often they were refused since
	round   int    // counts the times that they were refused
	refused digest // until
	until   time.Time
}

func newAccount(read func(context.Context) (Credentials, error), pause time.Duration) *account {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &account{read: read, pause: pause, key: key, trial: make(chan struct{}, 1)}
}

// attempt is the use of credentials in one request. It ends with accepted, refused
// or unknown.
type attempt struct {
	Credentials
	account *account
	digest  digest
	round   int
	trial   bool
}

// begin returns the credentials to send.
func (a *account) begin(ctx context.Context) (*attempt, error) {
	c, err := a.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("ews: credentials: %w", err)
	}
	if c.User == "" || c.Password.Len() == 0 {
		return nil, errors.New("ews: credentials: user or password is empty")
	}
	t := &attempt{Credentials: c, account: a, digest: a.digest(c)}
	if proven, err := a.admit(t); proven || err != nil {
		return t, err
	}
	select {
	case a.trial <- struct{}{}:
		t.trial = true
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if _, err := a.admit(t); err != nil { // another attempt may have failed meanwhile
		t.unknown()
		return nil, err
	}
	return t, nil
}

// admit reports whether the credentials of t are known to be good, or the error
// where they are known to be bad.
func (a *account) admit(t *attempt) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.digest == a.refused && time.Now().Before(a.until) {
		return false, fmt.Errorf("%w a short while ago, not sent again yet", ErrUnauthorized)
	}
	t.round = a.round
	return t.digest == a.proven && a.strikes == 0, nil
}

func (a *account) digest(c Credentials) (d digest) {
	h := hmac.New(sha256.New, a.key)
	h.Write([]byte(c.User))
	h.Write([]byte{0})
	h.Write(c.Password.Reveal())
	h.Sum(d[:0])
	return d
}

// accepted notes that a server took the credentials.
func (t *attempt) accepted() {
	t.account.mu.Lock()
	t.account.proven, t.account.strikes = t.digest, 0
	t.account.mu.Unlock()
	t.unknown()
}

// errDoubt says that a server refused credentials that had been good.
var errDoubt = errors.New("ews: credentials refused that had been good: tried once more")

// refused notes that a server refused the credentials, and returns the error. Those
// that were good before have one more try: a server that is overloaded also
// answers 401.
func (t *attempt) refused() error {
	defer t.unknown()
	a := t.account
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case t.round != a.round: // another request was refused meanwhile, and that counts
		return errDoubt
	case t.digest == a.proven && a.strikes == 0:
		a.round++
		a.strikes = 1
		return errDoubt
	default:
		a.round++
		a.proven, a.refused, a.until = digest{}, t.digest, time.Now().Add(a.pause)
		return ErrUnauthorized
	}
}

// disabled notes that the server knows the credentials, and does not let the
// account in.
func (a *account) disabled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proven != (digest{}) {
		a.round++
		a.refused, a.proven, a.until = a.proven, digest{}, time.Now().Add(a.pause)
	}
}

// unknown ends the attempt without a verdict. It may be called again.
func (t *attempt) unknown() {
	if t.trial {
		t.trial = false
		<-t.account.trial
	}
}
