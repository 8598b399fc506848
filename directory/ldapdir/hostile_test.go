package ldapdir_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
)

// Whatever a server sends, the answer comes in time, is no statement about the
// address, and what was received is bounded.
func TestHostileReplies(t *testing.T) {
	entry := ldap.NewEntry("uid=alice,dc=x", map[string][]string{"mail": {"alice@example.test"}, "entryUUID": {"a1"}})
	replies := map[string]func(c net.Conn, id int64){
		"garbage":        func(c net.Conn, _ int64) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"nothing":        func(c net.Conn, _ int64) { c.Close() },
		"half a message": func(c net.Conn, _ int64) { c.Write([]byte{0x30, 0x20, 0x02}); c.Close() },
		"huge length": func(c net.Conn, _ int64) {
			c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x84, 0x7f, 0xff, 0xff, 0x00})
		},
		"deep nesting":  func(c net.Conn, _ int64) { c.Write(bytes.Repeat([]byte{0x30, 0x80}, 100_000)) },
		"other id":      func(c net.Conn, id int64) { send(c, id+7, result(ldap.ApplicationSearchResultDone, 0)) },
		"another reply": func(c net.Conn, id int64) { send(c, id, result(ldap.ApplicationBindResponse, 0)) },
		"no result": func(c net.Conn, id int64) {
			send(c, id, ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultDone, nil, ""))
		},
		"bad entry": func(c net.Conn, id int64) {
			send(c, id, ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, ""))
		},
		"endless": func(c net.Conn, id int64) {
			for send(c, id, searchEntry(ldap.NewEntry("uid=x", map[string][]string{"mail": {strings.Repeat("x", 1<<20)}}))) == nil {
			}
		},
		"slow": func(c net.Conn, id int64) {
			for send(c, id, searchEntry(entry)) == nil {
				time.Sleep(10 * time.Millisecond)
			}
		},
	}
	for name, raw := range replies {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fakeServer, d *ldapdir.Directory) {
				f.raw = raw
				start := time.Now()
				_, err := lookup(t, d, "sip:alice@example.test")
				require.ErrorIs(t, err, ldapdir.ErrUnavailable)
				require.NotErrorIs(t, err, directory.ErrNotFound)
				require.LessOrEqual(t, time.Since(start), ldapdir.DefaultTimeout)
				require.Less(t, len(err.Error()), 600)
				require.Zero(t, d.Stats().Conns, "the connection is not used again")
			})
		})
	}
}

// What an entry says is taken only as far as it makes sense.
func TestOddEntries(t *testing.T) {
	f := newFakeServer()
	f.users = []*ldap.Entry{
		ldap.NewEntry("uid=odd,dc=x", map[string][]string{
			"uid": {"odd\nuser"}, "ENTRYUUID": {"\x00\x01\xff"}, "Mail": {"odd@example.test", "not an address", "SMTP:odd@example.test", "<x>"},
			"mail": {"odd@example.test"}, "telephoneNumber": {"none", "ext 5"}, "displayName": {"\xff"},
		}),
		ldap.NewEntry("uid=anon,dc=x", map[string][]string{"mail": {"anon@example.test"}}),
		// A server that returns what was not asked for.
		ldap.NewEntry("uid=alias,dc=x", map[string][]string{"mail": {"alice@example.test"}, "entryUUID": {"e"}, "telephoneNumber": {"7"}}),
	}
	d := open(t, f.config())
	got, err := lookup(t, d, "sip:odd@example.test")
	require.NoError(t, err)
	require.Equal(t, directory.Entry{ID: "0001ff", Mail: "odd@example.test", SIP: []string{"odd@example.test"}}, got)
	_, err = lookup(t, d, "sip:anon@example.test")
	require.ErrorIs(t, err, ldapdir.ErrUnavailable, "without ID nobody knows who it is")
}

// What a server finds for an address must have that address: accents count, though
// Active Directory ignores them.
func TestLooseMatch(t *testing.T) {
	f := newFakeServer()
	f.users = nil
	f.raw = func(c net.Conn, id int64) {
		send(c, id, searchEntry(ldap.NewEntry("cn=josé", map[string][]string{"mail": {"josé@example.test"}, "entryUUID": {"1"}})))
		send(c, id, result(ldap.ApplicationSearchResultDone, 0))
	}
	d := open(t, f.config())
	_, err := lookup(t, d, "sip:jose@example.test")
	require.ErrorIs(t, err, directory.ErrNotFound)
	_, err = lookup(t, d, "sip:jos%C3%A9@example.test")
	require.NoError(t, err)
}

// Where two entries have an address, the one counts that has it in the preferred
// attribute.
func TestPreferredAttribute(t *testing.T) {
	f := newFakeServer()
	f.raw = func(c net.Conn, id int64) {
		send(c, id, searchEntry(ldap.NewEntry("cn=a", map[string][]string{"mail": {"x@example.test"}, "entryUUID": {"a"}})))
		send(c, id, searchEntry(ldap.NewEntry("cn=b", map[string][]string{"sipAddress": {"SIP:X@example.test"}, "entryUUID": {"b"}})))
		send(c, id, result(ldap.ApplicationSearchResultDone, 0))
	}
	for attrs, want := range map[string]string{"sipAddress mail": "b", "mail sipAddress": "a"} {
		cfg := f.config()
		cfg.SIPAttributes = strings.Fields(attrs)
		e, err := lookup(t, open(t, cfg), "sip:x@example.test")
		require.NoError(t, err)
		require.Equal(t, want, e.ID)
	}
}

// BSP-2.10-7: no password shows up anywhere, whatever happens.
func TestNoSecretIsShown(t *testing.T) {
	const service, user = "canary-service", "canary-user"
	f := newFakeServer()
	f.password = "something else"
	log := new(lockedBuffer)
	cfg := f.config()
	cfg.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Hooks.Search = func(i ldapdir.SearchInfo) { cfg.Logger.Debug("search", "info", i) }
	d := open(t, cfg)
	_, err := lookup(t, d, "sip:alice@example.test")
	require.ErrorIs(t, err, ldapdir.ErrUnavailable)

	bind := ldapdir.BindConfig{
		Server: cfg.Server, AllowPlaintext: true, BindDN: cfg.BindDN, BindPassword: cfg.BindPassword, BaseDN: cfg.BaseDN,
		AccountAttribute: "mail", Hooks: ldapdir.Hooks{Check: func(i ldapdir.CheckInfo) { cfg.Logger.Debug("check", "info", i) }},
	}
	v, err := ldapdir.NewBindVerifier(bind)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	c := credentials(t, "alice@example.test", user)
	_, err2 := v.Verify(t.Context(), c)
	require.ErrorIs(t, err2, ldapdir.ErrUnavailable)
	f.password = service
	f2, err := ldapdir.NewBindVerifier(bind)
	require.NoError(t, err)
	t.Cleanup(f2.Close)
	_, err3 := f2.Verify(t.Context(), c)
	require.ErrorIs(t, err3, auth.ErrBadPassword)

	cfg.Logger.Info("dump", "config", cfg, "bind", bind.BindPassword, "credentials", c, "verifier", v)
	everything := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x", cfg, cfg, cfg, cfg.BindPassword, cfg.BindPassword, cfg.BindPassword) +
		fmt.Sprintf("%v %+v %v %v %v %+v", bind, bind, err, err2, err3, d.Stats())
	require.NotContains(t, everything, service)
	require.NotContains(t, everything, user)
	require.NotContains(t, everything, fmt.Sprintf("%x", service))
	require.Contains(t, everything, auth.Redacted)
}

// A flood of sign-ins does not open more connections than are allowed.
func TestMaxChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeServer()
		f.hangs.Store(true)
		d := new(countingDialer)
		v, err := ldapdir.NewADVerifier(ldapdir.ADConfig{
			Server: ldapdir.Server{URLs: []string{"ldap://fake"}, Dial: func(ctx context.Context, n, a string) (net.Conn, error) {
				c, err := f.dial(ctx, n, a)
				d.open.Add(1)
				return &countedConn{Conn: c, d: d}, err
			}},
			AllowPlaintext: true, MaxChecks: 3,
		})
		require.NoError(t, err)
		c := credentials(t, `CORP\alice`, "x")
		done := make(chan error)
		for range 30 {
			go func() {
				_, err := v.Verify(t.Context(), c)
				done <- err
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 3, d.open.Load())
		for range 30 {
			require.ErrorIs(t, <-done, ldapdir.ErrUnavailable)
			require.LessOrEqual(t, d.open.Load(), int64(3))
		}
		f.wg.Wait()
	})
}

// What an entry belongs to is all values of the attributes that are configured.
func TestGroups(t *testing.T) {
	f := newFakeServer()
	f.users = []*ldap.Entry{ldap.NewEntry("uid=alice,dc=x", map[string][]string{
		"entryUUID": {"a1"}, "mail": {"alice@example.test"},
		"memberof": {"CN=Board,DC=x", "cn=a\nb", " CN=Staff,DC=x "}, "department": {"Sales"},
	})}
	cfg := f.config()
	alice, err := lookup(t, open(t, cfg), "sip:alice@example.test")
	require.NoError(t, err)
	require.Empty(t, alice.Groups)
	cfg.GroupAttributes = []string{"memberOf", "department", "title"}
	alice, err = lookup(t, open(t, cfg), "sip:alice@example.test")
	require.NoError(t, err)
	require.Equal(t, []string{"CN=Board,DC=x", "CN=Staff,DC=x", "Sales"}, alice.Groups)
}

// An entry is found by its account, as by an address: in the domain that is configured, from
// the cache, and whatever the server thinks is alike (BSX-16).
func TestLookupAccount(t *testing.T) {
	f := newFakeServer()
	user := func(id string, uids ...string) *ldap.Entry {
		return ldap.NewEntry("uid="+id+",dc=x", map[string][]string{"entryUUID": {id}, "uid": uids, "mail": {id + "@example.test"}})
	}
	f.users = []*ldap.Entry{user("a1", "Alice"), user("b1", "bob"), user("b2", "Bob"), user("c1", "carol"), user("c2", "caröl")}
	cfg := f.config()
	cfg.Domain = "CORP"
	d := open(t, cfg)
	for range 2 {
		e, err := d.LookupAccount(t.Context(), `corp\ALICE`)
		require.NoError(t, err)
		require.Equal(t, "a1", e.ID)
		require.Equal(t, `CORP\Alice`, e.Account)
	}
	require.EqualValues(t, 1, d.Stats().Searches)
	for _, account := range []string{`other\alice`, "alice", `corp\alic*`, `corp\ali`, "", `corp\a)(uid=*`} {
		_, err := d.LookupAccount(t.Context(), account)
		require.ErrorIs(t, err, directory.ErrNotFound, account)
	}
	_, err := d.LookupAccount(t.Context(), `corp\bob`)
	require.ErrorIs(t, err, directory.ErrAmbiguous)
	e, err := d.LookupAccount(t.Context(), `corp\carol`)
	require.NoError(t, err)
	require.Equal(t, "c1", e.ID)

	cfg.Domain = ""
	e, err = open(t, cfg).LookupAccount(t.Context(), `other\alice`)
	require.NoError(t, err, "accounts of no domain are of any")
	require.Equal(t, "a1", e.ID)
}
