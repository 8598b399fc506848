package promstats_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/promstats"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
	"github.com/openblustar/blustar/sipx/stack"
)

// Everything that is counted comes out, with its limit, and a HELP text that says what
// it is without its neighbors.
func TestMetrics(t *testing.T) {
	m := promstats.New()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(m))
	_, err := registry.Gather()
	require.NoError(t, err, "before there is anything")

	told := 0
	hooks := m.Hooks(presence.Hooks{Changed: func(presence.Change) { told++ }})
	users, err := directory.NewMemory(nil)
	require.NoError(t, err)
	server, err := presence.New(presence.Config{Sender: new(sipxtest.NullSender), Directory: users, Hooks: hooks})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	accounts, err := auth.NewLocalAccounts(nil)
	require.NoError(t, err)
	guard, err := auth.New(auth.Config{Verifier: m.Verifier(accounts), OnDecision: m.Decided})
	require.NoError(t, err)
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sip.Shutdown(context.Background()) })
	m.Watch(promstats.Parts{
		Server: server, Store: file(4096), Guard: guard, Stack: sip, Listeners: func() int { return 3 }, MaxListeners: 64,
		Certificate: func() *x509.Certificate { return &x509.Certificate{NotAfter: time.Unix(1e9, 0)} },
	})

	hooks.Changed(presence.Change{})
	require.Equal(t, 1, told)
	hooks.Request("SUBSCRIBE", 200, time.Millisecond)
	hooks.Request("EVIL\"}", 501, time.Millisecond)
	hooks.Notify(200, 20*time.Millisecond, nil)
	hooks.Notify(0, 0, sipx.ErrTimeout)
	hooks.Notify(0, 0, errors.New("no route"))
	m.Decided(auth.Event{Verdict: auth.Challenge, Via: auth.ViaCredentials, Reason: auth.ErrBadPassword})
	m.Decided(auth.Event{Verdict: auth.Challenge})

	all, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range all {
		require.GreaterOrEqual(t, len(strings.Fields(f.GetHelp())), 4, "%s: %s", f.GetName(), f.GetHelp())
	}
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP blustar_notifies_total NOTIFYs sent to watchers, by what became of them: class of the answer, timeout, or error.
# TYPE blustar_notifies_total counter
blustar_notifies_total{outcome="2xx"} 1
blustar_notifies_total{outcome="error"} 1
blustar_notifies_total{outcome="timeout"} 1
# HELP blustar_requests_total SIP requests that the presence server answered, by method and status code.
# TYPE blustar_requests_total counter
blustar_requests_total{method="PUBLISH",status="200"} 0
blustar_requests_total{method="SUBSCRIBE",status="200"} 1
blustar_requests_total{method="other",status="501"} 1
# HELP blustar_store_size_bytes Size of the store on disk.
# TYPE blustar_store_size_bytes gauge
blustar_store_size_bytes 4096
# HELP blustar_watches_limit The most that blustar_watches may be: what comes beyond is refused or makes room.
# TYPE blustar_watches_limit gauge
blustar_watches_limit 200000
# HELP blustar_event_clients HTTP clients that listen to the stream of presence changes.
# TYPE blustar_event_clients gauge
blustar_event_clients 3
# HELP blustar_certificate_expiry_timestamp_seconds When the TLS certificate that SIP clients are shown expires, Unix time.
# TYPE blustar_certificate_expiry_timestamp_seconds gauge
blustar_certificate_expiry_timestamp_seconds 1e+09
# HELP blustar_auth_refusals_total SIP requests that were not let in, by reason: bad_password, throttled and so on. A first request without credentials is none.
# TYPE blustar_auth_refusals_total counter
blustar_auth_refusals_total{reason="bad_password"} 1
`), "blustar_notifies_total", "blustar_requests_total", "blustar_store_size_bytes", "blustar_watches_limit", "blustar_event_clients",
		"blustar_certificate_expiry_timestamp_seconds", "blustar_auth_refusals_total"))
	names := map[string]bool{}
	for _, f := range all {
		names[f.GetName()] = true
	}
	for _, bounded := range []string{"watches", "event_clients", "auth_held", "auth_verifying", "auth_pending", "connections", "sip_pending", "sip_running", "sip_waiting"} {
		require.True(t, names["blustar_"+bounded] && names["blustar_"+bounded+"_limit"], bounded)
	}
	for _, want := range []string{"blustar_build_info", "blustar_notify_duration_seconds", "blustar_sip_received_bytes_total", "blustar_connections",
		"blustar_store_failing", "blustar_store_waiting", "blustar_store_errors_total"} {
		require.True(t, names[want], want)
	}
}

type file int64

func (f file) Size() int64 { return int64(f) }

// The verifier behind keeps its ways.
func TestVerifier(t *testing.T) {
	m := promstats.New()
	accounts, err := auth.NewLocalAccounts(nil)
	require.NoError(t, err)
	v := m.Verifier(accounts)
	require.False(t, v.(interface{ LocksAccounts() bool }).LocksAccounts())
	_, keyed := v.(auth.AccountKeyer)
	require.Equal(t, keyed, func() bool { _, ok := any(accounts).(auth.AccountKeyer); return ok }())
	credentials, err := auth.NewCredentials("nobody", []byte("x"))
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), credentials)
	require.ErrorIs(t, err, auth.ErrBadCredentials)
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	n, err := testutil.GatherAndCount(registry, "blustar_auth_verification_duration_seconds")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
