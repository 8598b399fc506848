package ldapdir

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/internal/conf"
)

// refusalPause is for how long a password that the directory refused is not
// offered again. It is long, because each attempt counts towards the lock-out of
// the account with which everybody is looked up: with Active Directory's usual
// five in thirty minutes, this stays below.
const refusalPause = 10 * time.Minute

// A binder makes connections those of the account that searches.
type binder struct {
	dn     string
	source PasswordSource
	log    *slog.Logger

	mu      sync.Mutex
	refused [sha256.Size]byte // of the password that was refused last
	until   time.Time
	err     error
}

// A refusedError says that the directory does not accept our own password, or that
// we have none to offer. No other server of the same directory would.
type refusedError struct{ err error }

func (e *refusedError) Error() string        { return e.err.Error() }
func (e *refusedError) Unwrap() error        { return e.err }
func (e *refusedError) Is(target error) bool { return target == ErrUnavailable }

// ready returns an error if there is no point in connecting: there is no password,
// or the one that there is was refused lately.
func (b *binder) ready() error {
	if b.dn == "" {
		return nil
	}
	password, err := b.source.reveal()
	if err != nil {
		return &refusedError{fmt.Errorf("ldapdir: %w", err)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil && sha256.Sum256([]byte(password)) == b.refused && time.Now().Before(b.until) {
		return b.err
	}
	return nil
}

// bind binds c within the context. Without a DN the connection stays anonymous.
func (b *binder) bind(ctx context.Context, c *conn) error {
	if b.dn == "" {
		return nil
	}
	password, err := b.source.reveal()
	if err != nil {
		return &refusedError{fmt.Errorf("ldapdir: %w", err)}
	}
	err = c.do(ctx, func(l *ldap.Conn) error { return l.Bind(b.dn, password) })
	if err == nil {
		return nil
	}
	err = &Error{Op: "bind", Server: c.host.url, Err: err}
	if code, _ := resultCode(err); code != ldap.LDAPResultInvalidCredentials {
		return err
	}
	b.log.Error("directory refuses the account that searches; not tried again with this password for now",
		"server", c.host.url, "dn", b.dn, "error", err, "pause", refusalPause)
	err = &refusedError{err}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused, b.until, b.err = sha256.Sum256([]byte(password)), time.Now().Add(refusalPause), err
	return err
}

// newBinder checks that what is configured would not bind as nobody unasked.
func newBinder(check *conf.Check, dn string, source PasswordSource, log *slog.Logger) *binder {
	if (dn == "") != source.isZero() {
		check.Failf("BindDN and BindPassword", "one without the other")
	}
	return &binder{dn: dn, source: source, log: log}
}
