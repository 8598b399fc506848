package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/internal/rig"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
)

// serveLDAP starts the program on a directory. More is the rest of the
// configuration.
func serveLDAP(t *testing.T, ldap map[string]any, password string, more map[string]any) *program {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(canary), bcrypt.MinCost)
	require.NoError(t, err)
	ldap["bind_password_file"] = "password"
	cfg := map[string]any{
		"listen": []string{"udp:127.0.0.1:0"}, "http": map[string]any{"listen": "127.0.0.1:0"}, "accounts": "accounts.json",
		"directory": map[string]any{"ldap": ldap},
	}
	for key, v := range more {
		cfg[key] = v
	}
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	return start(t, "-config", filepath.Join(files(t, map[string]string{
		"server.json": string(text), "password": password + "\n",
		"accounts.json": fmt.Sprintf(`{"accounts":[{"account":"alice","password_hash":%q}]}`, hash),
	}), "server.json"))
}

// eventually calls the control API until it has this status.
func (p *program) eventually(path string, status int) {
	p.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(patience); ; {
		a := p.request("GET", path, "")
		if a.status == status {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			require.FailNow(p.t, path, "still %d %s", a.status, a.body)
		}
	}
}

// Passwords by bind at a real OpenLDAP (auth.ldap), BSP-2.10-7, BSP-2.10-8: the right one
// signs in; whoever guesses locks nobody out there; a policy goes by an attribute of the
// watcher (BSX-16); and who is removed there has no session from the next look on (BSX-10).
func TestSignInByBind(t *testing.T) {
	slapd := rig.Start(t, "slapd", "--ppolicy") // which locks an account after 5
	admin, err := ldap.DialURL(slapd["URL"])
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Bind(slapd["ADMIN_DN"], slapd["ADMIN_PW"]))
	dn := func(uid string) string {
		res, err := admin.Search(&ldap.SearchRequest{BaseDN: slapd["BASE_DN"], Scope: ldap.ScopeWholeSubtree, Filter: "(uid=" + uid + ")"})
		require.NoError(t, err)
		require.Len(t, res.Entries, 1)
		return res.Entries[0].DN
	}
	bob := dn("bob")
	sales := ldap.NewModifyRequest(bob, nil)
	sales.Replace("departmentNumber", []string{"Sales"})
	require.NoError(t, admin.Modify(sales))

	policy := filepath.Join(t.TempDir(), "policy.json")
	require.NoError(t, os.WriteFile(policy, []byte(`{"rules":[{"watchers":["group:sales"],"sight":"no-lines"}]}`), 0o600))
	p := serveLDAP(t, map[string]any{
		"url": slapd["URL_TLS"], "ca_file": slapd["CA_FILE"], "bind_dn": slapd["BIND_DN"], "base_dn": slapd["BASE_DN"],
		"sip_attributes": []string{slapd["SIP_ATTR"], "mail"}, "group_attributes": []string{"departmentNumber"},
	}, slapd["BIND_PW"], map[string]any{"auth": map[string]any{"ldap": true}, "policy": policy})
	address := func(user string) string { return "sip:" + user + "@" + slapd["SIP_DOMAIN"] }
	pw := slapd["USER_PW"]
	alice := p.phone("udp", address("alice"), "alice", pw)
	require.NoError(t, alice.SignIn(t.Context()))
	number := alice.hears(address("alice"), "herself", func(s client.Summary) bool { return len(s.Lines) > 0 }).Summary().Lines[0].DN
	require.Equal(t, 204, p.request("PUT", "/v1/lines/"+number, `{"state":"busy"}`).status)
	watcher := p.phone("udp", address("bob"), "bob", pw)
	require.NoError(t, watcher.Watch(t.Context(), address("alice")))
	watcher.hears(address("alice"), "busy, and not why", is("busy", "Busy"))

	for range 8 {
		guess := p.phone("udp", address("carol"), "carol", "guess")
		require.Error(t, guess.SignIn(t.Context()))
	}
	user, err := ldap.DialURL(slapd["URL"])
	require.NoError(t, err)
	defer user.Close()
	require.NoError(t, user.Bind(dn("carol"), pw), "is not locked")

	require.Contains(t, p.request("GET", "/metrics", "").body, `blustar_auth_held{kind="session"} 2`)
	require.NoError(t, admin.Del(ldap.NewDelRequest(bob, nil)))
	require.Equal(t, 204, p.request("POST", "/v1/reload", "").status)
	require.Contains(t, p.request("GET", "/metrics", "").body, `blustar_auth_held{kind="session"} 1`)
	require.NotContains(t, p.stderr.String(), pw)
}

// With a real OpenLDAP: BSP-2.1-1, BSP-2.1-2, BSP-2.1-5; it starts while the
// directory is down, and becomes right by itself (BSP-2.1-8).
func TestOpenLDAP(t *testing.T) {
	slapd := rig.Start(t, "slapd")
	up := slapd.Down(t)
	p := serveLDAP(t, map[string]any{
		"url": slapd["URL_TLS"], "ca_file": slapd["CA_FILE"], "bind_dn": slapd["BIND_DN"], "base_dn": slapd["BASE_DN"],
		"sip_attributes": []string{slapd["SIP_ATTR"], "mail"},
	}, slapd["BIND_PW"], nil)
	require.Equal(t, 503, p.request("GET", "/readyz", "").status)
	alice := "sip:alice@" + slapd["SIP_DOMAIN"]
	ph := p.phone("udp", alice, "alice", canary)
	require.NoError(t, ph.SignIn(t.Context()), "down is no reason to turn anybody away")
	n := ph.hears(alice, "the first NOTIFY", is("unknown", ""))
	require.Empty(t, n.Presence.Devices)
	up()
	p.eventually("/readyz", 200)
	n = ph.hears(alice, "the document with her telephone", func(s client.Summary) bool { return len(s.Lines) > 0 })
	number := n.Summary().Lines[0].DN
	require.Equal(t, 204, p.request("PUT", "/v1/lines/"+number, `{"state":"busy"}`).status)
	ph.hears(alice, "the call", is("busy", "In a call"))
	require.Equal(t, "busy", p.object("/v1/presence/tel:" + number)["status"])
	require.Equal(t, 404, p.request("GET", "/v1/presence/nobody@"+slapd["SIP_DOMAIN"], "").status)

	// While it hangs, who is known is served as ever.
	thaw := slapd.Hang(t)
	p.eventually("/readyz", 503)
	searches := regexp.MustCompile(`(?m)^blustar_directory_(searches|failures)_total .*$`)
	before := searches.FindAllString(p.request("GET", "/metrics", "").body, -1)
	require.Len(t, before, 2)
	require.NoError(t, ph.Publish(t.Context(), client.Publication{Status: aa.StatusDoNotDisturb}))
	ph.hears(alice, "her own status", is("unavailable", "Unavailable"))
	require.Equal(t, before, searches.FindAllString(p.request("GET", "/metrics", "").body, -1), "nobody waits for it")
	require.Equal(t, 503, p.request("GET", "/v1/presence/judy@"+slapd["SIP_DOMAIN"], "").status)
	thaw()
	p.eventually("/readyz", 200)
	require.Contains(t, p.request("GET", "/metrics", "").body, "blustar_directory_up 1")
	require.Zero(t, p.stop())
	require.NotContains(t, p.stderr.String(), slapd["BIND_PW"])
}

// With a real domain controller: BSP-2.10-6, BSP-2.10-7, BSP-2.10-9, BSP-2.4-7.
func TestActiveDirectory(t *testing.T) {
	ad := rig.Start(t, "ad")
	p := serveLDAP(t, map[string]any{
		"url": ad["URL"], "ca_file": ad["CA_FILE"], "bind_dn": ad["BIND_NT"], "base_dn": ad["PEOPLE_DN"],
		"filter":         "(&(objectCategory=person)(objectClass=user))",
		"sip_attributes": []string{ad["SIP_ATTR"], "proxyAddresses", "mail"},
		"id_attribute":   "objectGUID", "account_attribute": "sAMAccountName", "account_domain": ad["DOMAIN"],
	}, ad["BIND_PW"], map[string]any{
		"active_directory": map[string]any{"url": ad["URL"], "ca_file": ad["CA_FILE"]},
	})
	p.eventually("/readyz", 200)
	alice, bob := "sip:alice@"+ad["SIP_DOMAIN"], "sip:bob@"+ad["SIP_DOMAIN"]

	ph := p.phone("udp", alice, ad["DOMAIN"]+`\alice`, ad["USER_PW"])
	require.NoError(t, ph.SignIn(t.Context()))
	require.NoError(t, ph.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: "HELLO"}))
	ph.hears(alice, "her own status", is("busy", "HELLO"))

	wrong := p.phone("udp", bob, ad["DOMAIN"]+`\bob`, "canary")
	require.ErrorIs(t, wrong.SignIn(t.Context()), client.ErrUnauthorized)
	disabled := p.phone("udp", "sip:disabled@"+ad["SIP_DOMAIN"], ad["DOMAIN"]+`\disabled`, ad["USER_PW"])
	require.ErrorIs(t, disabled.SignIn(t.Context()), client.ErrUnauthorized)
	other := p.phone("udp", bob, ad["DOMAIN"]+`\alice`, ad["USER_PW"])
	var refused *client.StatusError
	require.ErrorAs(t, other.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}), &refused)
	require.Equal(t, 403, refused.Status, "alice is not bob")

	thaw := ad.Hang(t)
	late := p.phone("udp", bob, ad["DOMAIN"]+`\bob`, ad["USER_PW"])
	ctx, cancel := context.WithCancel(t.Context())
	signed := make(chan error, 1)
	go func() { signed <- late.SignIn(ctx) }() // which tries again and again
	require.Eventually(t, func() bool {
		return strings.Contains(p.request("GET", "/metrics", "").body, `blustar_requests_total{method="SUBSCRIBE",status="503"}`)
	}, patience, 50*time.Millisecond)
	cancel()
	require.Error(t, <-signed)
	thaw()
	require.NoError(t, late.SignIn(t.Context()))
	require.Zero(t, p.stop())
	for _, secret := range []string{ad["USER_PW"], ad["BIND_PW"], "canary"} {
		require.NotContains(t, p.stderr.String(), secret)
	}
}
