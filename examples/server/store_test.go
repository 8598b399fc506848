package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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
	p := serveUsers(t, configuration("udp:127.0.0.1:0"))
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
