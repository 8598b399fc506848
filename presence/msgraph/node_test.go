package msgraph_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakegraph"
)

const nodeClient = "@microsoft/microsoft-graph-client"

// TestNodeClient: the client library of Microsoft for Node.js is content with the server that the
// other tests ask. It is looked for as require does, along NODE_PATH too. The test is skipped where
// it is missing, unless BLUSTAR_INTEGRATION is "required".
func TestNodeClient(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil || exec.Command("node", "-e", "require.resolve('"+nodeClient+"')").Run() != nil {
		const message = "node, or its package " + nodeClient + " along NODE_PATH, is not installed"
		if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
			t.Fatal(message)
		}
		t.Skip(message + "; BLUSTAR_INTEGRATION=required makes this an error")
	}
	s := newTenant()
	s.PageSize = 2
	day := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		at := day.Add(time.Duration(i) * time.Hour)
		s.AddEvent(tom, fakegraph.NewEvent(id, "about "+id, at, at.Add(time.Hour)))
	}
	s.SetPresence(tom, "Available", "Available")
	server := httptest.NewTLSServer(s)
	defer server.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	require.NoError(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join("testdata", "client.cjs"), server.URL+"/", s.Tenant, s.ClientID, s.Secret, tom, meg)
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+roots)
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Run(), output.String())
	want, err := os.ReadFile(filepath.Join("testdata", "client.golden"))
	require.NoError(t, err)
	require.Equal(t, string(want), output.String())
}
