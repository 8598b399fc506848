package interop_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// loadgen builds the load generator of the rigs, which are found as those of
// package rig are.
func loadgen(t *testing.T) string {
	t.Helper()
	source := filepath.Join(cmp.Or(os.Getenv("BLUSTAR_RIGS"), filepath.Join("..", "..", "..", "shared", "rigs")), "loadgen")
	if _, err := os.Stat(filepath.Join(source, "main.go")); err != nil {
		missing(t, "no load generator: "+err.Error())
	}
	path := filepath.Join(t.TempDir(), "loadgen")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = source
	text, err := build.CombinedOutput()
	require.NoError(t, err, string(text))
	return path
}

// A generator that speaks SIP by hand, at a rate that is no strain: nothing fails,
// nothing is lost, and no watcher sees an older document after a newer one
// (BSX-3, BSP-4-4). How fast it all is, is measured elsewhere.
func TestLoad(t *testing.T) {
	path := loadgen(t)
	type user struct {
		ID  string   `json:"id"`
		SIP []string `json:"sip"`
	}
	var list []user
	for i := range 500 {
		name := fmt.Sprintf("load%d", i)
		list = append(list, user{name, []string{name + "@" + domain}})
	}
	s := serveFiles(t, map[string]any{
		"users.json": map[string]any{"users": list},
		"server.json": map[string]any{
			"listen": []string{"udp:127.0.0.1:0"}, "domains": []string{domain}, "auth": map[string]any{"mode": "off"},
			"directory": map[string]any{"file": "users.json"}, "http": map[string]any{"listen": "127.0.0.1:0"},
			"limits": map[string]any{"max_subscribe_expires": 3600},
		},
	})
	report := filepath.Join(t.TempDir(), "report.json")
	g := launch(t, ".", nil, path, "-server", s.listening("udp"), "-prefix", "load", "-json", report,
		"-run", "storm,fanout,refresh", "-watchers", "40", "-contacts", "5", "-k", "0,1,10,50", "-fan-subs", "200", "-fan-pubs", "50",
		"-refresh-subs", "200", "-window", "16", "-duration", "200ms", "-levels", "200", "-level-duration", "500ms", "-settle", "50ms")
	require.NoError(t, g.wait(), g.stdout)

	text, err := os.ReadFile(report)
	require.NoError(t, err)
	var results struct{ Results []map[string]any }
	require.NoError(t, json.Unmarshal(text, &results))
	require.NotEmpty(t, results.Results)
	notifies := 0.0
	for _, r := range results.Results {
		notifies += r["notifies"].(float64)
		for _, column := range []string{
			"failed", "lost_notifies", "notify_reordered", "notify_stale_document", "watchers_stale_at_end", "notify_wrong_document",
			"notify_document_gone", "subscriptions_ended_by_server", "malformed_messages",
		} {
			require.Equal(t, 0.0, r[column], "%s: %v", column, r)
		}
	}
	require.Greater(t, notifies, 1000.0)
}
