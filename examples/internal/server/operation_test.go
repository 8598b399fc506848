package server

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The dashboard and the alerts ask for metrics that there are.
func TestDashboardAndAlerts(t *testing.T) {
	folder := files(t, map[string]string{"server.json": `{"listen":["udp:127.0.0.1:0"],"http":{"listen":"127.0.0.1:0"}}`})
	p := start(t, "-config", filepath.Join(folder, "server.json"))
	here := p.request("GET", "/metrics", "").body
	code, err := os.ReadFile("../../../presence/promstats/promstats.go")
	require.NoError(t, err)
	more, err := os.ReadFile("../../../presence/promstats/scrape.go")
	require.NoError(t, err)
	known := here + string(code) + string(more)
	for _, name := range []string{"../../server/operation/dashboard.json", "../../server/operation/alerts.yml"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(name, ".yml") || json.Valid(text))
		for _, m := range regexp.MustCompile(`\bblustar_([a-z_]+)`).FindAllStringSubmatch(string(text), -1) {
			metric := strings.TrimSuffix(m[1], "_bucket")
			metric = strings.TrimSuffix(metric, "_limit")
			require.Contains(t, known, metric, "%s in %s", m[0], name)
		}
	}
}

// What systemd is told, and a container's health check.
func TestServiceManager(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	told := func() string {
		require.NoError(t, manager.SetDeadline(time.Now().Add(patience)))
		buffer := make([]byte, 100)
		n, err := manager.Read(buffer)
		require.NoError(t, err)
		return string(buffer[:n])
	}
	p := start(t, "-listen", "udp:127.0.0.1:0", "-http", "127.0.0.1:0")
	require.Equal(t, "READY=1", told())
	code, _, stderr := call(t, "", "health", "-http", p.listening("http"))
	require.Zero(t, code, stderr)
	require.Zero(t, p.stop())
	require.Equal(t, "STOPPING=1", told())
	code, _, _ = call(t, "", "health", "-http", p.listening("http"))
	require.Equal(t, 1, code)
}

// The unit is one that systemd takes.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	text, err := os.ReadFile("../../server/operation/blustar-server.service")
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "blustar-server.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/blustar-server", "/bin/true")), 0o600))
	out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "Unknown")
}
