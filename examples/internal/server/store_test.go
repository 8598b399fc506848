package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/presence/client"
)

// BSX-11: a restart with a store is not noticed: subscriptions, clients and the status
// are there at once, nobody is told anything, and what changes afterwards is told.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "blustar.db")
	configuration := func(listen string) string {
		return `"store": {"file": "` + file + `"}, "listen": ["` + listen + `"]`
	}
	p := serveUsers(t, configuration("udp:"+ownHost()+":0"))
	listen := "udp:" + p.listening("udp")
	tom := p.phone("udp", tomURI, `DE\tom`, canary)
	ann := p.phone("udp", annURI, `DE\ann`, canary)
	require.NoError(t, tom.SignIn(t.Context()))
	require.NoError(t, tom.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: "before"}))
	require.NoError(t, ann.Watch(t.Context(), tomURI))
	ann.hears(tomURI, "the status", is("busy", "before"))
	require.Equal(t, 200, p.request("GET", "/readyz", "").status)
	backup := p.request("GET", "/v1/backup", "")
	require.Equal(t, 200, backup.status)
	require.Zero(t, p.stop())
	for len(ann.heard) > 0 { // what was under way
		require.Empty(t, (<-ann.heard).Summary().Ended, "no subscription ends")
	}

	p = serveUsers(t, configuration(listen))
	require.EqualValues(t, 3, p.object("/v1/subscriptions")["total"], "two own, one list")
	require.Len(t, p.object("/v1/clients")["items"], 2)
	require.Equal(t, "busy", p.object("/v1/presence/" + tomURI)["status"])
	require.Empty(t, ann.heard, "nothing has changed")
	require.NoError(t, tom.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: "after"}))
	ann.hears(tomURI, "the next status", is("busy", "after"))
	require.Contains(t, p.request("GET", "/metrics", "").body, "blustar_store_failing 0\n")
	require.NotContains(t, p.request("GET", "/metrics", "").body, `status="401"`, "nobody is asked for a password again")

	// it belongs to one process, and the copy is a store
	folder := files(t, map[string]string{"server.json": `{"listen": ["udp:127.0.0.1:0"], "http": {"listen": ""}, "store": {"file": "` + file + `"}}`})
	_, _, stderr := call(t, "", "-config", filepath.Join(folder, "server.json"))
	require.Contains(t, stderr, "another process has it open")
	require.Contains(t, stderr, "server: boltstore: "+file+":")
	copied := filepath.Join(dir, "copy.db")
	require.NoError(t, os.WriteFile(copied, []byte(backup.body), 0o600))
	store, err := boltstore.Open(copied)
	require.NoError(t, err)
	require.NoError(t, store.Close())
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(data), canary, "no password is on disk (BSP-2.10-7)")
}

// BSX-10, BSX-13: an account that was removed, or has another password, since the server was down
// has no session after the start, though the store had one.
func TestStoreOfChangedAccount(t *testing.T) {
	for name, change := range map[string]func(*auth.Account){
		"removed": func(a *auth.Account) { a.Account = `DE\tim` },
		"another password": func(a *auth.Account) {
			hash, err := auth.HashPassword([]byte("another"))
			require.NoError(t, err)
			a.PasswordHash = hash
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := files(t, map[string]string{"users.json": usersJSON, "accounts.json": accountsJSON(t),
				"server.json": `{"listen": ["udp:` + ownHost() + `:0"], "domains": ["example.com"], "http": {"listen": "127.0.0.1:0"},
					"directory": {"file": "users.json"}, "accounts": "accounts.json", "store": {"file": "blustar.db"}}`})
			configuration := filepath.Join(folder, "server.json")
			p := start(t, "-config", configuration)
			tom := p.phone("udp", tomURI, `DE\tom`, canary)
			ann := p.phone("udp", annURI, `DE\ann`, canary)
			require.NoError(t, tom.SignIn(t.Context()))
			require.NoError(t, ann.SignIn(t.Context()))
			listen := p.listening("udp")
			require.Zero(t, p.stop())

			file := filepath.Join(folder, "accounts.json")
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var list struct {
				Accounts []auth.Account `json:"accounts"`
			}
			require.NoError(t, json.Unmarshal(text, &list))
			for i := range list.Accounts {
				if list.Accounts[i].Account == `DE\tom` {
					change(&list.Accounts[i])
				}
			}
			text, err = json.Marshal(list)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, text, 0o600))
			p = start(t, "-config", configuration, "-listen", "udp:"+listen)
			require.Contains(t, p.request("GET", "/metrics", "").body, `blustar_auth_held{kind="session"} 1`, "ann's goes on")
			require.ErrorIs(t, tom.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}), client.ErrUnauthorized)
			require.NoError(t, ann.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}))
		})
	}
}

// BSX-13: after a restart without a store, what our client subscribed to and published
// is there again within seconds.
func TestRestartWithoutStore(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} { // those that it dials; tls is as tcp
		t.Run(transport, func(t *testing.T) {
			host := ownHost()
			p := serveUsers(t, `"listen": ["`+transport+":"+host+`:0"]`)
			listen := transport + ":" + p.listening(transport)
			tom := p.phone(transport, tomURI, `DE\tom`, canary)
			ann := p.phone(transport, annURI, `DE\ann`, canary)
			require.NoError(t, tom.SignIn(t.Context()))
			require.NoError(t, tom.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: "before"}))
			require.NoError(t, ann.Watch(t.Context(), tomURI))
			ann.hears(tomURI, "the status", is("busy", "before"))
			require.Zero(t, p.stop())
			for len(ann.heard) > 0 {
				<-ann.heard
			}

			p = serveUsers(t, `"listen": ["`+listen+`"]`)
			back := time.After(time.Minute) // seconds, on a machine that is not busy
			for found := false; !found; {
				select {
				case n := <-ann.heard:
					found = n.Entity == tomURI && is("busy", "before")(n.Summary())
				case <-back:
					require.FailNow(t, "the status is not there again", "%v", p.object("/v1/presence/"+tomURI))
				}
			}
			require.NoError(t, tom.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: "after"}))
			ann.hears(tomURI, "the next status", is("busy", "after"))
		})
	}
}

// ownHost is a loopback address that no other test has: a port of it is free when a
// server comes back to it.
func ownHost() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}
